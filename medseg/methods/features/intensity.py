"""Features of the brightness: the image itself and what surrounds a pixel."""

from __future__ import annotations

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput


def _grey(image: FeatureInput, _: float | None) -> np.ndarray:
    return image.grey


def _gaussian(image: FeatureInput, scale: float | None) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.grey, image.sigma(scale or 1.0), mode="nearest")


FEATURES = (
    Feature("intensity", "the image itself; of several channels the one that is named as grey", _grey),
    Feature("gaussian", "brightness after a Gaussian of this standard deviation", _gaussian, scaled=True),
)
