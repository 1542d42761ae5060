"""Losses that compare each pixel or voxel by itself."""

from __future__ import annotations

import torch
from monai.networks.utils import one_hot
from torch.nn import functional


class CrossEntropy(torch.nn.Module):
    """The mean of -log p over pixels, where p is the probability that the network gives to the truth.

    Args:
        softmax: whether channels compete; see medseg.methods.losses.named_loss.
    """

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of logits (B, C, spatial...) and labels, (B, 1, spatial...) with softmax; a scalar."""
        if self.softmax:
            return functional.cross_entropy(pred, label.squeeze(1).long())
        return functional.binary_cross_entropy_with_logits(pred, label)


class SquaredError(torch.nn.Module):
    """The mean of (p - y)^2 over pixels and channels: Brier's score of probabilities.

    Args:
        softmax: whether channels compete; see medseg.methods.losses.named_loss.
        include_background: whether channel 0 of a softmax counts.
    """

    def __init__(self, softmax: bool, include_background: bool = True) -> None:
        super().__init__()
        self.softmax, self.include_background = softmax, include_background

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of logits (B, C, spatial...) and labels, (B, 1, spatial...) with softmax; a scalar."""
        if not self.softmax:
            return functional.mse_loss(pred.sigmoid(), label)
        first = 0 if self.include_background else 1
        truth = one_hot(label, num_classes=pred.shape[1])
        return functional.mse_loss(pred.softmax(1)[:, first:], truth[:, first:])
