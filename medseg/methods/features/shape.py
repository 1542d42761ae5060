"""Features of the shape of what a pixel lies in: a superpixel, or a dark connected component."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from medseg.errors import UnsuitableError
from medseg.methods.features.record import Feature, FeatureInput

MOST_REGIONS = 4000
COMPACTNESS = 0.1  # of SLIC, for brightness from 0 to 1

Labels = Callable[[FeatureInput, float], np.ndarray]


def superpixels(image: FeatureInput, scale: float) -> np.ndarray:
    """(row, column) labels of superpixels of about scale x scale px, from 1; 0 outside the region.

    Raises:
        UnsuitableError: there would be more than MOST_REGIONS.
    """
    from skimage.segmentation import slic

    count = round(image.region.size / image.pixels(scale) ** 2)
    if count > MOST_REGIONS:
        raise UnsuitableError(
            f"at most {MOST_REGIONS} superpixels",
            got=f"{count} of a size of {scale:g}",
            advice="Choose a larger scale for the features of superpixels.",
        )
    labels = slic(image.unit(), max(1, count), COMPACTNESS, start_label=1, channel_axis=None)
    return np.where(image.region, labels, 0)


def dark_components(image: FeatureInput, scale: float) -> np.ndarray:
    """(row, column) labels of the largest MOST_REGIONS connected components below Otsu's threshold, from 1.

    The threshold (Otsu, IEEE SMC 9, 1979) is that of the region after a Gaussian of this scale.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu
    from skimage.measure import label

    smooth = gaussian_filter(image.grey, image.pixels(scale), mode="nearest")
    inside = smooth[image.region]
    if inside.min() == inside.max():
        return np.zeros(image.region.shape, np.int64)
    labels = label((smooth <= threshold_otsu(inside)) & image.region)
    ranks = np.argsort(-np.bincount(labels.ravel())[1:], kind="stable")
    labels[np.isin(labels, ranks[MOST_REGIONS:] + 1)] = 0
    return labels


def _shape(name: str, labels: Labels, image: FeatureInput, scale: float) -> np.ndarray:
    """(row, column): a property of the region that each pixel lies in; 0 in no region."""
    from skimage.measure import regionprops

    found = image.shared((labels.__name__, scale), lambda: labels(image, scale))
    values = np.zeros(found.max() + 1)
    for part in regionprops(found):
        values[part.label] = _PROPERTIES[name][1](part)
    share = np.count_nonzero(image.region) if name == "area" else 1
    return values[found] / share


_PROPERTIES: dict[str, tuple[str, Callable[..., float]]] = {
    "area": ("area as a share of the whole region's", lambda part: part.area),
    "eccentricity": ("eccentricity of its ellipse: 0 a circle, 1 a line", lambda part: part.eccentricity),
    "solidity": ("area as a share of its convex hull's", lambda part: part.solidity),
    "orientation": (
        "cosine of twice its axis's angle: 1 along the rows' axis (upright), -1 across",
        lambda part: float(np.cos(2 * part.orientation)),
    ),
}
_FAMILIES: tuple[tuple[str, str, Labels], ...] = (
    ("superpixel", "SLIC superpixel of this width (Achanta et al., PAMI 34, 2012)", superpixels),
    (
        "dark_component",
        "component below Otsu's threshold after a Gaussian of this scale (Otsu, IEEE SMC 9, 1979)",
        dark_components,
    ),
)

FEATURES = tuple(
    Feature(f"{family}_{name}", f"{told}, of the {of}", partial(_shape, name, labels), True, (2,))
    for family, of, labels in _FAMILIES
    for name, (told, _) in _PROPERTIES.items()
)
