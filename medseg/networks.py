"""Networks that MONAI lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import SegResNet
from torch.nn import functional


class Ensemble(torch.nn.Module):
    """The mean output of several networks with the same input and output."""

    def __init__(self, members: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, C, spatial...) to the mean of the members' outputs."""
        return torch.stack([member(inputs) for member in self.members]).mean(dim=0)


class ClassifyingSegResNet(SegResNet):
    """A residual UNet that also answers one question about the whole image, from its encoder.

    The deepest features are pooled three ways: over all of the image by mean and by maximum, and over what
    the decoder takes for foreground; a small perceptron makes one logit of them. It travels as a last
    channel, the same in each pixel: the output stays one tensor, as MONAI's engines and bundles want it.

    Args:
        classifier_features: width of the perceptron.
        classifier_dropout: share of its inputs that training leaves out.
        arguments: SegResNet's; out_channels counts the channels of the mask alone.
    """

    def __init__(
        self, classifier_features: int = 64, classifier_dropout: float = 0.3, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        deepest = self.init_filters * 2 ** (len(self.blocks_down) - 1)
        self.classifier = torch.nn.Sequential(
            torch.nn.Dropout(classifier_dropout),
            torch.nn.Linear(3 * deepest, classifier_features),
            torch.nn.ReLU(),
            torch.nn.Linear(classifier_features, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, row, column) to (B, out_channels + 1, row, column) of logits."""
        features, skipped = self.encode(x)
        mask = self.decode(features, skipped[::-1])
        # Without a way back: what is foreground is learnt from masks alone.
        where = torch.sigmoid(mask[:, :1].detach())
        where = functional.interpolate(where, size=features.shape[2:], mode="area") + 1e-4
        inside = (features * where).sum((2, 3)) / where.sum((2, 3))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3)), inside], dim=1)
        answer = self.classifier(pooled)[:, :, None, None]
        return torch.cat([mask, answer.expand(-1, -1, mask.shape[2], mask.shape[3])], dim=1)
