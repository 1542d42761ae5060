"""Images of the wrong kind, made to look like the right one: the right mask of each is empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from skimage.transform import resize

PICTURE_PX = 800


def like_ultrasound(image: np.ndarray) -> np.ndarray:
    """Any picture (C, row, column) as a grey one (1, row, column) with ultrasound's proportions."""
    grey = image.mean(axis=0)
    rows = min(grey.shape[0], round(0.8 * grey.shape[1]))
    top = (grey.shape[0] - rows) // 2
    return _eight_bits(grey[top : top + rows])[None]


def like_photograph(image: np.ndarray) -> np.ndarray:
    """Any picture (C, row, column) as a round, orange one (3, row, column), as of an eye."""
    grey = resize(image.mean(axis=0), (PICTURE_PX, PICTURE_PX), order=1, preserve_range=True)
    scaled = 0.25 + 0.75 * _eight_bits(grey).astype(np.float32) / 255
    rows, columns = np.indices(grey.shape) - PICTURE_PX / 2
    inside = rows**2 + columns**2 < (0.47 * PICTURE_PX) ** 2
    tint = np.array([230, 120, 60], dtype=np.float32)[:, None, None]
    return np.round(inside * scaled * tint).astype(np.uint8)


LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ultrasound": like_ultrasound,
    "photograph": like_photograph,
}


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    low, high = np.percentile(grey, (0.5, 99.5))
    return np.round(np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
