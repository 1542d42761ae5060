"""The feature of a pixel's contrast to its wide surroundings."""

from __future__ import annotations

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput

WIDER = 10  # the surroundings' standard deviation, in scales


def surroundings(values: np.ndarray, region: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (n,) each, of values (spatial...) around each pixel of a region.

    Weighted by a Gaussian, and taken from the region alone.
    """
    from scipy.ndimage import gaussian_filter

    def smooth(array: np.ndarray) -> np.ndarray:
        found: np.ndarray = gaussian_filter(array * region, sigma, mode="constant")[region]
        return found

    middle = float(values[region].mean())
    centred = np.where(region, values - middle, 0).astype(np.float64)
    share = smooth(np.ones(region.shape))  # not 0: each pixel of the region counts for itself
    mean, square = smooth(centred) / share, smooth(centred**2) / share
    return mean + middle, np.sqrt(np.maximum(square - mean**2, 0))


def _contrast(image: FeatureInput, scale: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    sigma = image.pixels(scale)
    smooth = gaussian_filter(image.grey, sigma, mode="nearest")
    mean, spread = surroundings(smooth, image.region, WIDER * sigma)
    return image.over_region((smooth[image.region] - mean) / np.maximum(spread, 1e-6))


FEATURES = (
    Feature(
        "local_contrast",
        "brightness after a Gaussian, minus the mean and divided by the standard deviation under a Gaussian "
        f"{WIDER} times as wide (the score of Niblack's threshold, 1986)",
        _contrast,
        scaled=True,
    ),
)
