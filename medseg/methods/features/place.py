"""Features of the place: coordinates from 0 to 1 in the box of the region, and the distance to its border."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medseg.methods.features.record import Feature, FeatureInput


def _distance(image: FeatureInput, _: float) -> np.ndarray:
    from edt import edt

    spacing = (image.spacing,) * image.region.ndim
    return edt(np.ascontiguousarray(image.region), anisotropy=spacing, black_border=True)


def _along(axis: int) -> Callable[[FeatureInput, float], np.ndarray]:
    def compute(image: FeatureInput, _: float) -> np.ndarray:
        others = tuple(other for other in range(image.region.ndim) if other != axis)
        found = np.flatnonzero(image.region.any(axis=others))
        place = (np.arange(image.region.shape[axis]) - found[0]) / max(1, found[-1] - found[0])
        shape = [-1 if other == axis else 1 for other in range(image.region.ndim)]
        return np.broadcast_to(place.reshape(shape), image.region.shape)

    return compute


def _depth(image: FeatureInput, _: float) -> np.ndarray:
    rows = np.flatnonzero(image.region.any(axis=1))
    below = np.arange(len(image.region))[:, None] - image.region.argmax(axis=0)
    return below / max(1, rows[-1] - rows[0])


FEATURES = (
    Feature("distance", "distance to the border of the region or of the image, in px or mm", _distance),
    Feature("row", "row, 0 at the top of the region and 1 at its bottom", _along(0), dimensions=(2,)),
    Feature("column", "column, 0 at the left of the region and 1 at its right", _along(1), dimensions=(2,)),
    Feature(
        "depth",
        "rows below the region's first pixel in the same column, as a share of the region's height",
        _depth,
        dimensions=(2,),
    ),
    Feature("i", "first axis, 0 to 1 in the box of the region", _along(0), dimensions=(3,)),
    Feature("j", "second axis, 0 to 1 in the box of the region", _along(1), dimensions=(3,)),
    Feature("k", "third axis, 0 to 1 in the box of the region", _along(2), dimensions=(3,)),
)
