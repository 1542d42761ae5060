"""The trachea and the bronchi that can be followed from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.boxes import Box, bounding_box, moved, placed, widened
from medseg.morphology import big_components, components, dilated, numbered

AIR_HU = -700  # voxels above hold more wall than lumen
LUMEN_HU = -850  # the mean of a trachea's section is below
AREA_MM2 = (40.0, 800.0)  # of a trachea's section: 10 to 27 mm in adults (Breatnach et al., AJR 142, 1984)
MAX_EXTENT_MM = 36.0
MIN_LENGTH_MM = 15.0
GROWTH_HU = (-950, -925, -900, -875, -850, -825, -800)
MAX_VOLUME_ML, MAX_JUMP_ML = 150.0, 15.0  # a larger volume or increase means a leak into the lung
REACH_MM = (75.0, 60.0, 110.0)  # bronchi are searched this far around the trachea along each axis
WALL_HU = -600


def airway(
    hu: np.ndarray, inside: np.ndarray, lungs: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, Box]:
    """Segment the lumen of the airway.

    Region growing from the trachea, with a threshold that rises until the region leaks into the lung: Mori,
    Hasegawa, Toriwaki, Anno and Katada, ICPR 1996.

    Args:
        hu: (i, j, k) in HU, RAS+.
        inside: (i, j, k) bool, the body.
        lungs: (i, j, k) bool, lungs and airway together.
        spacing_mm: size of a voxel along each axis.

    Returns:
        The lumen, bool, in a box, and that box; both are empty where no trachea is found.
    """
    seed, place = trachea(hu, inside, lungs, spacing_mm)
    if not seed.size:
        return seed, place
    box = widened(place, [round(reach / s) for reach, s in zip(REACH_MM, spacing_mm, strict=True)], hu.shape)
    return _grown(hu[box], inside[box], placed(seed, place, box), spacing_mm), box


def trachea(
    hu: np.ndarray, inside: np.ndarray, lungs: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, Box]:
    """Find the longest tube of air along k, as wide as a trachea, at and above the upper half of the lungs.

    Args:
        hu, inside, lungs, spacing_mm: as for airway.

    Returns:
        Its voxels, bool, in their bounding box, and that box.
    """
    heights = np.flatnonzero(lungs.any(axis=(0, 1)))
    low = int(heights.mean()) if len(heights) else 0
    sides = np.flatnonzero(lungs.any(axis=(1, 2)))
    middle = sides.mean() if len(sides) else hu.shape[0] / 2
    best, best_mm = (np.zeros((0, 0, 0), dtype=bool), (slice(0, 0),) * 3), MIN_LENGTH_MM
    round_ones = _round_sections(hu[..., low:], inside[..., low:], spacing_mm)
    place = bounding_box(round_ones)
    for tube, box in big_components(round_ones[place], 1):
        x, y, z = moved(box, place)
        aside_mm = abs((x.start + x.stop - 1) / 2 - middle) * spacing_mm[0]
        length_mm = (z.stop - z.start) * spacing_mm[2] - aside_mm / 2
        if length_mm > best_mm:
            best, best_mm = (tube, (x, y, slice(z.start + low, z.stop + low))), length_mm
    return best


def _round_sections(hu: np.ndarray, inside: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Components of air in axial slices with the size and shape of a trachea's section; (i, j, k) bool."""
    air = (hu < AIR_HU) & inside
    numbers, sizes = components(air, in_plane=True)
    area_mm2 = sizes * spacing_mm[0] * spacing_mm[1]
    fits = (area_mm2 >= AREA_MM2[0]) & (area_mm2 <= AREA_MM2[1])
    fits[0] = False
    # From here on only the voxels of the sections that fit, in the order of their numbers.
    places = np.flatnonzero(air)
    places = places[fits[numbers.ravel()[places]]]
    places = places[np.argsort(numbers.ravel()[places], kind="stable")]
    found = np.zeros(hu.shape, dtype=bool)
    if not len(places):
        return found
    of_place = numbers.ravel()[places]
    starts = np.flatnonzero(np.diff(of_place, prepend=0))
    x, y, z = np.unravel_index(places, hu.shape)
    counts = np.diff(starts, append=len(places))
    mean_hu = np.add.reduceat(hu[x, y, z], starts, dtype=np.float64) / counts
    width, depth = (
        (np.maximum.reduceat(way, starts) + 1 - np.minimum.reduceat(way, starts)) * s
        for way, s in zip((x, y), spacing_mm[:2], strict=True)
    )
    longer, shorter = np.maximum(width, depth), np.minimum(width, depth)
    is_compact = (area_mm2[of_place[starts]] >= 0.5 * width * depth) & (longer <= 2.5 * shorter)
    is_round = (mean_hu < LUMEN_HU) & is_compact & (longer <= MAX_EXTENT_MM)
    found.ravel()[places[np.repeat(is_round, counts)]] = True
    return found


def _grown(hu: np.ndarray, inside: np.ndarray, seed: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    first = np.unravel_index(seed.argmax(), seed.shape)
    grown, allowed_ml = seed, MAX_VOLUME_ML
    for threshold_hu in GROWTH_HU:
        numbers, _ = numbered(((hu < threshold_hu) & inside) | seed)
        region = numbers == numbers[first]
        volume_ml = float(np.count_nonzero(region)) * voxel_ml
        if volume_ml > allowed_ml:
            break
        grown, allowed_ml = region, min(MAX_VOLUME_ML, volume_ml + MAX_JUMP_ML)
    # The border of the lumen is half-way between air and wall, not at the threshold of the growing.
    rim = dilated(grown)
    return grown | (rim & (hu < WALL_HU) & inside)
