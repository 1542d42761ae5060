"""Parts of the lungs that the scan misses: beyond its ends, outside its field of view, between its slices."""

from __future__ import annotations

import numpy as np

from medseg.quality.chest_ct.chest import GAS_HU, Chest, beside, in_plane

# Measured: no lung at the ends of whole chests, 6.6 cm2 or more at cut ones.
CUT_CM2 = 3.0
# Measured at the edge of the field of view: 0.9 ml or less of uncut lungs, 56 ml or more of cut ones.
CUT_ML = 2.0


def coverage_warnings(chest: Chest) -> list[str]:
    """Warnings that the ends or the field of view cut the lungs."""
    from scipy import ndimage

    warnings = []
    ends = [name for name, index in (("top", -1), ("bottom", 0)) if chest.lung_cm2[index] > CUT_CM2]
    if ends:
        height_mm = chest.hu.shape[2] * chest.spacing_mm[2]
        warnings.append(
            f"only part of the chest is covered ({height_mm:.0f} mm from feet to head): the lungs are cut "
            f"at the {_listed(ends)}, so their volumes are too small"
        )
    gas = (chest.hu < GAS_HU) & ~chest.outside
    near = ndimage.binary_dilation(beside(chest.outside) & gas, in_plane(1), mask=gas)
    sides = _sides(np.argwhere(near & chest.lung), chest)
    if sides:
        warnings.append(
            f"the lungs are cut by the field of view at the {_listed(sides)}, so their volumes are too small"
        )
    return warnings


def _sides(points: np.ndarray, chest: Chest) -> list[str]:
    """The sides at which lung touches the edge of the field of view."""
    imaged = np.argwhere(~chest.outside.all(2))
    low, high = imaged.min(0), imaged.max(0)
    offsets = (points[:, :2] - low + 0.5) / (high - low + 1) - 0.5
    wide = np.abs(offsets[:, 0]) > np.abs(offsets[:, 1])
    found = {
        "left": wide & (offsets[:, 0] < 0),
        "right": wide & (offsets[:, 0] > 0),
        "back": ~wide & (offsets[:, 1] < 0),
        "front": ~wide & (offsets[:, 1] > 0),
    }
    return [side for side, mask in found.items() if mask.sum() * chest.voxel_ml > CUT_ML]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def slice_warnings(spacing_mm: np.ndarray) -> list[str]:
    """A warning about thick slices; spacing_mm is (3,)."""
    thickest, finest = spacing_mm.max(), spacing_mm.min()
    if thickest > 5.001:
        return [
            f"the slices are {thickest:.3g} mm apart: small airways, thin walls and nodules under "
            f"{thickest:.0f} mm are lost between them, and volumes are less certain"
        ]
    if thickest > 6 * finest:
        return [
            f"the slices are {thickest / finest:.0f} times as thick as a pixel is wide "
            f"({thickest:.3g} and {finest:.2g} mm): surfaces are stepped"
        ]
    return []
