"""An ultrasound picture taken again: another gain, dynamic range, depth and cut, and other speckle."""

from __future__ import annotations

import dataclasses

import numpy as np

GAIN = 12.0  # standard deviation in grey values of 255, at strength 1: about 3 dB of a range of 60 dB
CONTRAST = 0.1  # standard deviation of the logarithm
DEPTH = 0.08  # standard deviation of the logarithm of the size of a pixel
CUT = 0.04  # largest part that is cut off at each border
SPECKLE = 10.0  # largest standard deviation in grey values; speckle adds in a compressed picture
GRAIN_PX = (0.9, 1.8)  # of the speckle along and across the beam


@dataclasses.dataclass(frozen=True, eq=False)
class Retaken:
    """A picture that was taken again.

    Attributes:
        picture: (C, row, column) uint8.
        pixel_size: of its pixels, in those of the picture itself: above 1 for more depth.
    """

    picture: np.ndarray
    pixel_size: float


def retake_ultrasound(
    picture: np.ndarray,
    random: np.random.Generator,
    strength: float = 1.0,
    keep: tuple[slice, slice] | None = None,
) -> Retaken:
    """The same plane of the same breast, with other settings of the scanner.

    The plane does not differ, though a hand holds the probe; what is measured on such pairs is the least that
    two examinations differ.

    Args:
        picture: (C, row, column) uint8, C 1 or 3.
        random: the same state gives the same picture.
        strength: 0 for the same picture, 1 for another examiner's settings; all that differs grows with it.
        keep: rows and columns that must not be cut off, such as those of a lesion.
    """
    from skimage.transform import resize

    cut = _cut(picture.shape[1:], random, strength, keep)
    pixel_size = float(np.exp(random.normal(0, DEPTH * strength)))
    values = picture[:, cut[0], cut[1]].astype(float)
    size = tuple(max(8, round(length / pixel_size)) for length in values.shape[1:])
    values = np.stack([resize(channel, size, order=1, anti_aliasing=pixel_size > 1) for channel in values])
    dark = values.max(axis=0) < 3  # the surround of the sector has no echo to amplify
    contrast, gain = np.exp(random.normal(0, CONTRAST * strength)), random.normal(0, GAIN * strength)
    values = (values - 96) * contrast + 96 + gain
    values += _speckle(size, random) * random.uniform(0, SPECKLE) * strength
    return Retaken(np.where(dark, 0, np.rint(np.clip(values, 0, 255))).astype(np.uint8), pixel_size)


def _cut(
    shape: tuple[int, ...],
    random: np.random.Generator,
    strength: float,
    keep: tuple[slice, slice] | None,
) -> tuple[slice, slice]:
    parts = []
    for axis, length in enumerate(shape):
        first, last = (random.uniform(0, CUT * strength, 2) * length).astype(int).tolist()
        wanted = keep[axis] if keep else slice(0, length)
        if keep:
            first, last = min(first, wanted.start), min(last, length - wanted.stop)
        parts.append(slice(first, length - last))
    return parts[0], parts[1]


def _speckle(size: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Correlated noise of standard deviation 1, the same in all channels."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(random.normal(size=size), GRAIN_PX)
    return noise / noise.std()
