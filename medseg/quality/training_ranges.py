"""Whether an image is like those that a method was trained on: brightness, size and spacing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medseg.errors import BundleError, UnsuitableError

PERCENTILES = (1, 50, 99)
MOST_SAMPLES = 200_000  # pixels or voxels, on a regular grid
Range = Sequence[float]
# The key of a range: the name and the unit of each value that it holds a range for.
NAMES = {
    "brightness": tuple(
        (f"the {name} of the image's values", "") for name in ("1st percentile", "median", "99th percentile")
    ),
    "spacing_mm": tuple((f"the size of a voxel along {axis}", " mm") for axis in ("x", "y", "z")),
    "long_side_px": (("the picture's longer side", " px"),),
}


def require_content(array: np.ndarray) -> None:
    """Check that an image (C, spatial...) can show anything.

    Raises:
        UnsuitableError: it is blank, or has infinite values or NaN.
    """
    if not np.isfinite(array).all():
        raise UnsuitableError(
            "an image of finite values",
            got="infinite values or NaN",
            advice="Replace what is no measurement with the lowest value, or export the image again.",
        )
    if array.min() == array.max():
        raise UnsuitableError(
            "an image that shows something", got="a blank one", advice="Check the export of the image."
        )


def brightness(array: np.ndarray) -> tuple[float, ...]:
    """The PERCENTILES of an image's values (C, spatial...), of a regular sample of it."""
    step = max(1, int(np.ceil((array[0].size / MOST_SAMPLES) ** (1 / (array.ndim - 1)))))
    sample = array[(slice(None), *(slice(None, None, step),) * (array.ndim - 1))]
    return tuple(float(value) for value in np.percentile(sample, PERCENTILES))


def unlike_training(
    array: np.ndarray, spacing_mm: Sequence[float] | None, ranges: Mapping[str, Sequence[Range]]
) -> list[str]:
    """One sentence for each thing in which an image lies outside the ranges of the training images.

    Args:
        array: (C, spatial...).
        spacing_mm: size of a voxel along right, anterior and superior; None for a picture.
        ranges: lists of [lowest, highest]: `brightness` has one for each of PERCENTILES, `spacing_mm` one for
            each axis, `long_side_px` one. What is left out is not checked.

    Raises:
        BundleError: an unknown range, or one that is not two numbers.
    """
    unknown = set(ranges) - set(NAMES)
    if unknown:
        raise BundleError(
            f"ranges of {', '.join(NAMES)}",
            got=", ".join(sorted(unknown)),
            advice="Correct the gate in the bundle's inference.yaml.",
        )
    values: dict[str, Sequence[float]] = {"brightness": brightness(array) if "brightness" in ranges else ()}
    if spacing_mm is None:
        values["long_side_px"] = (max(array.shape[1:]),)
    else:
        values["spacing_mm"] = spacing_mm
    return [
        sentence
        for key, limits in ranges.items()
        for (name, unit), value, one in zip(NAMES[key], values.get(key, ()), limits, strict=False)
        for sentence in _outside(name, value, unit, one)
    ]


def _outside(name: str, value: float, unit: str, limits: Range) -> list[str]:
    if len(limits) != 2 or not limits[0] <= limits[1]:
        raise BundleError(
            "a range of two numbers, the lower one first",
            got=f"{limits} for {name}",
            advice="Correct the gate in the bundle's inference.yaml.",
        )
    low, high = limits
    if low <= value <= high:
        return []
    return [f"{name} is {value:.4g}{unit}, far outside the training images' ({low:.4g} to {high:.4g}{unit})"]
