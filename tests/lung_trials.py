"""Trials of a lung method on real patients: what is known exactly although nobody has drawn their lungs.

Nothing outside the body is lung, nor is dense tissue far from aerated lung. And where known lung is painted
dense, the mask is the one before the paint.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from medseg.grid import Grid, plan, to_grid
from medseg.methods.chest.body import inside_body
from medseg.metrics.overlap import confusion
from medseg.morphology import distance_mm
from medseg.volume import nearest_axes

GRID_MM = 2.0
BODY_MM = 4.0  # as inside_body wants it, roughly
AIR_HU, DENSE_HU = -500, -300  # aerated lung is below, what can be no aerated lung above
NEAR_MM, MARGIN_MM, SILVER_MM = 20.0, 10.0, 5.0
PAINT_HU, NOISE_HU = 35.0, 20.0
LUNGS = {"left_lung": 1, "right_lung": 2}
PAINTS = ("lower_half", "back_half", "left_lung", "right_lung")


def stray_ml(mask: np.ndarray, hu: np.ndarray, known: np.ndarray, affine: np.ndarray) -> float:
    """How much of a mask is lung where none can be, in ml.

    That is outside the body, or denser than -300 HU and outside the convex hull, slice by slice, of aerated
    lung within 20 mm, grown by 10 mm; and not in the known mask grown by 5 mm.

    Args:
        mask: (i, j, k) labels, 1 and 2 are lungs.
        hu: (i, j, k) in HU.
        known: (i, j, k) labels of a mask that holds all aerated lung.
        affine: 4x4, voxel index to RAS+ mm.
    """
    grid = plan(hu.shape, affine, GRID_MM)
    lung, near = (_on_grid(np.isin(array, list(LUNGS.values())), grid) > 0.5 for array in (mask, known))
    resampled = _on_grid(np.maximum(hu, -1024), grid)
    spacing_mm = grid.spacing_mm
    body = _body(hu, affine, grid)
    can_be = _within(_hulls(near & (resampled < AIR_HU), spacing_mm), MARGIN_MM, spacing_mm)
    wrong = ~body | ((resampled > DENSE_HU) & ~can_be)
    stray = lung & wrong & ~_within(near, SILVER_MM, spacing_mm)
    return float(stray.sum() * np.prod(spacing_mm) / 1000)


def painted(hu: np.ndarray, known: np.ndarray, affine: np.ndarray, paint: str, seed: int = 0) -> np.ndarray:
    """A scan with known lung painted dense (35 HU with noise of 20), vessels and all; (i, j, k) int16.

    Args:
        hu: (i, j, k) in HU.
        known: (i, j, k) labels; the airway stays.
        affine: 4x4, voxel index to RAS+ mm.
        paint: lower_half or back_half (of both lungs, beyond the plane that halves them), or a lung's name.
        seed: of the noise.
    """
    axes, flipped = nearest_axes(affine)
    both = np.isin(known, list(LUNGS.values()))
    if paint in LUNGS:
        where = known == LUNGS[paint]
    else:
        axis = 2 if paint == "lower_half" else 1
        places = np.nonzero(both)[axes[axis]]
        number = np.arange(hu.shape[axes[axis]])
        middle = np.median(places) if len(places) else 0
        low = number > middle if flipped[axis] else number < middle
        where = both & np.expand_dims(low, tuple({0, 1, 2} - {axes[axis]}))
    noise = np.random.default_rng(seed).normal(PAINT_HU, NOISE_HU, int(where.sum()))
    result = hu.astype(np.int16)
    result[where] = np.round(noise)
    return result


def lung_dice(mask: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Dice of each lung that the known mask has, and their mean as `lungs`."""
    found = {
        name: float(confusion(mask == value, known == value).dice or 0)
        for name, value in LUNGS.items()
        if (known == value).any()
    }
    return found | {"lungs": float(np.mean(list(found.values())))} if found else {}


def agreement(mask: np.ndarray, known: np.ndarray, corrected: np.ndarray) -> Mapping[str, float]:
    """Of the voxels that were corrected by eye, the number and the share that a mask has right."""
    where = corrected > 0
    right = float((mask[where] == known[where]).mean()) if where.any() else float("nan")
    return {"corrected": float(where.sum()), "right": right}


def _on_grid(array: np.ndarray, grid: Grid) -> np.ndarray:
    return to_grid(torch.as_tensor(np.ascontiguousarray(array))[None].float(), grid)[0].numpy()


def _body(hu: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    rough = plan(hu.shape, affine, BODY_MM)
    inside = inside_body(_on_grid(np.maximum(hu, -1024), rough), rough.spacing_mm)
    finer = torch.nn.functional.interpolate(torch.as_tensor(inside)[None, None].float(), size=grid.shape)
    return finer[0, 0].numpy() > 0.5


def _hulls(aerated: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """The convex hull, slice by slice, of what is aerated within 20 mm above and below."""
    from skimage.morphology import convex_hull_image

    reach = round(NEAR_MM / spacing_mm[2])
    hulls = np.zeros_like(aerated)
    for k in range(aerated.shape[2]):
        near = aerated[..., max(0, k - reach) : k + reach + 1].any(2)
        if near.any():
            hulls[..., k] = convex_hull_image(near)
    return hulls


def _within(mask: np.ndarray, reach_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return mask | (distance_mm(~mask, spacing_mm) <= reach_mm) if mask.any() else mask
