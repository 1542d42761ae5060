"""Texture of planes: co-occurrence of grey levels, and local binary patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = 32  # of brightness
MOST_PLANES = 16  # of a volume
LBP_NEIGHBOURS = 8
OUTSIDE = LEVELS  # the level of a pixel that does not count
_ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)


def planes_of(values: np.ndarray) -> list[np.ndarray]:
    """The planes whose texture is taken: a picture itself, or planes of a volume at even steps along its last
    axis.

    Args:
        values: (row, column) or (i, j, k).
    """
    if values.ndim == 2:
        return [values]
    count = values.shape[2]
    chosen = np.unique(np.linspace(0, count - 1, min(MOST_PLANES, count) + 2).round().astype(int)[1:-1])
    return [values[:, :, index] for index in chosen]


def to_levels(plane: np.ndarray, low: float, high: float, inside: np.ndarray | None = None) -> np.ndarray:
    """Brightness as LEVELS equal levels from `low` to `high`, uint8; OUTSIDE where `inside` is False."""
    scaled = (plane - low) * (LEVELS / max(high - low, 1e-12))
    levels = np.clip(scaled, 0, LEVELS - 1).astype(np.uint8)
    return levels if inside is None else np.where(inside, levels, OUTSIDE).astype(np.uint8)


def cooccurrence(levels: Sequence[np.ndarray], distance_px: int = 1) -> np.ndarray:
    """How often two levels lie beside each other, over all planes and four directions; (LEVELS, LEVELS), sum
    1.

    Symmetric. Pairs with a pixel that is OUTSIDE don't count; all 0 if no pair is left. Source: Haralick,
    Shanmugam and Dinstein, IEEE SMC 3, 1973.
    """
    from skimage.feature import graycomatrix

    total = np.zeros((LEVELS, LEVELS))
    for plane in levels:
        counts = graycomatrix(plane, [distance_px], _ANGLES, LEVELS + 1, symmetric=True)
        total += counts.sum(axis=(2, 3))[:LEVELS, :LEVELS]
    return total / max(total.sum(), 1)


def lbp_histogram(levels: Sequence[np.ndarray], radius_px: int = 1) -> np.ndarray:
    """The histogram of rotation-invariant uniform local binary patterns over all planes; (10,), sum 1.

    Pixels nearer to the border or to a pixel that is OUTSIDE than the radius don't count; all 0 if no pixel
    is left. Source: Ojala, Pietikainen and Maenpaa, PAMI 24, 2002.
    """
    from skimage.feature import local_binary_pattern

    total = np.zeros(LBP_NEIGHBOURS + 2)
    for plane in levels:
        codes = local_binary_pattern(plane, LBP_NEIGHBOURS, radius_px, method="uniform").astype(int)
        total += np.bincount(codes[_is_whole(plane, radius_px)], minlength=len(total))
    return total / max(total.sum(), 1)


def _is_whole(plane: np.ndarray, radius_px: int) -> np.ndarray:
    """Where the circle of neighbours lies inside."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(plane != OUTSIDE, 2 * radius_px + 1, mode="constant", cval=0)) > 0
