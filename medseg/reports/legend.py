"""The names beside a picture's colours: all labels of a few, the largest of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from medseg.volume import Mask

MOST_NAMES = 12  # in a page's legend: two lines on a wide screen
MOST_IN_TEXT = 5


def largest_first(mask: Mask) -> dict[int, str]:
    """The names of a mask's values but the background's, those with most voxels first."""
    sizes = sizes_of(mask)
    names = {value: name for value, name in mask.labels.items() if value}
    return dict(sorted(names.items(), key=lambda item: (-sizes[item[0]], item[0])))


def sizes_of(mask: Mask) -> np.ndarray:
    """The number of voxels of each value up to the largest that has a name; (n + 1,)."""
    slowest = int(np.argmax(np.abs(mask.array.strides)))
    length = max([*mask.labels, int(mask.array.max(initial=0))]) + 1
    sizes = np.zeros(length, np.int64)
    for plane in np.moveaxis(mask.array, slowest, 0):  # counting all at once takes 8 bytes a voxel
        sizes += np.bincount(plane.ravel(order="K"), minlength=length)
    return sizes


def shortened(names: Mapping[int, str], most: int) -> tuple[dict[int, str], str]:
    """The first `most` of the names, in the order of their values, and how many more there are, in words."""
    kept = dict(sorted(list(names.items())[:most]))
    more = len(names) - len(kept)
    return kept, f"and {more} more" if more else ""


def in_text(names: Iterable[str]) -> str:
    """Names for a sentence: the first MOST_IN_TEXT, and how many more there are."""
    kept, more = shortened(dict(enumerate(names)), MOST_IN_TEXT)
    return ", ".join(kept.values()) + f" {more}" * bool(more)
