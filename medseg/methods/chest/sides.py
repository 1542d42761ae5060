"""Which voxels of the lungs are the left lung's and which the right one's."""

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
MIN_SHARE = 0.08  # of both lungs: a smaller piece is no lung of its own
MIN_APART_MM = 40.0  # from side to side, between the middles of the two lungs
DEPTHS_MM = (0.0, 3.0, 6.0, 9.0, 12.0, 16.0, 20.0, 25.0)
CONTESTED = 2  # coarse voxels on each side of where the lungs meet
NEAR = (2, 10)  # coarse voxels within which the nearer side is looked for first


def side_if_alone(
    lungs: np.ndarray, inside: np.ndarray, airway_at: float | None, beyond: tuple[int, int] = (0, 0)
) -> int:
    """Which side a lung is on that is alone: LEFT or RIGHT.

    The airway lies medial of it. Without one, lines from side to side through the lung tell: laterally there
    is less tissue and more air outside the body, even where the image is cut to half a chest.

    Args:
        lungs: (i, j, k) bool, RAS+: the patient's left has the smaller i.
        inside: (i, j, k) bool, the body.
        airway_at: its mean i, None without one.
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
    """The lungs, eroded until two big ones lie side by side: left (1) and right (2); (i, j, k) uint8.

    Args:
        lungs: (i, j, k) bool at about 3 mm, RAS+.
        alone: the side to take where there are no two.
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
    """Each voxel of the lungs to the side that it's reached from; (i, j, k) uint8.

    A watershed on the HU, as two lungs meet at a line that is brighter than both: first on the coarse grid,
    then on the fine one near the line.

    Args:
        hu: (i, j, k) in HU.
        lungs: (i, j, k) bool.
        seeds: LEFT and RIGHT on the coarse grid; one of them may be missing.
        coarse_hu: the image on that grid.
        shares: how much of each coarse voxel is lung; more than half of those with seeds.
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
    """Seeds, and each other voxel of the lungs with the seed that a watershed reaches it from, 0 for none.

    Only seeds beside other voxels can reach any: the watershed's queue starts with these alone.
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
    """The side that is nearer to each coarse voxel; (i, j, k) uint8, right where it's reached or wanted.

    Most that is wanted lies beside a lung, so far ways are measured only where it does not.
    """
    for most in (*(near * max(step) for near in NEAR), np.inf):
        to_left, to_right = (distance_mm(reached != side, step, most) for side in (LEFT, RIGHT))
        if not (wanted & (np.minimum(to_left, to_right) > most)).any():
            break
    return np.where(to_left <= to_right, np.uint8(LEFT), np.uint8(RIGHT))
