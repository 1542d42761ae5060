"""Real images made worse by known amounts, so that masks of every quality can be had from few patients.

Each change takes an image (C, spatial...), its labels (spatial...), a strength from 0 (nothing) to 1
(hopeless), and random numbers, and returns both. Labels change only where the image is cut. Amounts are
shares of the image's own contrast, its 99th minus its 1st percentile, or of its size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

Pair = tuple[np.ndarray, np.ndarray]
Change = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], Pair]


def blurred(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Out of focus: a Gaussian of up to a fiftieth of the picture's longer side."""
    return _spatial(image, lambda plane: gaussian_filter(plane, strength * max(plane.shape) / 50)), labels


def moved(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Motion along one axis by up to a twentieth of the longer side."""
    axis = int(random.integers(image.ndim - 1))
    return _spatial(
        image, lambda plane: gaussian_filter1d(plane, strength * max(plane.shape) / 40, axis)
    ), labels


def noisy(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """White noise with a standard deviation of up to the contrast."""
    noise = random.normal(0, strength * _contrast(image), image.shape)
    return _kept(image, image + noise), labels


def speckled(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Noise that multiplies and has a grain of some pixels, as ultrasound's."""
    grain = gaussian_filter(random.normal(size=image.shape[1:]), max(image.shape) / 250)
    return _kept(image, image * (1 + 1.5 * strength * grain / grain.std())), labels


def coarse(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Few pixels: sampled at down to a fifteenth of the resolution."""
    factor = 1 / (1 + 14 * strength)

    def sampled(plane: np.ndarray) -> np.ndarray:
        small = zoom(plane, factor, order=1)
        return zoom(small, np.divide(plane.shape, small.shape), order=1)

    return _spatial(image, sampled), labels


def dark(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Underexposed: contrast down to a thirtieth, in steps of one grey value."""
    low = float(np.percentile(image, 1))
    return _kept(image, np.round(low + (image - low) * (1 - 0.97 * strength))), labels


def bright(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Overexposed: up to nine tenths of the contrast are cut off at the top, unevenly along one axis."""
    axis = 1 + int(random.integers(image.ndim - 1))
    ramp = np.linspace(1 - strength, 1 + strength, image.shape[axis])
    shape = [1] * image.ndim
    shape[axis] = -1
    return _kept(image, image * ramp.reshape(shape) + strength * 0.5 * _contrast(image)), labels


def shadowed(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Dark stripes from top to bottom, as behind ribs or gas, over up to nine tenths of the width."""
    width = image.shape[-1]
    field = gaussian_filter1d(random.normal(size=width), width / 20)
    hidden = field < np.quantile(field, 0.9 * strength)
    soft = gaussian_filter1d(hidden.astype(np.float64), width / 100)
    return _kept(image, image * (1 - 0.9 * soft)), labels


def blotched(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """Painted disease of a picture: bright and dark patches over up to two thirds of it."""
    size = max(image.shape) / random.uniform(12, 40)
    field = gaussian_filter(random.normal(size=image.shape[1:]), size)
    level = np.quantile(field, 1 - 0.33 * strength)
    values = np.percentile(image, (3, 97), axis=tuple(range(1, image.ndim)), keepdims=True)
    painted = np.where(field > level, values[1], np.where(field < -level, values[0], image))
    return _kept(image, painted), labels


def cut(image: np.ndarray, labels: np.ndarray, strength: float, random: np.random.Generator) -> Pair:
    """A part at a random place, of down to a quarter of each side."""
    share = 1 - 0.75 * strength
    sizes = [max(8, round(share * length)) for length in image.shape[1:]]
    starts = [
        int(random.integers(0, length - size + 1))
        for length, size in zip(image.shape[1:], sizes, strict=True)
    ]
    place = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return image[(slice(None), *place)], labels[place]


# What can go wrong with a kind of image. The names are stored beside what is fitted on them.
OF_PHOTOGRAPHS: dict[str, Change] = {
    "blurred": blurred, "moved": moved, "noisy": noisy, "coarse": coarse, "dark": dark, "bright": bright,
    "blotched": blotched,
}  # fmt: skip
OF_ULTRASOUND: dict[str, Change] = {
    "blurred": blurred, "speckled": speckled, "noisy": noisy, "coarse": coarse, "dark": dark,
    "shadowed": shadowed, "blotched": blotched, "cut": cut,
}  # fmt: skip


def _spatial(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The change of each channel, computed in float32."""
    return _kept(image, np.stack([change(channel.astype(np.float32)) for channel in image]))


def _kept(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values in the range and data type of the image."""
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        return np.clip(np.round(values), limits.min, limits.max).astype(image.dtype)
    return values.astype(image.dtype)


def _contrast(image: np.ndarray) -> float:
    low, high = np.percentile(image, (1, 99))
    return float(high - low)
