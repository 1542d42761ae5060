"""Boxes of voxels in an image: one slice per axis, each with integer start and stop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[slice, ...]


def bounding_box(mask: np.ndarray, margin: Sequence[int] = (0, 0, 0)) -> Box:
    """The smallest box around the True voxels, with a margin, clipped to the array; empty for an empty mask.

    Args:
        mask: (i, j, k) bool.
        margin: voxels to add at both ends of each axis.
    """
    projection = np.logical_or.reduce(mask)  # along i; one pass over the mask serves j and k
    box = []
    for along in (mask.any(axis=(1, 2)), projection.any(axis=1), projection.any(axis=0)):
        where = np.flatnonzero(along)
        low, high = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
        box.append(slice(low, high))
    return widened(box, margin, mask.shape)


def widened(box: Sequence[slice], margin: Sequence[int], shape: Sequence[int]) -> Box:
    """The box with a margin in voxels at both ends of each axis, clipped to an array of `shape`."""
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, shape, strict=True)
    )


def moved(box: Sequence[slice], outer: Sequence[slice]) -> Box:
    """Convert a box from the coordinates of a part of an image to the image's; `outer` is the part's box."""
    return tuple(slice(a.start + b.start, a.stop + b.start) for a, b in zip(box, outer, strict=True))


def within(box: Sequence[slice], outer: Sequence[slice]) -> Box:
    """Convert a box from the coordinates of an image to those of a part of it; `outer` is the part's box."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def placed(array: np.ndarray, box: Sequence[slice], other: Sequence[slice]) -> np.ndarray:
    """The values in box `other` of an array that fills `box`; 0 where `other` reaches beyond `box`."""
    copy = np.zeros(shape_of(other), dtype=array.dtype)
    part = common(box, other)
    copy[within(part, other)] = array[within(part, box)]
    return copy


def common(first: Sequence[slice], second: Sequence[slice]) -> Box:
    """The intersection of two boxes; empty where they don't overlap."""
    starts = [max(a.start, b.start) for a, b in zip(first, second, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(first, second, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))


def hull(first: Sequence[slice], second: Sequence[slice]) -> Box:
    """The smallest box that contains both boxes."""
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
    )


def shape_of(box: Sequence[slice]) -> tuple[int, ...]:
    """The number of voxels of a box along each axis."""
    return tuple(part.stop - part.start for part in box)
