"""Losses made of others."""

from __future__ import annotations

import torch


class InFloat32(torch.nn.Module):
    """A loss in float32, also under autocast.

    A sum over the pixels of a large patch is beyond float16, and log(1 - p) is lost in bfloat16 near p = 1.

    Args:
        loss: of logits and labels.
    """

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of logits and labels, (B, channels, spatial...) each; a scalar."""
        with torch.autocast(pred.device.type, enabled=False):
            found: torch.Tensor = self.loss(pred.float(), label.float())
            return found


class WeightedSum(torch.nn.Module):
    """The sum of losses of the same logits and labels.

    Args:
        parts: (weight, loss) each.
    """

    def __init__(self, *parts: tuple[float, torch.nn.Module]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in parts]
        self.losses = torch.nn.ModuleList(loss for _, loss in parts)

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of logits and labels, (B, channels, spatial...) each; a scalar."""
        terms = [weight * loss(pred, label) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(terms).sum()
