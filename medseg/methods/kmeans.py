"""k-means: the classes whose means are nearest."""

from __future__ import annotations

import numpy as np

from medseg.methods.divisions import one_hot, pixels, require_classes, require_distinct, sample
from medseg.methods.features import standardised

CHUNK = 500_000  # pixels whose distances are computed at a time


class KMeans:
    """Lloyd's k-means of the standardised features (IEEE Transactions on Information Theory 28, 1982).

    Args:
        classes: number of clusters.
        most: pixels that the means are fitted to; of a larger image a random sample.
        starts: runs from different first means (k-means++); the one with the least sum of squares is kept.
        seed: of the sample and of the first means.

    Raises:
        UsageError: fewer than two classes.
    """

    def __init__(self, classes: int, most: int = 50_000, starts: int = 5, seed: int = 0) -> None:
        require_classes(classes)
        self.classes, self.most, self.starts, self.seed = classes, most, starts, seed

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Classes (K, spatial...) float32 of features (F, spatial...); 0 outside the region (spatial...).

        Raises:
            UnsuitableError: fewer distinct values than classes.
        """
        from sklearn import cluster

        rows = pixels(standardised(features, region), region)
        some = sample(rows, self.most, self.seed)
        require_distinct(some, self.classes)
        fitted = cluster.KMeans(self.classes, n_init=self.starts, random_state=self.seed).fit(some)
        starts = range(0, len(rows), CHUNK)
        numbers = np.concatenate([fitted.predict(rows[start : start + CHUNK]) for start in starts])
        return one_hot(numbers, self.classes, region)
