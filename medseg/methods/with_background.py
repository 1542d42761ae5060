"""A method that scores one target, as a network with a channel for the background too."""

from __future__ import annotations

import torch


class WithBackground(torch.nn.Module):
    """Adds the background to a module with one channel of logits, so that a softmax takes both.

    Args:
        target: a module from images (n, C, spatial...) to the logits (n, 1, spatial...) of one label.
    """

    def __init__(self, target: torch.nn.Module) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2, spatial...) of background and label; their softmax is the sigmoid of the target's."""
        logits = self.target(x)
        return torch.cat([torch.zeros_like(logits), logits], dim=1)
