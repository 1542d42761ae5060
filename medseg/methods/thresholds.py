"""Thresholds: fixed, found from the histogram, or from the surroundings of each pixel."""

from __future__ import annotations

import numpy as np

from medseg.errors import UsageError, did_you_mean
from medseg.methods.divisions import one_hot, require_classes, require_distinct
from medseg.methods.features.contrast import surroundings

HISTOGRAM = ("otsu", "li", "triangle", "isodata", "yen")
KINDS = ("fixed", "local", *HISTOGRAM)
BINS = 256


class Threshold:
    """Divides an image at thresholds of one feature; class 0 has the lowest values.

    Args:
        kind: how thresholds are found. fixed: at `value`. otsu: the variance inside the classes is least
            (Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9, 1979), with more than two classes as
            Liao, Chen and Chung (Journal of Information Science and Engineering 17, 2001). li, triangle,
            isodata and yen: skimage.filters, which cites their sources. local: below mean + `weight` times
            standard deviation of the surroundings (Niblack, An Introduction to Digital Image Processing,
            1986), here weighted by a Gaussian and taken from the region alone.
        classes: number of classes; more than two for otsu alone.
        value: the fixed threshold.
        sigma: standard deviation of the Gaussian of local, in pixels or voxels.
        weight: of the standard deviation, for local.

    Raises:
        UsageError: an unknown kind, or options that do not fit it.
    """

    def __init__(
        self,
        kind: str,
        classes: int = 2,
        value: float | None = None,
        sigma: float | None = None,
        weight: float = 0.0,
    ) -> None:
        if kind not in KINDS:
            raise UsageError("a kind of threshold", got=kind, advice=did_you_mean(kind, KINDS))
        require_classes(classes)
        if classes > 2 and kind != "otsu":
            raise UsageError("two classes", got=f"{classes}", advice="Set kind to otsu for more.")
        if (kind == "fixed") != (value is not None) or (kind == "local") != (sigma is not None):
            raise UsageError(
                "a value for the kind fixed alone, and a sigma for the kind local alone",
                got=f"kind {kind}, value {value}, sigma {sigma}",
                advice="Correct the options of the threshold.",
            )
        self.kind, self.classes, self.value, self.sigma, self.weight = kind, classes, value, sigma, weight

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Classes (K, spatial...) float32 of one feature (1, spatial...); 0 outside the region (spatial...).

        Raises:
            UsageError: more than one feature.
            UnsuitableError: fewer distinct values than classes.
        """
        if len(features) != 1:
            raise UsageError("one feature", got=str(len(features)), advice="Name one of the features.")
        values = features[0][region]
        require_distinct(values[:, None], self.classes)
        numbers = sum(
            (values > threshold).astype(np.uint8) for threshold in self._thresholds(features[0], region)
        )
        return one_hot(np.asarray(numbers), self.classes, region)

    def _thresholds(self, feature: np.ndarray, region: np.ndarray) -> list[np.ndarray | float]:
        """One threshold less than there are classes, each a number or one for each pixel of the region."""
        from skimage import filters

        if self.value is not None:
            return [self.value]
        if self.sigma is not None:
            mean, spread = surroundings(feature, region, self.sigma)
            return [mean + self.weight * spread]
        if self.kind == "otsu" and self.classes > 2:
            return list(filters.threshold_multiotsu(feature[region], self.classes, nbins=BINS))
        return [getattr(filters, f"threshold_{self.kind}")(feature[region])]
