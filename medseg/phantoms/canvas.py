"""A voxel grid on which shapes are painted by their signed distances.

Shapes are in anatomy coordinates: mm from the carina, x to the person's right, y to the front, z to the
head. A distance is negative inside. A voxel at a border gets its share of the shape (partial volume), and
belongs to the shape when that share is at least one half.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

CHUNK_VOXELS = 400_000  # temporary arrays stay in this size
Box = tuple[slice, slice, slice]
Points = Sequence[np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Grid:
    """The positions of voxels: shape (i, j, k) and the 4x4 affine from voxel index to anatomy mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self.affine)

    @cached_property
    def _terms(self) -> list[list[tuple[int, np.ndarray]]]:
        """For x, y and z a term per array axis on which it depends; the first includes the constant."""
        found: list[list[tuple[int, np.ndarray]]] = []
        for row in self.affine[:3]:
            axes = [axis for axis in range(3) if abs(row[axis]) > 1e-6]
            found.append([])
            for axis in axes:
                shape = [-1 if n == axis else 1 for n in range(3)]
                along = row[axis] * np.arange(self.shape[axis]) + (row[3] if axis == axes[0] else 0)
                found[-1].append((axis, along.astype(np.float32).reshape(shape)))
        return found

    def points(self, box: Box) -> list[np.ndarray]:
        """x, y and z of the voxel centres of a box, each of a shape that broadcasts to the box."""
        found = []
        for terms in self._terms:
            parts = [along[(slice(None),) * axis + (box[axis],)] for axis, along in terms]
            found.append(parts[0] if len(parts) == 1 else functools.reduce(np.add, parts))
        return found

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Box:
        """The voxels that hold the box between two corners in anatomy mm; empty where it lies outside."""
        starts, stops = self.corners(np.asarray(low_mm, float)[None], np.asarray(high_mm, float)[None])
        first, second, third = (slice(int(a), int(b)) for a, b in zip(starts[0], stops[0], strict=True))
        return first, second, third

    def corners(self, low_mm: np.ndarray, high_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start and stop voxels of boxes with corners (n, 3) in anatomy mm; equal where a box is outside."""
        centre = (low_mm + high_mm) / 2 @ self._inverse[:3, :3].T + self._inverse[:3, 3]
        reach = (high_mm - low_mm) / 2 @ np.abs(self._inverse[:3, :3]).T + 0.5
        starts = np.clip(np.ceil(centre - reach), 0, self.shape).astype(int)
        stops = np.clip(np.floor(centre + reach) + 1, 0, self.shape).astype(int)
        return starts, np.maximum(starts, stops)

    @property
    def everything(self) -> Box:
        first, second, third = (slice(0, n) for n in self.shape)
        return first, second, third


def chunks(box: Box) -> Iterator[Box]:
    """Split a box along i, the slowest axis in memory, so that temporary arrays stay small."""
    area = max((box[1].stop - box[1].start) * (box[2].stop - box[2].start), 1)
    step = max(CHUNK_VOXELS // area, 1)
    for start in range(box[0].start, box[0].stop, step):
        yield slice(start, min(start + step, box[0].stop)), box[1], box[2]


def size(box: Box) -> int:
    return int(np.prod([part.stop - part.start for part in box]))


@dataclass(eq=False)
class Canvas:
    """Attenuation in HU, (i, j, k) float32, and tissue code, (i, j, k) uint8, of a grid; painted in place."""

    grid: Grid
    hu: np.ndarray = field(init=False)
    tissue: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.hu = np.full(self.grid.shape, -1000, np.float32)
        self.tissue = np.zeros(self.grid.shape, np.uint8)

    @cached_property
    def edge_mm(self) -> float:
        """The width of a border: the size of a voxel in the plane."""
        return float(np.sqrt(np.prod(self.grid.spacing_mm[:2])))

    def share(self, distance_mm: np.ndarray) -> np.ndarray:
        """The share of a voxel inside a shape, 0 to 1, from the signed distance of its centre."""
        share = distance_mm * np.float32(-1 / self.edge_mm)
        share += np.float32(0.5)
        np.maximum(share, 0, out=share)
        return np.minimum(share, 1, out=share)

    def paint(
        self,
        distance: Distance,
        hu: float | Callable[[Box], np.ndarray],
        tissue: int,
        box: Box | None = None,
        over: tuple[int, ...] = (),
    ) -> None:
        """Fill a shape.

        Args:
            distance: x, y and z in mm to signed distance in mm.
            hu: one value, or a function that gives the values of a box of voxels.
            tissue: the code for the voxels inside.
            box: where the shape may lie; the whole grid by default.
            over: paint only on these tissues; on all when empty.
        """
        for part in chunks(box or self.grid.everything):
            if not size(part):
                continue
            share = self.share(distance(*self.grid.points(part)))
            if over:
                share = share * _table(over)[self.tissue[part]]
            if not share.any():
                continue
            value = hu(part) if callable(hu) else hu
            self.blend(part, share, value, tissue)

    def blend(self, box: Box, share: np.ndarray, hu: np.ndarray | np.floating | float, tissue: int) -> None:
        view = self.hu[box]
        view += share * (hu - view)
        np.copyto(self.tissue[box], np.uint8(tissue), where=share >= 0.5)

    def tubes(
        self, segments: np.ndarray, hu: float, tissue: int, over: tuple[int, ...] = (), grow_mm: float = 0.0
    ) -> None:
        """Paint tapered capsules.

        Args:
            segments: (n, 8): start xyz, end xyz, radius at start and at end, all in mm.
            hu: attenuation inside.
            tissue: the code for voxels inside.
            over: paint only on these tissues; on all when empty.
            grow_mm: added to all radii.
        """
        segments = np.asarray(segments, float).reshape(-1, 8)
        radii = segments[:, 6:] + grow_mm
        # The soft edge of width w adds w**2 / 12 to r**2. A tube thinner than a voxel keeps its
        # cross-section: it is drawn wider, with a part of its contrast.
        soft = self.edge_mm**2 / 12
        drawn = np.sqrt(np.maximum(radii**2 - soft, 3 * soft))
        strengths = np.mean(radii**2 / (drawn**2 + soft), axis=1).astype(np.float32)
        reach = drawn.max(axis=1, keepdims=True) + self.edge_mm / 2
        ends = segments[:, :3], segments[:, 3:6]
        starts, stops = self.grid.corners(np.minimum(*ends) - reach, np.maximum(*ends) + reach)
        allowed = _table(over)
        for n in np.flatnonzero((stops > starts).all(axis=1)):
            first, second, third = (slice(int(a), int(b)) for a, b in zip(starts[n], stops[n], strict=True))
            box = first, second, third
            share = self.share(capsule(self.grid.points(box), ends[0][n], ends[1][n], *drawn[n]))
            share *= strengths[n]
            if over:
                share *= allowed[self.tissue[box]]
            self.blend(box, share, np.float32(hu), tissue)


def _table(codes: tuple[int, ...]) -> np.ndarray:
    """A lookup table of 256 weights: 1 for the given codes, else 0."""
    table = np.zeros(256, np.float32)
    table[list(codes)] = 1
    return table


def joined(points: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(n - 1, 8) tubes along a path, as Canvas.tubes takes them.

    Args:
        points: (n, 3) in mm.
        radii: (n,) in mm.
    """
    return np.concatenate([points[:-1], points[1:], radii[:-1, None], radii[1:, None]], axis=1)


def capsule(points: Points, start, end, radius_start, radius_end) -> np.ndarray:
    """Signed distance in mm to a capsule whose radius changes linearly along its axis."""
    along = np.asarray(end, float) - start
    length2 = max(float(along @ along), 1e-6)
    dx, dy, dz = (p - np.float32(s) for p, s in zip(points, start, strict=True))
    u, v, w = (np.float32(a) for a in along)
    k = np.float32(1 / length2)
    at = dx * (u * k) + dy * (v * k) + dz * (w * k)
    at = np.minimum(np.maximum(at, 0), 1)
    away = np.square(dx - at * u)
    away += np.square(dy - at * v)
    away += np.square(dz - at * w)
    away = np.sqrt(away)
    away -= np.float32(radius_start)
    away -= at * np.float32(radius_end - radius_start)
    return away


def ellipsoid(points: Points, centre, radii, turn: np.ndarray | None = None) -> np.ndarray:
    """Approximate signed distance in mm to an ellipsoid.

    Args:
        points: x, y and z in mm.
        centre: in mm.
        radii: the half axes in mm.
        turn: 3x3 rotation whose columns are the ellipsoid's axes; upright by default.
    """
    d = [p - np.float32(c) for p, c in zip(points, centre, strict=True)]
    if turn is not None:
        d = [np.float32(a) * d[0] + np.float32(b) * d[1] + np.float32(c) * d[2] for a, b, c in turn.T]
    scaled2 = sum((p / np.float32(r)) ** 2 for p, r in zip(d, radii, strict=True))
    slope2 = sum((p / np.float32(r * r)) ** 2 for p, r in zip(d, radii, strict=True))
    # First-order distance: f / |grad f| with f = |p / r| - 1 (I. Quilez, "ellipsoids", 2008).
    norm = np.sqrt(scaled2)
    return norm * (norm - 1) / np.maximum(np.sqrt(slope2), np.float32(1e-6))


def smooth_max(a: np.ndarray, b: np.ndarray, radius_mm: float) -> np.ndarray:
    """The signed distance of an intersection of two shapes, with its edge rounded over about `radius_mm`."""
    blend = np.maximum(np.float32(radius_mm) - np.abs(a - b), 0)
    return np.maximum(a, b) + blend * blend * np.float32(0.25 / radius_mm)


class Noise:
    """Smooth random values on a grid at any scale, computed without filtering the whole grid."""

    def __init__(self, grid: Grid, random: np.random.Generator) -> None:
        self.grid, self.random = grid, random
        self._tile: np.ndarray | None = None

    def smooth(self, scale_mm: float) -> Callable[[Box], np.ndarray]:
        """Noise of unit deviation with structures of `scale_mm`, by cubic splines on a coarse lattice."""
        spacing = self.grid.spacing_mm
        nodes = [int(n * s / scale_mm) + 4 for n, s in zip(self.grid.shape, spacing, strict=True)]
        lattice = self.random.standard_normal(nodes, np.float32)
        weights = [
            _spline(n, s / scale_mm, m) for n, s, m in zip(self.grid.shape, spacing, nodes, strict=True)
        ]

        def values(box: Box) -> np.ndarray:
            found = lattice
            for axis, part in zip(weights, box, strict=True):
                # Each product replaces the first axis by a finer one at the end; three restore the order. The
                # short axis of a box comes first, so that the other two cost little.
                found = np.tensordot(found, axis[part], axes=(0, 1))
            return found

        return values

    def fine(self, scale_mm: float) -> Callable[[Box], np.ndarray]:
        """Noise of unit deviation with a grain of `scale_mm`; periodic with 48 grains."""
        if self._tile is None:
            self._tile = _periodic_tile(self.random)
        tile, shift = self._tile, self.random.integers(0, 1000, 3)
        step = 2 * self.grid.spacing_mm / scale_mm

        def values(box: Box) -> np.ndarray:
            index = [
                (np.arange(part.start, part.stop) * s + o).astype(int) % len(tile)
                for part, s, o in zip(box, step, shift, strict=True)
            ]
            return tile[np.ix_(*index)]

        return values


def _spline(count: int, step: float, nodes: int) -> np.ndarray:
    """(count, nodes) weights of a cubic B-spline, scaled so that unit noise stays about unit noise."""
    away = np.abs(np.arange(count)[:, None] * step + 1 - np.arange(nodes)[None])
    near, far = 2 / 3 - away**2 + away**3 / 2, np.clip(2 - away, 0, None) ** 3 / 6
    weights = np.where(away < 1, near, far)
    return (weights / np.sqrt((weights**2).sum(axis=1).mean())).astype(np.float32)


def _periodic_tile(random: np.random.Generator, side: int = 96) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    tile = gaussian_filter(
        random.standard_normal((side, side, side), np.float32), 1.0, mode="wrap", truncate=3
    )
    return tile / tile.std()
