"""Where in an image a method looks; a configuration names one of these functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medseg.errors import UnsuitableError

FEWEST_PIXELS = 16  # with fewer no division into classes means anything

Region = Callable[[np.ndarray], np.ndarray]


def everywhere(image: np.ndarray) -> np.ndarray:
    """(spatial...) bool, all True, of (C, spatial...)."""
    return np.ones(image.shape[1:], dtype=bool)


def not_black(image: np.ndarray) -> np.ndarray:
    """(spatial...) bool, where any channel of (C, spatial...) is not 0, the value outside a field of view."""
    found: np.ndarray = (image != 0).any(axis=0)
    return found


def field_of_view(image: np.ndarray, margin_px: int) -> np.ndarray:
    """As not_black, without a margin whose features would show the border of the field of view."""
    from scipy.ndimage import binary_erosion

    found: np.ndarray = binary_erosion(not_black(image), iterations=margin_px)
    return found


def sector(image: np.ndarray) -> np.ndarray:
    """As not_black of a picture, with the black structures that it encloses, such as cysts."""
    from scipy.ndimage import binary_fill_holes

    found: np.ndarray = binary_fill_holes(not_black(image))
    return found


def body(image: np.ndarray, spacing_mm: float) -> np.ndarray:
    """(i, j, k) bool, the body in a CT (1, i, j, k) in HU with voxels of this size along each axis."""
    from medseg.methods.chest.body import inside_body

    return inside_body(image[0], [spacing_mm] * 3)


def require_contrast(image: np.ndarray, region: np.ndarray) -> None:
    """Check that there is something to see in a region (spatial...) of an image (C, spatial...).

    Raises:
        UnsuitableError: too few pixels, a constant image, or values that are not numbers.
    """
    if np.count_nonzero(region) < FEWEST_PIXELS:
        raise UnsuitableError(
            f"an image with at least {FEWEST_PIXELS} pixels to look at",
            got=str(np.count_nonzero(region)),
            advice="Check the export of the image.",
        )
    inside = image[:, region]
    if not np.isfinite(inside).all() or (inside.max(axis=1) == inside.min(axis=1)).all():
        raise UnsuitableError(
            "an image with some contrast, of finite numbers",
            got="a constant one, or one with NaN",
            advice="Check the export of the image.",
        )
