"""Boxes of voxels in an image: a slice for each axis, with whole numbers at both ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[slice, ...]


def bounding_box(mask: np.ndarray, margin: Sequence[int] = (0, 0, 0)) -> Box:
    """The smallest box that holds all of mask and a margin in voxels, inside the array."""
    seen = np.logical_or.reduce(mask)  # one pass for two axes
    box = []
    for along in (mask.any(axis=(1, 2)), seen.any(axis=1), seen.any(axis=0)):
        where = np.flatnonzero(along)
        low, high = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
        box.append(slice(low, high))
    return widened(box, margin, mask.shape)


def widened(box: Sequence[slice], margin: Sequence[int], shape: Sequence[int]) -> Box:
    """A box with a margin in voxels, inside an array of `shape`."""
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, shape, strict=True)
    )


def moved(box: Sequence[slice], outer: Sequence[slice]) -> Box:
    """Where a box of a part of an image lies in the image; `outer` is the part's own box."""
    return tuple(slice(a.start + b.start, a.stop + b.start) for a, b in zip(box, outer, strict=True))


def within(box: Sequence[slice], outer: Sequence[slice]) -> Box:
    """Where a box of an image lies in a part of the image; `outer` is the part's own box."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def placed(array: np.ndarray, box: Sequence[slice], other: Sequence[slice]) -> np.ndarray:
    """What an array that lies in one box of an image is in another box, 0 beyond the array."""
    copy = np.zeros(shape_of(other), dtype=array.dtype)
    part = common(box, other)
    copy[within(part, other)] = array[within(part, box)]
    return copy


def common(first: Sequence[slice], second: Sequence[slice]) -> Box:
    """What two boxes have in common; empty where they don't meet."""
    starts = [max(a.start, b.start) for a, b in zip(first, second, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(first, second, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))


def hull(first: Sequence[slice], second: Sequence[slice]) -> Box:
    """The smallest box that holds two."""
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
    )


def shape_of(box: Sequence[slice]) -> tuple[int, ...]:
    """Voxels of a box along each axis."""
    return tuple(part.stop - part.start for part in box)
