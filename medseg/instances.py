"""Several pieces of one label get numbers of their own: a lesion a number."""

from __future__ import annotations

import dataclasses

import numpy as np

from medseg.errors import UnsuitableError
from medseg.volume import Mask

MOST = 65535  # that masks of 16 bits and DICOM SEG can tell apart


def numbered(found: np.ndarray) -> np.ndarray:
    """Number the pieces of a binary mask: 1 the largest; of two equal ones the first in memory order.

    Args:
        found: bool, (row, column) or (i, j, k). Pieces that touch by a face, an edge or a corner are one.

    Returns:
        0 outside, in the smallest unsigned type that holds all numbers.
    """
    from scipy.ndimage import label

    pieces, count = label(found, np.ones((3,) * found.ndim))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.min_scalar_type(count))
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return number[pieces]


def by_instance(mask: Mask) -> Mask:
    """A mask whose values are pieces: those of the first label, the largest first, then the next label's.

    Returns:
        On the same grid, uint8 or uint16; its labels are lesion_1, lesion_2 and so on. A label without any
        piece has no name in it.

    Raises:
        UnsuitableError: more than 65535 pieces.
    """
    array, names = np.zeros(mask.array.shape, np.uint16), {0: mask.labels.get(0, "background")}
    for label, name in mask.labels.items():
        if label == 0:
            continue
        numbers = numbered(mask.array == label)
        count, before = int(numbers.max(initial=0)), len(names) - 1
        if before + count > MOST:
            raise UnsuitableError(
                f"at most {MOST} pieces", got=f"{before + count}", advice="Leave out --mode instance."
            )
        array[numbers > 0] = numbers[numbers > 0] + np.uint16(before)
        names |= {before + number: f"{name}_{number}" for number in range(1, count + 1)}
    smallest = np.uint8 if len(names) <= 256 else np.uint16
    return dataclasses.replace(mask, array=array.astype(smallest), labels=names)
