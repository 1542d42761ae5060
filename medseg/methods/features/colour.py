"""Features of the colour, of pictures with three channels: red, green, blue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput


def _channel(number: int) -> Callable[[FeatureInput, float], np.ndarray]:
    return lambda image, _: image.channels[number]


def _hsv(number: int) -> Callable[[FeatureInput, float], np.ndarray]:
    def compute(image: FeatureInput, _: float) -> np.ndarray:
        from skimage.color import rgb2hsv

        return image.shared(("hsv",), lambda: rgb2hsv(_from_0_to_1(image), channel_axis=0))[number]

    return compute


def _lab(number: int) -> Callable[[FeatureInput, float], np.ndarray]:
    def compute(image: FeatureInput, _: float) -> np.ndarray:
        from skimage.color import rgb2lab

        return image.shared(("lab",), lambda: rgb2lab(_from_0_to_1(image), channel_axis=0))[number]

    return compute


def _from_0_to_1(image: FeatureInput) -> np.ndarray:
    """The channels (3, row, column), together from 0 (the lowest value in the region) to 1 (the highest).

    One gain and offset for all channels keeps the hue. Outside the region all are 0.
    """
    inside = image.channels[:, image.region]
    low, high = inside.min(), inside.max()
    scaled = (image.channels - low) / (high - low if high > low else 1)
    return np.where(image.region, scaled, np.float32(0))


def _colour(name: str, summary: str, compute: Callable[[FeatureInput, float], np.ndarray]) -> Feature:
    return Feature(name, summary, compute, dimensions=(2,), channels=3)


_RESCALED = "after rescaling all channels together to 0 to 1"
_SMITH = f"{_RESCALED} (Smith, SIGGRAPH 1978)"
_CIE = f"{_RESCALED}, taken as sRGB (CIE 1976)"

FEATURES = (
    _colour("red", "the first channel", _channel(0)),
    _colour("green", "the second channel", _channel(1)),
    _colour("blue", "the third channel", _channel(2)),
    _colour("hue", f"hue from 0 to 1, a circle, {_SMITH}", _hsv(0)),
    _colour("saturation", f"saturation {_SMITH}", _hsv(1)),
    _colour("value", f"the largest of the channels {_SMITH}", _hsv(2)),
    _colour("lab_l", f"lightness of CIELAB {_CIE}", _lab(0)),
    _colour("lab_a", f"green to red of CIELAB {_CIE}", _lab(1)),
    _colour("lab_b", f"blue to yellow of CIELAB {_CIE}", _lab(2)),
)
