"""What a filter sees outside the region in which an image was taken."""

from __future__ import annotations

import numpy as np


def filled(values: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Values (spatial...); outside the region the nearest value inside, so that no filter sees an edge.

    Args:
        values: (spatial...).
        region: (spatial...) bool, not empty.
    """
    from scipy.ndimage import distance_transform_edt

    if region.all():
        return values
    nearest = distance_transform_edt(~region, return_distances=False, return_indices=True)
    spread: np.ndarray = values[tuple(nearest)]
    return spread
