"""Lungs and airway of what another method takes for air."""

from __future__ import annotations

import torch

from medseg.methods.chest.border import AIRWAY, scores_of
from medseg.methods.chest.lungs import found_lungs


class PartedLungs(torch.nn.Module):
    """Parts the air-filled voxels that a method finds into left lung, right lung and airway.

    The rules of ClassicalLungs do so: only what finds the air-filled voxels is another.

    Args:
        air: images (1, 1, i, j, k) in HU to one logit, above 0 in air-filled voxels.
        spacing_mm: size of a voxel of the images, the same along each axis.
    """

    def __init__(self, air: torch.nn.Module, spacing_mm: float) -> None:
        super().__init__()
        self.air, self.spacing_mm = air, (spacing_mm,) * 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, 4, i, j, k), float32, of images (n, 1, i, j, k) in HU, RAS+; the highest is the label.

        Raises:
            MedsegError: what the method of the air-filled voxels raises.
        """
        scores = torch.zeros(len(x), AIRWAY + 1, *x.shape[2:])
        scores[:, 0] = 1
        for image, score in zip(x, scores, strict=True):
            air = (self.air(image[None])[0, 0] > 0).cpu().numpy()
            hu = image[0].cpu().numpy()
            labels, box = found_lungs(hu, self.spacing_mm, air)
            score[(slice(None), *box)] = scores_of(labels, hu[box])
        return scores.to(x.device)
