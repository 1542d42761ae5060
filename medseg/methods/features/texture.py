"""Features of the texture in a neighbourhood."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput
from medseg.methods.features.ridges import symmetric_eigenvalues

LEVELS = 32  # of brightness, whose entropy is taken
NEIGHBOURS = 8


def _lbp(image: FeatureInput, scale: float) -> np.ndarray:
    from skimage.feature import local_binary_pattern

    radius = image.pixels(scale)
    pad = int(np.ceil(radius)) + 1  # scikit-image takes 0 for what lies beyond the image
    levels = np.pad(np.round(255 * image.unit()).astype(np.uint8), pad, mode="edge")
    return local_binary_pattern(levels, NEIGHBOURS, radius, method="uniform")[pad:-pad, pad:-pad]


def _entropy(image: FeatureInput, scale: float) -> np.ndarray:
    from skimage.filters import rank
    from skimage.morphology import ball, disk

    levels = np.minimum(LEVELS * image.unit(), LEVELS - 1).astype(np.uint8)
    shape = disk if levels.ndim == 2 else ball
    return rank.entropy(levels, shape(image.radius(scale)), mask=image.region.astype(np.uint8))


def _coherence(image: FeatureInput, scale: float) -> np.ndarray:
    falling = symmetric_eigenvalues(_structure_tensor(image, image.pixels(scale)))
    largest, smallest = falling[0], np.maximum(falling[-1], 0)
    return image.over_region((largest - smallest) / np.maximum(largest + smallest, 1e-12))


def _structure_tensor(image: FeatureInput, sigma: float) -> list[np.ndarray]:
    """Its upper triangle at the region's pixels, each (n,): products of derivatives, after a Gaussian.

    scikit-image's function does the same, but drops axes of one pixel.
    """
    from scipy.ndimage import gaussian_filter, sobel

    slopes = [sobel(image.grey, axis, mode="nearest") for axis in range(image.grey.ndim)]
    return [
        gaussian_filter(one * other, sigma, mode="nearest")[image.region]
        for one, other in combinations_with_replacement(slopes, 2)
    ]


FEATURES = (
    Feature(
        "lbp",
        "rotation-invariant uniform local binary pattern of 8 neighbours on a circle of this radius, 0 to 9 "
        "(Ojala, Pietikainen and Maenpaa, PAMI 24, 2002)",
        _lbp,
        scaled=True,
        dimensions=(2,),
    ),
    Feature(
        "entropy",
        f"entropy in bits of {LEVELS} levels of brightness in a disk or ball of this radius (Shannon 1948)",
        _entropy,
        scaled=True,
    ),
    Feature(
        "coherence",
        "0 to 1, how much one direction prevails: (largest - smallest) / (largest + smallest) eigenvalue of "
        "the structure tensor in a Gaussian window (Weickert, IJCV 31, 1999)",
        _coherence,
        scaled=True,
    ),
)
