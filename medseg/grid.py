"""A network's grid, made from a scan's: axes in RAS order, square to each other, one spacing.

The grid keeps the scan's own directions, the ones nearest to right, anterior and superior: an oblique
scan is not turned, so each of its slices stays a plane of the grid. A sheared scan (gantry tilt) is
straightened by shifting its slices. `to_grid` and `to_source` use the same mapping in both directions:
the outer faces of the first and the last voxel of both grids coincide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from medseg.errors import UnsuitableError
from medseg.volume import nearest_axes

# Cosine of the angle between two axes that counts as square: a shift of 0.3 mm over 300 mm, far below a
# voxel, and far above what the rounding of direction cosines to six digits makes.
SQUARE = 1e-3
SLAB = 16  # slices at a time, so that no full-size float copy is made


@dataclass(frozen=True)
class Grid:
    """How a scan's voxels lie in the network's grid. Axes here are the grid's: right, anterior, superior.

    Attributes:
        axes: the scan's axis that runs along each axis of the grid.
        flipped: whether it runs the other way.
        source_shape: voxels of the scan along each axis of the grid.
        resized_shape: the same after resizing, before slices are shifted.
        slices: the axis along which slices are stacked.
        shift: voxels of the resized scan, along each axis, by which a slice lies beside the one before it.
        shape: voxels of the grid.
        affine: 4x4, voxel index of the grid to RAS+ mm.
    """

    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    source_shape: tuple[int, int, int]
    resized_shape: tuple[int, int, int]
    slices: int
    shift: tuple[float, float, float]
    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Size of a voxel of the grid along each axis."""
        return tuple(float(size) for size in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def in_plane(self) -> tuple[int, int]:
        """The two axes within a slice."""
        first, second = (axis for axis in range(3) if axis != self.slices)
        return first, second


def plan(shape: tuple[int, ...], affine: np.ndarray, spacing_mm: float) -> Grid:
    """Lay a grid over a scan.

    Args:
        shape: (i, j, k) of the scan.
        affine: 4x4, its voxel index to RAS+ mm.
        spacing_mm: of the grid; the true one is the nearest that fits whole voxels into the scan.

    Raises:
        UnsuitableError: the rows and columns of the slices are not square to each other.
    """
    axes, flipped = nearest_axes(affine)
    source_shape = np.array(shape)[list(axes)]
    turned = np.array(affine, dtype=np.float64)
    turned[:3, :3] = affine[:3, list(axes)]
    for axis in np.flatnonzero(flipped):
        turned[:3, 3] += turned[:3, axis] * (source_shape[axis] - 1)
        turned[:3, axis] *= -1
    slices = _slice_axis(turned[:3, :3])
    steps = _square_steps(turned[:3, :3], slices)
    sizes_mm = np.linalg.norm(steps, axis=0)
    resized = np.maximum(1, np.round(source_shape * sizes_mm / spacing_mm)).astype(int)
    scale = source_shape / resized  # voxels of the scan in one of the grid
    directions = steps / sizes_mm
    beside_mm = directions.T @ turned[:3, slices]
    beside_mm[slices] = 0
    shift = np.where(np.abs(beside_mm) > SQUARE * sizes_mm[slices], beside_mm / (sizes_mm * scale), 0)
    room = np.ceil(np.abs(shift) * (source_shape[slices] - 1)).astype(int)
    grid_affine = np.eye(4)
    grid_affine[:3, :3] = steps * scale
    first = turned[:3, :3] @ ((scale - 1) / 2 * (np.arange(3) != slices)) + steps[:, slices] * (
        (scale[slices] - 1) / 2
    )
    before = np.where(shift < 0, shift * (source_shape[slices] - 1), 0)
    grid_affine[:3, 3] = turned[:3, 3] + first + grid_affine[:3, :3] @ before
    return Grid(
        axes,
        flipped,
        _triple(source_shape),
        _triple(resized),
        slices,
        (float(shift[0]), float(shift[1]), float(shift[2])),
        _triple(resized + room),
        grid_affine,
    )


def to_grid(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Resample a scan: linear, smoothed where voxels are merged, its smallest value where nothing was.

    Args:
        image: (C, i, j, k), any real type.
        grid: planned for its shape.

    Returns:
        (C, right, anterior, superior) float32.
    """
    planes = _slices_first(_turn(image, grid), grid)
    size = [grid.resized_shape[axis] for axis in grid.in_plane]
    small = torch.cat(
        [
            functional.interpolate(slab.float(), size=size, mode="bilinear", antialias=True)
            for slab in planes.split(SLAB)
        ]
    )
    if any(grid.shift):
        small = _shifted(small, grid, fill=float(image.min()))
    stacked = small.permute(1, 2, 3, 0)  # (C, first, second, slice)
    length = (stacked.shape[2], grid.resized_shape[grid.slices])
    resized = functional.interpolate(stacked, size=length, mode="bilinear", antialias=True)
    return resized.movedim(3, 1 + grid.slices).contiguous()


def to_source(scores: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The label with the highest score in each voxel of the scan; scores are interpolated linearly.

    Only the part of a slab that can be more than background is interpolated: where label 0 has the highest
    score in all voxels that are mixed, it has it in the mixture.

    Args:
        scores: (labels, right, anterior, superior) on the grid, of any floating type.
        grid: planned for the scan.

    Returns:
        (1, i, j, k) uint8 on the scan's grid.
    """
    planes = _slices_first(scores, grid)
    found = _slices_first((scores[1:] > scores[:1]).any(dim=0, keepdim=True), grid)[:, 0]
    rows, columns = found.any(dim=2), found.any(dim=1)
    count, size = grid.source_shape[grid.slices], [grid.source_shape[axis] for axis in grid.in_plane]
    across = [_places(grid.source_shape[axis], grid.resized_shape[axis]) for axis in grid.in_plane]
    along = _places(count, len(planes))
    labels = torch.zeros((count, *size), dtype=torch.uint8)
    for numbers in torch.arange(count).split(SLAB):
        there, near, places = _part(along, int(numbers[0]), int(numbers[-1]) + 1)
        sides = [rows[near].any(dim=0), columns[near].any(dim=0)]
        if not sides[0].any():
            continue
        slab = _mixed(planes[near].float(), 0, places)
        if any(grid.shift):
            slab = _shifted(slab, grid, back_from=there.start)
            sides = [torch.ones(length, dtype=torch.bool) for length in slab.shape[2:]]
        first, second = (_reached(way, side) for way, side in zip(across, sides, strict=True))
        # Scores of a voxel side by side: all that follows then takes a fraction of the time.
        slab = slab[:, :, first[1], second[1]].permute(0, 2, 3, 1).contiguous()
        full = _mixed(_mixed(slab, 2, second[2]), 1, first[2])
        labels[there, first[0], second[0]] = full.argmax(3).to(torch.uint8)
    return _turn_back(labels.movedim(0, grid.slices)[None], grid)


# For each voxel along an axis: the two that it lies between on another grid, and the share of the second.
_Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _places(count: int, length: int) -> _Places:
    """Where `count` voxels lie among `length` that fill the same space; the outermost ones reach to its ends."""
    places = ((torch.arange(count, dtype=torch.float64) + 0.5) * length / count - 0.5).clamp(0, length - 1)
    low = places.floor().long()
    return low, (low + 1).clamp(max=length - 1), (places - low).float()


def _part(places: _Places, start: int, stop: int) -> tuple[slice, slice, _Places]:
    """A run of voxels, the run that they lie among, and their places in that one."""
    low, high, share = (each[start:stop] for each in places)
    near = slice(int(low[0]), int(high[-1]) + 1)
    return slice(start, stop), near, (low - near.start, high - near.start, share)


def _reached(places: _Places, found: torch.Tensor) -> tuple[slice, slice, _Places]:
    """The part of the voxels that something found, (length) bool, has a share in."""
    first, last = found.nonzero()[[0, -1], 0]
    inside = ((places[1] >= first) & (places[0] <= last)).nonzero()
    return _part(places, int(inside[0]), int(inside[-1]) + 1)


def _mixed(values: torch.Tensor, axis: int, places: _Places) -> torch.Tensor:
    """Linear interpolation along one axis."""
    low, high, share = places
    share = share.view([-1 if other == axis else 1 for other in range(values.ndim)])
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), share)


def _slice_axis(steps: np.ndarray) -> int:
    """The axis along which slices are stacked: the others are square; the longest step of those that fit."""
    sizes = np.linalg.norm(steps, axis=0)
    cosines = np.abs(steps.T @ steps / np.outer(sizes, sizes))
    fitting = [axis for axis in range(3) if cosines[(axis + 1) % 3, (axis + 2) % 3] <= SQUARE]
    if not fitting:
        raise UnsuitableError(
            "slices whose rows and columns are square to each other",
            came=f"axes at angles with the cosines {np.round(cosines[np.triu_indices(3, 1)], 4).tolist()}",
            do="Resample the volume to a rectangular grid.",
        )
    return max(fitting, key=lambda axis: (round(sizes[axis], 3), axis))


def _square_steps(steps: np.ndarray, slices: int) -> np.ndarray:
    """The steps with that of the slices replaced by its part along the normal."""
    squared = steps.copy()
    first, second = (steps[:, axis] for axis in range(3) if axis != slices)
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    squared[:, slices] = normal * (normal @ steps[:, slices])
    return squared


def _turn(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(C, i, j, k) to (C, right, anterior, superior), a view where nothing is flipped."""
    return image.permute(0, *(1 + axis for axis in grid.axes)).flip(_flips(grid))


def _turn_back(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    return image.flip(_flips(grid)).permute(0, *(1 + int(axis) for axis in np.argsort(grid.axes)))


def _flips(grid: Grid) -> list[int]:
    return [1 + axis for axis in range(3) if grid.flipped[axis]]


def _slices_first(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(C, x, y, z) to (slice, C, first, second)."""
    return image.movedim(1 + grid.slices, 0)


def _shifted(
    planes: torch.Tensor, grid: Grid, *, fill: float = 0.0, back_from: int | None = None
) -> torch.Tensor:
    """Move slices (slice, C, first, second) to their places in the grid, or back.

    Args:
        planes: all slices of the scan, or on the way back those from `back_from` on.
        fill: value where no slice was.
        back_from: None on the way to the grid.
    """
    if not any(grid.shift):
        return planes
    back = back_from is not None
    start, end = (grid.shape, grid.resized_shape) if back else (grid.resized_shape, grid.shape)
    last = grid.source_shape[grid.slices] - 1
    numbers = torch.arange(len(planes)) + (back_from or 0)
    theta = torch.zeros(len(planes), 2, 3)
    for row, axis in enumerate(reversed(grid.in_plane)):  # affine_grid counts from the last axis
        shift = grid.shift[axis]
        places = shift * numbers - min(0.0, shift * last)  # of the slice's edge in the grid
        theta[:, row, row] = end[axis] / start[axis]
        offset = places if back else -places
        theta[:, row, 2] = (2 * offset + end[axis]) / start[axis] - 1
    size = [len(planes), planes.shape[1], *(end[axis] for axis in grid.in_plane)]
    places = functional.affine_grid(theta.to(planes), size, align_corners=False)
    return functional.grid_sample(planes - fill, places, align_corners=False) + fill


def _triple(values: np.ndarray) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third
