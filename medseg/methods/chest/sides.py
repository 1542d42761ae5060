"""Assign the voxels of the lungs to the left and the right lung."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.boxes import bounding_box
from medseg.morphology import (
    components,
    dilated,
    distance_mm,
    mean_plane,
    repeated,
)

LEFT, RIGHT = 1, 2
MIN_SHARE = 0.08  # of both lungs: a smaller component is no lung of its own
MIN_APART_MM = 40.0  # between the means of the two lungs along i
DEPTHS_MM = (0.0, 3.0, 6.0, 9.0, 12.0, 16.0, 20.0, 25.0)
CONTESTED = 2  # coarse voxels on each side of the plane where the lungs meet
NEAR = (2, 10)  # coarse voxels within which the nearer side is searched first


def side_if_alone(
    lungs: np.ndarray, inside: np.ndarray, airway_at: float | None, beyond: tuple[int, int] = (0, 0)
) -> int:
    """The side of a single lung: LEFT or RIGHT.

    The airway lies medial of a lung. Without an airway, lines along i through the lung decide: laterally they
    cross less tissue and more air outside the body, even where the image shows only half a chest.

    Args:
        lungs: (i, j, k) bool, RAS+: the patient's left has the smaller i.
        inside: (i, j, k) bool, the body.
        airway_at: mean i of the airway, None without one.
        beyond: slices of the image to the left and to the right of these arrays, all outside the body.
    """
    middle = mean_plane(lungs)
    if airway_at is not None:
        return LEFT if middle < airway_at else RIGHT
    lines = lungs.any(axis=0)
    tissue = lines & ~lungs
    count = 2 * (tissue & inside).sum(axis=(1, 2)) - tissue.sum(axis=(1, 2))
    before = np.arange(len(lungs)) < middle
    left, right = (
        count[part].sum() - more * lines.sum() for part, more in zip((before, ~before), beyond, strict=True)
    )
    return LEFT if left < right else RIGHT


def cores(lungs: np.ndarray, alone: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """Erode the lungs until two large components lie side by side: left (1) and right (2); (i, j, k) uint8.

    Args:
        lungs: (i, j, k) bool at about 3 mm, RAS+.
        alone: the side of all voxels where there are no two components.
        spacing_mm: size of a voxel.
    """
    for depth in DEPTHS_MM:
        numbers, sizes = components(distance_mm(lungs, spacing_mm, depth) > depth if depth else lungs)
        big = np.flatnonzero(sizes >= MIN_SHARE * np.count_nonzero(lungs))[1:]
        middles = np.array([mean_plane(numbers == number) for number in big])
        if len(big) > 1 and np.ptp(middles) * spacing_mm[0] >= MIN_APART_MM:
            side = np.zeros(len(sizes), dtype=np.uint8)
            side[big] = np.where(middles < (middles.min() + middles.max()) / 2, LEFT, RIGHT)
            return side[numbers]
    return lungs * np.uint8(alone)


def split(
    hu: np.ndarray,
    lungs: np.ndarray,
    seeds: np.ndarray,
    coarse_hu: np.ndarray,
    shares: np.ndarray,
    step: Sequence[int],
) -> np.ndarray:
    """Assign each voxel of the lungs to the side whose seed reaches it; (i, j, k) uint8.

    By a watershed on the HU, because two lungs meet at a surface that is brighter than both: first on the
    coarse grid, then on the fine grid near that surface.

    Args:
        hu: (i, j, k) in HU.
        lungs: (i, j, k) bool.
        seeds: LEFT and RIGHT on the coarse grid; one of them may be missing.
        coarse_hu: the image on that grid.
        shares: share of lung in each coarse voxel; above 0.5 in those with seeds.
        step: voxels of hu per coarse voxel along each axis.
    """
    reached = _flooded(coarse_hu, shares > 0.5, seeds)
    nearer = _nearer(reached, (shares > 0) & (reached == 0), step)
    sides = repeated(nearer, step, hu.shape)
    sides *= lungs
    meeting = [dilated(reached == side, CONTESTED) for side in (LEFT, RIGHT)]
    zone = repeated(meeting[0] & meeting[1], step, hu.shape) & lungs
    if zone.any():
        box = bounding_box(zone, (1, 1, 1))
        flooded = _flooded(hu[box], lungs[box], np.where(zone[box], 0, sides[box]))
        np.copyto(sides[box], flooded, where=zone[box] & (flooded > 0))
    return sides


def _flooded(hu: np.ndarray, lungs: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The seeds, grown over the voxels of the lungs by a watershed; 0 where no seed reaches.

    The watershed gets only the seeds next to other voxels of the lungs: the others can reach none.
    """
    from skimage.segmentation import watershed

    open_ones = lungs & (seeds == 0)
    flooded = seeds.copy()
    if open_ones.any():
        box = bounding_box(open_ones, (1, 1, 1))
        rim = dilated(open_ones[box]) & lungs[box]
        found = watershed(hu[box], (seeds[box] * rim).astype(np.int32), mask=rim)
        np.copyto(flooded[box], found, where=open_ones[box], casting="unsafe")
    return flooded


def _nearer(reached: np.ndarray, wanted: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """The side nearer to each coarse voxel; (i, j, k) uint8, valid in reached and wanted voxels alone.

    Most wanted voxels lie beside a lung, so long distances are computed only where some don't.
    """
    for most in (*(near * max(step) for near in NEAR), np.inf):
        to_left, to_right = (distance_mm(reached != side, step, most) for side in (LEFT, RIGHT))
        if not (wanted & (np.minimum(to_left, to_right) > most)).any():
            break
    return np.where(to_left <= to_right, np.uint8(LEFT), np.uint8(RIGHT))
