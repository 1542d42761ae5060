"""A descriptor of brightness and texture that needs no trained weights."""

from __future__ import annotations

import numpy as np

from medseg.similarity.texture import cooccurrence, lbp_histogram, planes_of, to_levels

PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
DISTANCES_PX = (1, 4)  # of the co-occurrence matrices
RADII_PX = (1, 3)  # of the local binary patterns
_PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")


def intensity_descriptor(image: np.ndarray) -> np.ndarray:
    """Brightness and texture of a preprocessed image.

    Of each channel: percentiles, mean, standard deviation, skewness and kurtosis of the values; properties of
    grey-level co-occurrence matrices (Haralick and others, IEEE SMC 3, 1973) at two distances, and histograms
    of uniform local binary patterns (Ojala and others, PAMI 24, 2002) at two radii. Texture is taken after
    the channel was spread over its 1st to 99th percentile, so that it does not tell the brightness once more;
    of a volume on planes along its last axis.

    Args:
        image: (C, row, column) or (C, i, j, k).

    Returns:
        (C x LENGTH,) float32.
    """
    return np.concatenate([_channel(channel.astype(np.float64)) for channel in image]).astype(np.float32)


def _channel(values: np.ndarray) -> np.ndarray:
    from skimage.feature import graycoprops

    low, high = np.percentile(values, (1, 99))
    levels = [to_levels(plane, low, high) for plane in planes_of(values)]
    found = [_statistics(values)]
    for distance in DISTANCES_PX:
        matrix = cooccurrence(levels, distance)[..., None, None]
        found.append(np.array([graycoprops(matrix, name)[0, 0] for name in _PROPERTIES]))
    found += [lbp_histogram(levels, radius) for radius in RADII_PX]
    return np.concatenate(found)


def _statistics(values: np.ndarray) -> np.ndarray:
    mean, spread = values.mean(), values.std()
    unit = (values - mean) / spread if spread > 0 else np.zeros_like(values)
    moments = [mean, spread, (unit**3).mean(), (unit**4).mean()]
    return np.array([*np.percentile(values, PERCENTILES), *moments])
