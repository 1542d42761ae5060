"""Whether an object that a person drew can be carried to other slices or frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medseg.errors import UnsuitableError
from medseg.io import read_mask
from medseg.volume import Mask, Volume

_GRID_TOLERANCE = 0.1  # of a voxel, between the grids of mask and volume


def mask_of(mask: str | Path | Mask | np.ndarray, volume: Volume) -> np.ndarray:
    """The drawn object on the grid of a volume or picture, bool.

    Raises:
        UnsuitableError: an empty mask, several values, or another grid.
    """
    if isinstance(mask, (str, Path)):
        mask = read_mask(mask, {value: f"label {value}" for value in range(256)})
    array = mask.array if isinstance(mask, Mask) else np.asarray(mask)
    shape = volume.array.shape[1:]
    if array.shape != shape:
        raise UnsuitableError(
            f"a mask on the grid of the image, {_times(shape)}",
            got=f"one of {_times(array.shape)}",
            advice="Draw it on this image, and save it at full size.",
        )
    if isinstance(mask, Mask) and mask.affine is not None and volume.affine is not None:
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*shape, 1]
        away = np.linalg.norm((corners @ (mask.affine - volume.affine).T)[:, :3], axis=1).max()
        if away > _GRID_TOLERANCE * np.linalg.norm(volume.affine[:3, :3], axis=0).min():
            raise UnsuitableError(
                "a mask on the grid of the image",
                got=f"one that lies up to {away:.1f} mm away from it",
                advice="Save it on this image's own grid: do not resample, crop or flip it.",
            )
    values = np.unique(array)
    if not np.isfinite(values).all() or (values < 0).any():
        raise UnsuitableError(
            "a mask of whole numbers from 0", got="other values", advice="Save it as a label map."
        )
    above = values[values > 0]
    if len(above) != 1:
        several = f"{len(above)} values above 0: {', '.join(f'{value:g}' for value in above[:5])}"
        raise UnsuitableError(
            "a mask with one object",
            got=several if len(above) else "an empty one",
            advice="Save each object as a mask of its own." if len(above) else "Draw the object first.",
        )
    return array > 0


def require_one_object(mask: np.ndarray, number: int) -> None:
    """Refuse a drawing of several regions that do not touch.

    Args:
        mask: (row, column) bool.
        number: index of the slice or frame, for the message.
    """
    from scipy.ndimage import label

    if mask.all():
        raise UnsuitableError(
            "an object with surroundings",
            got=f"all of number {number + 1}",
            advice="Draw the outline of the object.",
        )
    numbers, count = label(mask, np.ones((3, 3)))
    if count > 1:
        sizes = sorted(np.bincount(numbers.ravel())[1:].tolist(), reverse=True)
        raise UnsuitableError(
            "one object",
            got=f"{count} separate regions of {', '.join(map(str, sizes[:4]))} pixels on number {number + 1}",
            advice="Erase all but one, or save each as a mask of its own.",
        )


def require_contrast(image: np.ndarray, number: int) -> None:
    """Refuse a constant slice or frame; arguments as for require_one_object."""
    if image.min() == image.max():
        raise UnsuitableError(
            "a picture in which something can be seen",
            got=f"the same value everywhere on number {number + 1}, on which the object is drawn",
            advice="Check the image.",
        )


def require_finite(array: np.ndarray) -> None:
    """Refuse NaN and infinity."""
    lost = 0 if array.dtype.kind in "biu" else int(array.size - np.isfinite(array).sum())
    if lost:
        raise UnsuitableError(
            "finite values",
            got=f"{lost} that are NaN or infinite",
            advice="Replace them, for air in a CT by -1024.",
        )


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
