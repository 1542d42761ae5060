"""Region merging: pixels that are equivalent become one region."""

from __future__ import annotations

import numpy as np

from medseg.errors import UnsuitableError
from medseg.methods.divisions import one_hot, require_classes, require_distinct
from medseg.methods.features import standardised
from medseg.methods.superpixels import means


class RegionMerging:
    """Merges neighbours along a minimum spanning tree, and groups the regions by their means.

    Two regions become one where the least difference across their border is not above the largest inside
    either of them plus scale / size (Felzenszwalb and Huttenlocher, International Journal of Computer Vision
    59, 2004). The regions, which are many, are grouped into classes by k-means of their mean features,
    weighted by their sizes.

    Args:
        classes: number of classes.
        scale: the larger, the larger the regions.
        least_px: a smaller region is merged with its nearest neighbour.
        sigma: smoothing of the features before, in pixels.
        seed: of k-means.

    Raises:
        UsageError: fewer than two classes.
    """

    def __init__(self, classes: int, scale: float, least_px: int, sigma: float = 0.0, seed: int = 0) -> None:
        require_classes(classes)
        self.classes, self.scale, self.least_px = classes, scale, least_px
        self.sigma, self.seed = sigma, seed

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Classes (K, row, column) float32 of features (F, row, column); 0 outside the region (row, column).

        Raises:
            UnsuitableError: a volume, or fewer distinct regions than classes.
        """
        from sklearn.cluster import KMeans

        if region.ndim != 2:
            raise UnsuitableError(
                "a picture", got=f"an image with {region.ndim} axes", advice="Choose another method."
            )
        scaled = np.where(region, standardised(features, region), 0)
        numbers = self._regions(scaled, region)
        rows = means(scaled, numbers)
        require_distinct(rows, self.classes)
        sizes = np.bincount(numbers.ravel())[1:]
        fitted = KMeans(self.classes, n_init=5, random_state=self.seed).fit(rows, sample_weight=sizes)
        return one_hot(fitted.labels_[numbers[region] - 1], self.classes, region)

    def _regions(self, scaled: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Numbers (row, column) of the regions, from 1; 0 outside the region."""
        from skimage.segmentation import felzenszwalb, relabel_sequential

        found = felzenszwalb(
            np.moveaxis(scaled, 0, -1).astype(np.float64),
            scale=self.scale,
            sigma=self.sigma,
            min_size=self.least_px,
            channel_axis=-1,
        )
        numbers: np.ndarray = relabel_sequential(np.where(region, found + 1, 0))[0]
        return numbers
