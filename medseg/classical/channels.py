"""What the classical method sees, as channels beside the image: a network need not find it again."""

from __future__ import annotations

import numpy as np
import torch

from medseg.classical.body import inside_body
from medseg.classical.lungs import AIRWAY, found_lungs
from medseg.classical.sides import LEFT, RIGHT

CHANNELS = ("body", "left_lung", "right_lung", "airway")


def channels(image: torch.Tensor, spacing_mm: float, range_hu: tuple[float, float]) -> torch.Tensor:
    """The body and the labels of the classical method as (4, i, j, k) float32, 0 or 1.

    Args:
        image: (1, i, j, k), RAS+, 0 and 1 meaning the ends of range_hu.
        spacing_mm: size of a voxel, the same along each axis; about 3 to 5 mm.
        range_hu: see image.
    """
    low, high = range_hu
    hu = np.asarray(image[0].detach().cpu(), dtype=np.float32) * (high - low) + low
    found = torch.zeros((len(CHANNELS), *hu.shape))
    found[0] = torch.from_numpy(inside_body(hu, (spacing_mm,) * 3))
    labels, box = found_lungs(hu, (spacing_mm,) * 3)
    for number, value in enumerate((LEFT, RIGHT, AIRWAY), 1):
        found[number][box] = torch.from_numpy(labels == value).float()
    return found


def with_channels(image: torch.Tensor, spacing_mm: float, range_hu: tuple[float, float]) -> torch.Tensor:
    """(B, 1, i, j, k) to (B, 5, i, j, k): the image, and its channels."""
    return torch.stack(
        [torch.cat([one, channels(one, spacing_mm, range_hu).to(one)]) for one in image]
    )
