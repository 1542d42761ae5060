"""Hierarchical clustering of superpixels, from the bottom up or from the top down."""

from __future__ import annotations

import numpy as np

from medseg.errors import UsageError, did_you_mean
from medseg.methods.divisions import one_hot, require_classes, require_distinct
from medseg.methods.features import standardised
from medseg.methods.superpixels import Slic, graph, means

WAYS = ("bottom_up", "top_down")


class Hierarchical:
    """Merges or splits superpixels, whose number bounds time and memory.

    bottom_up: the two superpixels or clusters whose merging adds least to the variance inside clusters are
    merged (Ward, Journal of the American Statistical Association 58, 1963); first only those that touch, down
    to `regions` connected regions, then any, down to the classes. top_down: the cluster with the largest sum
    of squares is split in two by k-means, until there are enough classes (bisecting k-means: Steinbach,
    Karypis and Kumar, KDD Workshop on Text Mining, 2000).

    Args:
        way: bottom_up or top_down.
        classes: number of clusters.
        superpixels: what is clustered.
        regions: connected regions that stand between superpixels and classes, for bottom_up.
        seed: of k-means.

    Raises:
        UsageError: an unknown way, fewer than two classes, or `regions` where the way is not bottom_up.
    """

    def __init__(
        self, way: str, classes: int, superpixels: Slic, regions: int | None = None, seed: int = 0
    ) -> None:
        if way not in WAYS:
            raise UsageError("a way through the hierarchy", got=way, advice=did_you_mean(way, WAYS))
        require_classes(classes)
        if (way == "bottom_up") != (regions is not None):
            raise UsageError(
                "a number of regions for the way bottom_up alone",
                got=f"{way} with regions {regions}",
                advice="Correct the options of the clustering.",
            )
        self.way, self.classes, self.superpixels = way, classes, superpixels
        self.regions, self.seed = regions, seed

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Classes (K, spatial...) float32 of features (F, spatial...); 0 outside the region (spatial...).

        Raises:
            UnsuitableError: fewer distinct superpixels than classes.
        """
        scaled = standardised(features, region)
        numbers = self.superpixels(features, region)
        rows = means(scaled, numbers)
        require_distinct(rows, self.classes)
        if self.regions is None:
            clusters = self._split(rows)
        else:
            connected = _ward(rows, self.regions, graph(numbers))
            merged = np.concatenate([[0], connected + 1])[numbers]
            clusters = _ward(means(scaled, merged), self.classes)[connected]
        return one_hot(clusters[numbers[region] - 1], self.classes, region)

    def _split(self, rows: np.ndarray) -> np.ndarray:
        from sklearn.cluster import BisectingKMeans

        found: np.ndarray = BisectingKMeans(self.classes, random_state=self.seed, n_init=3).fit_predict(rows)
        return found


def _ward(rows: np.ndarray, count: int, connectivity: object = None) -> np.ndarray:
    """The cluster (n,) of each row (n, F), from 0; all are apart where rows are no more than clusters."""
    import warnings

    from sklearn.cluster import AgglomerativeClustering

    if len(rows) <= count:
        return np.arange(len(rows))
    model = AgglomerativeClustering(count, connectivity=connectivity, linkage="ward")
    with warnings.catch_warnings():  # parts of a region that do not touch are joined, with a warning
        warnings.simplefilter("ignore", UserWarning)
        found: np.ndarray = model.fit_predict(rows)
    return found
