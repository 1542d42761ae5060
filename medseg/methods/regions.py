"""Where in an image a method looks; a configuration names one of these functions."""

from __future__ import annotations

import numpy as np


def everywhere(image: np.ndarray) -> np.ndarray:
    """(spatial...) bool, all True, of (C, spatial...)."""
    return np.ones(image.shape[1:], dtype=bool)


def not_black(image: np.ndarray) -> np.ndarray:
    """(spatial...) bool, where any channel of (C, spatial...) is not 0, the value outside a field of view."""
    found: np.ndarray = (image != 0).any(axis=0)
    return found
