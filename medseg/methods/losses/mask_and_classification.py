"""The loss of a network that segments an image and classifies it too."""

from __future__ import annotations

import torch
from torch.nn import functional


class MaskAndClassificationLoss(torch.nn.Module):
    """The loss of a mask, plus the binary cross entropy of classifiers of the whole image.

    Args:
        mask_loss: a loss of logits and labels, (B, 1, spatial...) each.
        weight: factor of the cross entropy, which is the mean over all known labels of the classifiers.
        smoothing: a classifier's label of 1 becomes 1 - smoothing, one of 0 becomes smoothing (Szegedy et
            al., CVPR 2016).
    """

    def __init__(self, mask_loss: torch.nn.Module, weight: float = 0.5, smoothing: float = 0.05) -> None:
        super().__init__()
        self.mask_loss, self.weight, self.smoothing = mask_loss, weight, smoothing

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of logits and labels, (B, 1 + n, spatial...) each: mask, then n classifiers; a scalar.

        A classifier's label is the same in all pixels; below 0 it is not known and left out.
        """
        mask = self.mask_loss(pred[:, :1], label[:, :1])
        logits, truths = (part[:, 1:].float().flatten(2).mean(2) for part in (pred, label))
        known = truths >= 0
        if not known.any():
            return mask + 0 * logits.sum()
        smooth = truths[known].clamp(self.smoothing, 1 - self.smoothing)
        return mask + self.weight * functional.binary_cross_entropy_with_logits(logits[known], smooth)
