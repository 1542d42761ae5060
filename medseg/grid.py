"""The network's grid, planned for each volume: axes in RAS order, at right angles, with one spacing.

The grid keeps the volume's own directions, each assigned to the nearest of right, anterior and superior. An
oblique volume is not rotated, so that each of its slices stays a plane of the grid. A sheared volume (gantry
tilt) is straightened by shifting its slices. `to_grid` and `to_source` use the same mapping in both
directions: the outer faces of the first and the last voxel of both grids coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from medseg.boxes import Box, bounding_box
from medseg.errors import UnsuitableError
from medseg.volume import nearest_axes

# Axes count as perpendicular up to this cosine of their angle: a shift of 0.3 mm over 300 mm, far below a
# voxel, and far above the rounding of direction cosines to six digits.
SQUARE = 1e-3
SLAB = 16  # slices at a time, so that no full-size float copy is made
UNKNOWN = 255  # no label yet
_CACHED = 4  # planes of scores that fit a processor's cache


@dataclass(frozen=True)
class Grid:
    """The mapping between a volume's voxels and the network's grid.

    Axes are those of the grid: right, anterior, superior.

    Attributes:
        axes: for each axis of the grid, the volume's axis that runs along it.
        flipped: whether that axis runs in the opposite direction.
        source_shape: voxels of the volume along each axis of the grid.
        resized_shape: the same after resizing, before slices are shifted.
        slices: the axis of the grid along which the slices are stacked.
        shift: offset of each slice from the previous one along each axis, in voxels of the resized volume.
        shape: voxels of the grid along each axis.
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
        """Size of a voxel of the grid along each axis, in mm."""
        return tuple(float(size) for size in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def in_plane(self) -> tuple[int, int]:
        """The two axes within a slice."""
        first, second = (axis for axis in range(3) if axis != self.slices)
        return first, second


def plan(shape: tuple[int, ...], affine: np.ndarray, spacing_mm: float | Sequence[float]) -> Grid:
    """Plan the grid for a volume.

    Args:
        shape: (i, j, k) of the volume.
        affine: 4x4, voxel index of the volume to RAS+ mm.
        spacing_mm: wanted for the grid, one for all axes or one for each of right, anterior and superior; the
            actual spacing is the nearest that fits whole voxels into the volume.

    Raises:
        UnsuitableError: the rows and columns of the slices are not at right angles.
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
    resized = np.maximum(1, np.round(source_shape * sizes_mm / np.asarray(spacing_mm))).astype(int)
    scale = source_shape / resized  # voxels of the volume per voxel of the grid
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
    """Resample a volume to the grid: linear interpolation, antialiased where voxels are merged.

    Voxels of the grid outside a tilted volume get its smallest value.

    Args:
        image: (C, i, j, k), any real type.
        grid: planned for the volume.

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


def to_source(scores: torch.Tensor, grid: Grid, box: Box | None = None) -> torch.Tensor:
    """The label with the highest score in each voxel of the source volume; scores are interpolated linearly.

    Args:
        scores: (label, right, anterior, superior) on the grid, of any floating type; up to 255 labels.
        grid: planned for the volume.
        box: the part of the grid that the scores cover, on whose faces label 0 must be best; outside of it
            the label is 0. None for the whole grid.

    Returns:
        (1, i, j, k) uint8 on the volume's own grid.
    """
    count, size = grid.source_shape[grid.slices], [grid.source_shape[axis] for axis in grid.in_plane]
    labels = torch.zeros((count, *size), dtype=torch.uint8)
    box = box or tuple(slice(0, length) for length in grid.shape)
    if any(grid.shift):
        _fill_shifted(labels, _whole(scores, grid, box), grid)
    else:
        _fill(labels, scores, grid, box)
    return _turn_back(labels.movedim(0, grid.slices)[None], grid)


# For each voxel along an axis: the two voxels of the other grid that it lies between, and the weight of the
# second.
_Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _places(count: int, length: int) -> _Places:
    """The places of `count` voxels among `length` voxels that fill the same extent."""
    places = ((torch.arange(count, dtype=torch.float64) + 0.5) * length / count - 0.5).clamp(0, length - 1)
    low = places.floor().long()
    return low, (low + 1).clamp(max=length - 1), (places - low).float()


def _whole(scores: torch.Tensor, grid: Grid, box: Box) -> torch.Tensor:
    """The scores of a box on the whole grid; outside of the box label 0 has the score 1."""
    whole = torch.zeros((len(scores), *grid.shape), dtype=scores.dtype)
    whole[0] = 1
    whole[(slice(None), *box)] = scores
    return whole


def _places_in(count: int, length: int, part: slice) -> tuple[_Places, slice]:
    """The `_places` that lie in a part of the axis, counted from its start; and which voxels they are."""
    low, high, share = _places(count, length)
    numbers = torch.nonzero((low >= part.start) & (high < part.stop))[:, 0]
    first, last = (int(numbers[0]), int(numbers[-1]) + 1) if len(numbers) else (0, 0)
    inside = slice(first, last)
    return (low[inside] - part.start, high[inside] - part.start, share[inside]), inside


def _fill(labels: torch.Tensor, scores: torch.Tensor, grid: Grid, box: Box) -> None:
    """Write the labels (slice, first, second), interpolating scores only near the borders of labels.

    Where the same label has the highest score in several voxels, it also has it in any weighted mean of them.
    So a voxel whose eight neighbours on the grid agree takes their label. The other voxels lie at borders and
    are a few hundredths of a volume. For the same reason only the box of the labels other than 0 is computed.
    """
    best = best_labels(scores)
    if not best.any():
        return
    part = bounding_box(best.numpy() > 0, (1, 1, 1))
    scores, best = scores[(slice(None), *part)], best[part]
    box = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, part, strict=True))
    known = _without_borders(_slices_first(best[None], grid)[:, 0].contiguous())
    voxels = scores.permute(1, 2, 3, 0).contiguous().movedim(grid.slices, 0)  # a voxel's scores side by side
    order = (grid.slices, *grid.in_plane)
    ways = [
        _places_in(length, grid.shape[axis], box[axis])
        for length, axis in zip(labels.shape, order, strict=True)
    ]
    places = [way for way, _ in ways]
    labels = labels[tuple(part for _, part in ways)]
    _mix(labels, known, voxels, places)


def finer_labels(scores: torch.Tensor, shape: Sequence[int], box: Box) -> torch.Tensor:
    """The label with the highest score in each voxel of a part of a finer grid with the same outer faces.

    Args:
        scores: (label, i', j', k') on the coarse grid; they are interpolated linearly.
        shape: (i, j, k) of the whole finer grid.
        box: the wanted part of the finer grid.

    Returns:
        uint8 of the box's shape.
    """
    best = best_labels(scores)
    known = _without_borders(best)
    voxels = scores.permute(1, 2, 3, 0).contiguous()
    places: list[_Places] = []
    for count, length, part in zip(shape, best.shape, box, strict=True):
        low, high, share = _places(count, length)
        places.append((low[part], high[part], share[part]))
    labels = torch.empty([part.stop - part.start for part in box], dtype=torch.uint8)
    _mix(labels, known, voxels, places)
    return labels


def _mix(labels: torch.Tensor, known: torch.Tensor, voxels: torch.Tensor, places: Sequence[_Places]) -> None:
    """Write the common label where a voxel's neighbours agree, elsewhere the best of interpolated scores."""
    planes, rows, columns = (low for low, _, _ in places)
    for numbers in torch.arange(len(labels)).split(SLAB):
        slab = known[planes[numbers]].index_select(2, columns).index_select(1, rows)
        first, second, third = (slab == UNKNOWN).nonzero().unbind(1)
        where = (first + numbers[0], second, third)
        slab[first, second, third] = _mixed(voxels, places, where).argmax(1).to(torch.uint8)
        labels[numbers] = slab


def best_labels(scores: torch.Tensor) -> torch.Tensor:
    """The label with the highest score, the first of equal ones: (label, ...) to (...) uint8.

    Faster than argmax.
    """
    best = torch.zeros(scores.shape[1:], dtype=torch.uint8)
    for planes, found in zip(scores.split(_CACHED, dim=1), best.split(_CACHED), strict=True):
        highest = planes[0]
        for label, score in enumerate(planes[1:], start=1):
            found.masked_fill_(score > highest, label)
            highest = torch.maximum(highest, score)
    return best


def _without_borders(labels: torch.Tensor) -> torch.Tensor:
    """Set labels to UNKNOWN, in place, where a voxel and the seven that follow it along the axes differ."""
    for axis, length in enumerate(labels.shape):
        here, following = labels.narrow(axis, 0, length - 1), labels.narrow(axis, 1, length - 1)
        here.masked_fill_(here != following, UNKNOWN)
    return labels


def _mixed(voxels: torch.Tensor, places: Sequence[_Places], where: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Scores (n, label) of n voxels of the volume, interpolated between eight voxels of the grid.

    Args:
        voxels: (slice, first, second, label), a voxel's scores side by side in memory.
        places: along each axis.
        where: each voxel's number along each axis.
    """
    labels = voxels.shape[3]
    rows = voxels.as_strided((voxels.numel() // labels, labels), (labels, 1))
    steps = [stride // labels for stride in voxels.stride()[:3]]
    ends = [
        [each[number] * step for each in way[:2]]
        for way, number, step in zip(places, where, steps, strict=True)
    ]
    shares = [way[2][number, None] for way, number in zip(places, where, strict=True)]

    def corner(first: int, second: int, third: int) -> torch.Tensor:
        return rows.index_select(0, ends[0][first] + ends[1][second] + ends[2][third]).float()

    def edge(second: int, third: int) -> torch.Tensor:
        return torch.lerp(corner(0, second, third), corner(1, second, third), shares[0])

    def face(third: int) -> torch.Tensor:
        return torch.lerp(edge(0, third), edge(1, third), shares[1])

    return torch.lerp(face(0), face(1), shares[2])


def _fill_shifted(labels: torch.Tensor, scores: torch.Tensor, grid: Grid) -> None:
    """As _fill, for a grid with shifted slices; all scores are interpolated."""
    planes = _slices_first(scores, grid)
    places = _places(len(labels), len(planes))
    for numbers in torch.arange(len(labels)).split(SLAB):
        low, high, share = (each[numbers] for each in places)
        slab = torch.lerp(planes[low].float(), planes[high].float(), share[:, None, None, None])
        slab = _shifted(slab, grid, back_from=int(numbers[0]))
        # Scores of a voxel side by side: argmax then takes a fifth of the time.
        slab = slab.contiguous(memory_format=torch.channels_last)
        full = functional.interpolate(slab, size=labels.shape[1:], mode="bilinear")
        labels[numbers] = full.argmax(1).to(torch.uint8)


def _slice_axis(steps: np.ndarray) -> int:
    """The axis along which slices are stacked: the other two are perpendicular; of several the longest."""
    sizes = np.linalg.norm(steps, axis=0)
    cosines = np.abs(steps.T @ steps / np.outer(sizes, sizes))
    fitting = [axis for axis in range(3) if cosines[(axis + 1) % 3, (axis + 2) % 3] <= SQUARE]
    if not fitting:
        raise UnsuitableError(
            "slices whose rows and columns are at right angles",
            got=f"axes whose angles have the cosines {np.round(cosines[np.triu_indices(3, 1)], 4).tolist()}",
            advice="Resample the volume to a rectangular grid.",
        )
    return max(fitting, key=lambda axis: (round(sizes[axis], 3), axis))


def _square_steps(steps: np.ndarray, slices: int) -> np.ndarray:
    """The steps (3, 3), one column per axis, with the step between slices projected onto their normal."""
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
    """Shift slices (slice, C, first, second) to their places in the grid, or back.

    Args:
        planes: all slices of the volume; on the way back, consecutive ones.
        fill: value outside a slice.
        back_from: number of the first slice of `planes` on the way back; None on the way to the grid.
    """
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
