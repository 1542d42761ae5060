"""Features of edges: first and second derivatives."""

from __future__ import annotations

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput


def _gradient(image: FeatureInput, scale: float) -> np.ndarray:
    from scipy.ndimage import gaussian_gradient_magnitude

    sigma = image.pixels(scale)
    return sigma * gaussian_gradient_magnitude(image.grey, sigma, mode="nearest")


def _sobel(image: FeatureInput, _: float) -> np.ndarray:
    from skimage.filters import sobel

    return sobel(image.grey, mode="nearest") / image.spacing


def _canny(image: FeatureInput, scale: float) -> np.ndarray:
    from skimage.feature import canny

    return canny(image.unit(), image.pixels(scale), 0.1, 0.2, mask=image.region, mode="nearest")


def _laplace(image: FeatureInput, scale: float) -> np.ndarray:
    sigma = image.pixels(scale)
    found = np.zeros_like(image.grey)
    for axis in range(found.ndim):
        found += derivative(derivative(image.grey, sigma, axis), sigma, axis)
    return sigma**2 * found


def derivative(values: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """First derivative (spatial...) per pixel after a Gaussian of sigma / sqrt(2).

    Applied twice, it is a second derivative after a Gaussian of sigma, as in scikit-image's hessian_matrix.
    SciPy's own second derivative of a constant is not quite 0, and of a small sigma far from it.
    """
    from scipy.ndimage import gaussian_filter

    order = [int(other == axis) for other in range(values.ndim)]
    found: np.ndarray = gaussian_filter(values, sigma / np.sqrt(2), order, mode="nearest", truncate=6)
    return found


FEATURES = (
    Feature(
        "gradient",
        "magnitude of the gradient after a Gaussian, times the scale (Lindeberg, IJCV 30, 1998)",
        _gradient,
        scaled=True,
    ),
    Feature("sobel", "magnitude of the gradient by Sobel's kernels, per px or mm", _sobel),
    Feature(
        "canny",
        "1 on edges: local maxima of the gradient above 0.1 and connected to one above 0.2 of the contrast "
        "(Canny, PAMI 8, 1986)",
        _canny,
        scaled=True,
        dimensions=(2,),
    ),
    Feature(
        "laplace",
        "Laplacian of Gaussian times the scale's square: above 0 in dark blobs, below 0 in bright ones "
        "(Lindeberg 1998)",
        _laplace,
        scaled=True,
    ),
)
