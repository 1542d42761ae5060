"""The lungs of a chest CT on a coarse grid of their own, on which two times are registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.errors import UnsuitableError

MARGIN_MM = 18.0  # around the lungs


@dataclass(frozen=True, eq=False)
class Lungs:
    """The lungs of one image on a coarse grid, whose axes are those of RAS+.

    Attributes:
        hu: (x, y, z) float32.
        labels: (x, y, z) uint8, those of the mask; 0 outside the lungs.
        shown: (x, y, z) bool, what the image shows of the grid.
        origin_mm: (x, y, z) of the first voxel.
        spacing_mm: size of a voxel along every axis.
    """

    hu: np.ndarray
    labels: np.ndarray
    shown: np.ndarray
    origin_mm: np.ndarray
    spacing_mm: float


def lungs_of(
    image_hu: np.ndarray, labels: np.ndarray, affine: np.ndarray, values: Sequence[int], spacing_mm: float
) -> Lungs:
    """The lungs on a coarse grid around them.

    Args:
        image_hu, labels: (i, j, k).
        affine: 4x4, voxel index to RAS+ mm.
        values: of the lungs' labels.
        spacing_mm: of the grid.

    Raises:
        UnsuitableError: the mask has no lung.
    """
    from scipy.ndimage import affine_transform

    inside = np.isin(labels, list(values))
    if not inside.any():
        raise UnsuitableError(
            "lungs in both masks", got="a mask without any", advice="Check the result, and segment it anew."
        )
    origin_mm, shape = _box(inside, affine, spacing_mm)
    grid = np.diag([spacing_mm] * 3 + [1.0])
    grid[:3, 3] = origin_mm
    to_voxel = np.linalg.inv(affine) @ grid

    def resampled(array: np.ndarray, order: int, outside: float) -> np.ndarray:
        found: np.ndarray = affine_transform(
            array, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=shape, order=order, cval=outside
        )
        return found

    small, small_affine = _averaged(image_hu, affine, spacing_mm)
    to_small = np.linalg.inv(small_affine) @ grid
    hu = affine_transform(
        small, to_small[:3, :3], to_small[:3, 3], output_shape=shape, order=1, mode="nearest"
    )
    return Lungs(
        hu.astype(np.float32),
        resampled(np.where(inside, labels, 0).astype(np.uint8), 0, 0),
        _shown(to_voxel, shape, labels.shape),
        origin_mm,
        spacing_mm,
    )


def _averaged(image: np.ndarray, affine: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The image in blocks of whole voxels of at most about half of the spacing, against aliasing."""
    from medseg.morphology import coarse

    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    step = np.maximum(1, np.floor(spacing_mm / sizes)).astype(int)
    small = coarse(image.astype(np.float32), step.tolist())
    changed = affine.copy()
    changed[:3, :3] = affine[:3, :3] * step
    changed[:3, 3] += affine[:3, :3] @ ((step - 1) / 2)
    return small, changed


def _box(inside: np.ndarray, affine: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, tuple[int, ...]]:
    """Origin in mm and shape of the grid around a mask, with the margin."""
    from medseg.boxes import bounding_box

    box = bounding_box(inside)
    ends = np.array(np.meshgrid(*[(part.start, part.stop - 1) for part in box])).reshape(3, -1)
    corners = affine[:3, :3] @ ends + affine[:3, 3:]
    low, high = corners.min(axis=1) - MARGIN_MM, corners.max(axis=1) + MARGIN_MM
    return low, tuple(int(n) for n in np.ceil((high - low) / spacing_mm) + 1)


def _shown(to_voxel: np.ndarray, shape: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """(x, y, z) bool: the voxels of the grid whose centre lies inside the image."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    shown = np.ones(shape, bool)
    for row, length in zip(to_voxel[:3], size, strict=True):
        at = sum((step * axis for step, axis in zip(row, axes, strict=False)), np.full((1, 1, 1), row[3]))
        shown &= (at >= -0.5) & (at <= length - 0.5)
    return shown
