"""The scan on a coarse grid, and the body and the aerated lung in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medseg.errors import UnsuitableError
from medseg.quality.hounsfield import PADDING_HU
from medseg.volume import nearest_axes

GRID_MM = 4.0  # finer than any lung, coarser than noise and most folds of cloth; less for small children:
GRID_SHARE = 1 / 80  # of the width of the field of view
LARGEST_STEP_MM, SMALLEST_STEP_MM = 10.0, 0.1
SMALLEST_WIDTH_MM = 60.0  # a newborn's chest is about 100 mm wide
SMALLEST_HEIGHT_MM = 10.0  # a slab of a few slices can be segmented, a single slice can't

# Normally aerated lung is -900 to -500 HU, hyperinflated lung is below (Gattinoni 2001,
# doi:10.1164/ajrccm.164.9.2103121). -950 HU, the usual limit of emphysema, keeps out the gas of bowel
# and airways, which is near -1000; -600 keeps out most of the partial volume at their walls.
AERATED_HU = (-950.0, -600.0)
GAS_HU = -500.0  # between air and tissue
TISSUE_HU = -300.0  # fat, muscle and bone are above


def require_grid(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The distances between voxels along i, j and k in mm, (3,).

    Raises:
        UnsuitableError: the affine is invalid, or voxels or volume have a size that shows no lung.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
        raise UnsuitableError(
            "an affine of the voxels (4x4, finite, invertible)",
            got=f"{affine.tolist()}",
            advice="Export the scan again from its source.",
        )
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    steps = " x ".join(f"{step:.3g}" for step in spacing_mm)
    if spacing_mm.min() < SMALLEST_STEP_MM or spacing_mm.max() > LARGEST_STEP_MM * 1.001:
        raise UnsuitableError(
            f"voxels {SMALLEST_STEP_MM:g} to {LARGEST_STEP_MM:g} mm apart",
            got=f"{steps} mm",
            advice="Check that the file's unit is mm, or use a series with closer slices.",
        )
    axes = list(nearest_axes(affine)[0])
    extent_mm = (spacing_mm * shape)[axes]
    if extent_mm[:2].min() < SMALLEST_WIDTH_MM or extent_mm[2] < SMALLEST_HEIGHT_MM:
        raise UnsuitableError(
            f"a volume large enough for a lung: at least {SMALLEST_WIDTH_MM:g} mm wide and deep, and "
            f"{SMALLEST_HEIGHT_MM:g} mm from feet to head",
            got="{:.3g} mm wide, {:.3g} mm deep, {:.3g} mm from feet to head".format(*extent_mm),
            advice="Use the whole scan, and check the size of its voxels.",
        )
    return spacing_mm


@dataclass(frozen=True, eq=False)
class Chest:
    """The scan on a coarse grid whose axes run to the right, to the front and to the head.

    Attributes:
        hu: (x, y, z), float32, -1024 at least.
        outside: (x, y, z), bool: not imaged, because it is padding or outside the round field of view.
        spacing_mm: of x, y and z.
    """

    hu: np.ndarray
    outside: np.ndarray
    spacing_mm: np.ndarray

    @property
    def voxel_ml(self) -> float:
        return float(self.spacing_mm.prod()) / 1000

    @cached_property
    def body(self) -> np.ndarray:
        """(x, y, z) bool: the largest component of tissue two voxels thick; the table's shell is thinner."""
        from scipy import ndimage

        thick = ndimage.binary_opening(self.hu > TISSUE_HU, np.ones((2, 2, 2)))
        return _largest(thick)

    @cached_property
    def lung(self) -> np.ndarray:
        """(x, y, z) bool: aerated lung, without pure gas and without thin layers between gas and tissue."""
        from scipy import ndimage

        inside = enclosed(self.body) & ~self.outside & ~self._room_air
        aerated = inside & (self.hu > AERATED_HU[0]) & (self.hu < AERATED_HU[1])
        # Opening removes layers; the edge is repeated so that lung that it cuts stays.
        cross = ndimage.generate_binary_structure(3, 1)
        return ndimage.binary_opening(np.pad(aerated, 2, mode="edge"), cross)[2:-2, 2:-2, 2:-2]

    @cached_property
    def lung_slices(self) -> np.ndarray:
        """(z,), bool: the axial slices with at least 2 cm2 of lung."""
        return self.lung_cm2 >= 2

    @cached_property
    def lung_cm2(self) -> np.ndarray:
        """(z,): the area of lung in each axial slice in cm2."""
        return self.lung.sum((0, 1)) * self.spacing_mm[:2].prod() / 100

    @cached_property
    def _room_air(self) -> np.ndarray:
        """Air that reaches the edge of its axial slice, with foam and clothes in it; not a cut lung."""
        from scipy import ndimage

        gas = (self.hu < GAS_HU) & ~self.outside
        labels, count = ndimage.label(gas, in_plane(1))
        rim = np.unique(labels[beside(self.outside) & gas])
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        pure = np.bincount(labels[self.hu < AERATED_HU[0]], minlength=count + 1)
        is_room = np.zeros(count + 1, dtype=bool)
        is_room[rim] = pure[rim] > 0.7 * sizes[rim]
        is_room[0] = False
        return is_room[labels]


def coarse_chest(array: np.ndarray, affine: np.ndarray) -> Chest:
    """Reduce a scan to a grid of about GRID_MM.

    It is sampled along the axis with the largest stride in memory and averaged along both others: this reads
    memory at most once, and averages out enough noise.

    Args:
        array: (i, j, k) in HU.
        affine: 4x4, voxel index to RAS+ mm.
    """
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    order = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    nearest, down = nearest_axes(affine)
    axes = list(nearest)
    extent_mm = spacing_mm * array.shape
    grid_mm = min(GRID_MM, GRID_SHARE * extent_mm[axes[:2]].max())
    steps = [max(1, round(grid_mm / spacing_mm[axis])) for axis in order]
    planes = array.transpose(order)
    last = len(planes) - 1
    # Both end planes are in the sample, because a cut lung is seen there.
    chosen = np.linspace(0, last, 1 + max(1, round(last / steps[0])) if last else 1).round().astype(int)
    means = np.stack([_block_mean(planes[index], steps[1:]) for index in np.unique(chosen)])
    turned = means.transpose(np.argsort(order)).transpose(axes)
    mean = turned[tuple(slice(None, None, -1 if flipped else 1) for flipped in down)]
    return Chest(np.maximum(mean, -1024), _outside(mean), extent_mm[axes] / mean.shape)


def _block_mean(plane: np.ndarray, steps: list[int]) -> np.ndarray:
    """Means of blocks, float32; the last partial blocks are left out."""
    rows, columns = plane.shape[0] // steps[0], plane.shape[1] // steps[1]
    cut = plane[: rows * steps[0], : columns * steps[1]].astype(np.float32)
    np.clip(cut, -3100, 3071, out=cut)  # metal, and padding of any kind
    return cut.reshape(rows, steps[0], -1).mean(1).reshape(rows, columns, steps[1]).mean(2)


def _outside(mean: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: padding and constant columns of air, and the blocks at the field of view's edge."""
    from scipy import ndimage

    constant = (np.ptp(mean, axis=2, keepdims=True) == 0) & (mean < GAS_HU)
    # In few slices a single column may be constant by chance.
    outside = (mean < PADDING_HU) | ndimage.binary_opening(constant, in_plane(2))
    return ndimage.binary_dilation(outside, in_plane(2))


def in_plane(connectivity: int) -> np.ndarray:
    """(3, 3, 3) bool structuring element of the axial plane with 4 neighbours (1) or 8 (2)."""
    from scipy import ndimage

    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[:, :, 1] = ndimage.generate_binary_structure(2, connectivity)
    return structure


def beside(outside: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: the voxels next to what was not imaged, within each axial slice."""
    from scipy import ndimage

    return ndimage.binary_dilation(outside, in_plane(1)) | _rim(outside.shape)


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones((*shape[:2], 1), dtype=bool)
    rim[1:-1, 1:-1] = False
    return rim


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return mask & (labels == 1 + np.argmax(sizes[1:])) if count else mask


def enclosed(body: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: voxels with body on at least three of their sides left, right, back and front.

    Not on all four, because a lung has no wall at the edge of the field of view. Foam under the back has body
    on one side, the gap beside an arm on two.
    """
    left, right = _reach(body, 0)
    back, front = _reach(body, 1)
    return left.astype(np.uint8) + right + back + front >= 3


def between(lung: np.ndarray, body: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: the part of the body with lung on its left and on its right."""
    left, right = _reach(lung, 0)
    return left & right & body


def _reach(mask: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels with mask before them along an axis, and voxels with mask behind them; (x, y, z) bool each."""
    behind = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return np.logical_or.accumulate(mask, axis=axis), behind
