"""Superpixels: small connected regions of alike pixels, and their graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.errors import UsageError
from medseg.methods.features import standardised


class Slic:
    """Superpixels by k-means of features and place: SLIC (Achanta et al., IEEE TPAMI 34, 2012).

    Args:
        most: superpixels that are asked for; there may be somewhat fewer or more.
        compactness: the larger, the more place counts against the features.

    Raises:
        UsageError: fewer than two superpixels.
    """

    def __init__(self, most: int, compactness: float = 0.1) -> None:
        if most < 2:
            raise UsageError("at least two superpixels", got=str(most), advice="Raise most.")
        self.most, self.compactness = most, compactness

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Numbers (spatial...) from 1 of features (F, spatial...), 0 outside the region (spatial...)."""
        from scipy.ndimage import find_objects
        from skimage.segmentation import slic

        (box,) = find_objects(region.astype(np.uint8))
        rows = np.moveaxis(standardised(features[(slice(None), *box)], region[box]), 0, -1)
        asked = max(2, round(self.most * region[box].size / np.count_nonzero(region)))
        numbers = np.zeros(region.shape, dtype=np.int32)
        numbers[box] = slic(rows, asked, self.compactness, channel_axis=-1, start_label=1)
        return _renumbered(np.where(region, numbers, 0))


def means(features: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The means (n, F) of features (F, spatial...) in superpixels numbered from 1."""
    flat = numbers.ravel()
    sizes = np.bincount(flat)[1:]
    return np.stack([np.bincount(flat, row.ravel())[1:] / sizes for row in features], axis=1)


def graph(numbers: np.ndarray) -> Any:
    """Which superpixels touch: a symmetric sparse matrix (n, n) of the numbers of their common faces."""
    from scipy.sparse import coo_matrix

    count = int(numbers.max())
    pairs = []
    for axis in range(numbers.ndim):
        along = np.moveaxis(numbers, axis, 0)
        one, other = along[:-1], along[1:]
        border = (one != other) & (one > 0) & (other > 0)
        pairs.append(np.stack([one[border], other[border]]))
    one, other = np.concatenate(pairs, axis=1).astype(np.int64) - 1
    half = coo_matrix((np.ones(len(one)), (one, other)), shape=(count, count)).tocsr()
    return half + half.T


def _renumbered(numbers: np.ndarray) -> np.ndarray:
    """Without gaps, from 1; 0 stays 0."""
    used = np.zeros(int(numbers.max()) + 1, dtype=np.int32)
    used[np.unique(numbers)] = 1
    used[0] = 0
    return (np.cumsum(used) * used)[numbers].astype(np.int32)
