"""The trachea and the bronchi that can be followed from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.classical.morphology import IN_PLANE, bounding_box, components, dilated

AIR_HU = -700  # above, a voxel holds more wall than lumen
LUMEN_HU = -850  # the mean of a trachea is below
AREA_MM2 = (40.0, 800.0)  # of a trachea's section: 10 to 27 mm in adults (Breatnach et al., AJR 142, 1984)
MAX_EXTENT_MM = 36.0
MIN_LENGTH_MM = 15.0
GROWTH_HU = (-950, -925, -900, -875, -850, -825, -800)
MAX_VOLUME_ML, MAX_JUMP_ML = 150.0, 15.0  # more means that the growing ran into the lung
REACH_MM = (75.0, 60.0, 110.0)  # how far around and below the trachea bronchi are looked for
WALL_HU = -600


def airway(hu: np.ndarray, inside: np.ndarray, lungs: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The airway's lumen, (i, j, k) bool; empty where no trachea is in the image.

    Region growing from the trachea, whose threshold rises until the region bursts into the lung: Mori,
    Hasegawa, Toriwaki, Anno and Katada, ICPR 1996.

    Args:
        hu: (i, j, k) in HU, RAS+.
        inside: (i, j, k) bool, the body.
        lungs: (i, j, k) bool, lungs and airway in one.
    """
    found = np.zeros(hu.shape, dtype=bool)
    seed = trachea(hu, inside, lungs, spacing_mm)
    if not seed.any():
        return found
    box = bounding_box(seed, [round(reach / s) for reach, s in zip(REACH_MM, spacing_mm, strict=True)])
    found[box] = _grown(hu[box], inside[box], seed[box], spacing_mm)
    return found


def trachea(hu: np.ndarray, inside: np.ndarray, lungs: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The longest upright tube of air, as wide as a trachea, in the upper part of the lungs and above."""
    from scipy.ndimage import find_objects

    seed = np.zeros(hu.shape, dtype=bool)
    where = np.argwhere(lungs.any(axis=(0, 1)))
    low = int(where.mean()) if len(where) else 0
    top = hu[..., low:]
    numbers, _ = components((top < AIR_HU) & inside[..., low:], IN_PLANE)
    round_ones = _sections(numbers, top, spacing_mm)
    tubes, _ = components(round_ones[numbers])
    best, best_mm = 0, MIN_LENGTH_MM
    middle = np.argwhere(lungs.any(axis=(1, 2))).mean() if len(where) else hu.shape[0] / 2
    for number, box in enumerate(find_objects(tubes), 1):
        aside_mm = abs((box[0].start + box[0].stop - 1) / 2 - middle) * spacing_mm[0]
        length_mm = (box[2].stop - box[2].start) * spacing_mm[2] - aside_mm / 2
        if length_mm > best_mm:
            best, best_mm = number, length_mm
    if best:
        seed[..., low:] = tubes == best
    return seed


def _sections(numbers: np.ndarray, hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Which in-plane components look like the section of a trachea; (n + 1,) bool."""
    from scipy.ndimage import find_objects

    sizes = np.bincount(numbers.ravel())
    mean_hu = np.bincount(numbers.ravel(), hu.ravel()) / np.maximum(sizes, 1)
    area_mm2 = sizes * spacing_mm[0] * spacing_mm[1]
    fits = (area_mm2 >= AREA_MM2[0]) & (area_mm2 <= AREA_MM2[1]) & (mean_hu < LUMEN_HU)
    fits[0] = False
    boxes = find_objects(numbers)
    for number in np.flatnonzero(fits):
        width, depth = (
            (box.stop - box.start) * s for box, s in zip(boxes[number - 1], spacing_mm[:2], strict=False)
        )
        is_compact = area_mm2[number] >= 0.5 * width * depth and max(width, depth) <= 2.5 * min(width, depth)
        fits[number] = is_compact and max(width, depth) <= MAX_EXTENT_MM
    return fits


def _grown(hu: np.ndarray, inside: np.ndarray, seed: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    grown, allowed_ml = seed, MAX_VOLUME_ML
    for threshold_hu in GROWTH_HU:
        numbers, _ = components(((hu < threshold_hu) & inside) | seed)
        region = numbers == numbers[seed].max()
        volume_ml = float(region.sum()) * voxel_ml
        if volume_ml > allowed_ml:
            break
        grown, allowed_ml = region, min(MAX_VOLUME_ML, volume_ml + MAX_JUMP_ML)
    # The border of the lumen is half-way between air and wall, not where the growing stopped.
    rim = dilated(grown)
    return grown | (rim & (hu < WALL_HU) & inside)
