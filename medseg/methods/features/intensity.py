"""Features of the brightness: the image itself and what surrounds a pixel."""

from __future__ import annotations

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput


def _grey(image: FeatureInput, _: float) -> np.ndarray:
    return image.grey


def _gaussian(image: FeatureInput, scale: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.grey, image.pixels(scale), mode="nearest")


def _local_mean(image: FeatureInput, scale: float) -> np.ndarray:
    return _moments(image, scale)[0]


def _local_std(image: FeatureInput, scale: float) -> np.ndarray:
    return _moments(image, scale)[1]


def _moments(image: FeatureInput, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in windows, of the pixels inside the region alone."""
    return image.shared(("moments", scale), lambda: _computed_moments(image, scale))


def _computed_moments(image: FeatureInput, scale: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import uniform_filter

    size = 2 * image.radius(scale) + 1

    def mean_of(values: np.ndarray) -> np.ndarray:
        summed: np.ndarray = uniform_filter(values, size, mode="constant")
        return summed

    weight = np.maximum(mean_of(image.region.astype(np.float32)), 1e-6)
    middle = image.grey[image.region].mean()  # without it, squares of large values would lose digits
    values = np.where(image.region, image.grey - middle, np.float32(0))
    mean = mean_of(values) / weight
    variance = mean_of(values**2) / weight - mean**2
    rounding = 1e-6 * (values**2).max()
    return mean + middle, np.sqrt(np.where(variance > rounding, variance, 0))


def _dark_contrast(image: FeatureInput, scale: float) -> np.ndarray:
    from skimage.morphology import black_tophat

    return black_tophat(image.grey, _round_footprint(image, scale), mode="ignore")


def _bright_contrast(image: FeatureInput, scale: float) -> np.ndarray:
    from skimage.morphology import white_tophat

    return white_tophat(image.grey, _round_footprint(image, scale), mode="ignore")


def _round_footprint(image: FeatureInput, scale: float) -> tuple[tuple[np.ndarray, int], ...]:
    """A disk or ball as a sequence of small footprints, which is faster than one large footprint."""
    from skimage.morphology import ball, disk

    shape = disk if image.grey.ndim == 2 else ball
    return shape(image.radius(scale), decomposition="sequence")


FEATURES = (
    Feature("intensity", "the image itself; of several channels the one that is named as grey", _grey),
    Feature("gaussian", "brightness after a Gaussian of this standard deviation", _gaussian, scaled=True),
    Feature(
        "local_mean",
        "mean brightness in a square or cubic window that reaches this far to each side",
        _local_mean,
        scaled=True,
    ),
    Feature("local_std", "standard deviation of the brightness in the same window", _local_std, scaled=True),
    Feature(
        "black_tophat",
        "closing by a disk or ball of this radius, minus image: dark structures that are thinner than the "
        "disk, without the background (Serra, Image Analysis and Mathematical Morphology, 1982)",
        _dark_contrast,
        scaled=True,
    ),
    Feature(
        "white_tophat",
        "image minus its opening by a disk or ball of this radius: bright structures (Serra 1982)",
        _bright_contrast,
        scaled=True,
    ),
)
