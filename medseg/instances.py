"""Instance masks: each connected component of a label, such as a lesion, gets its own number."""

from __future__ import annotations

import dataclasses

import numpy as np

from medseg.errors import UnsuitableError
from medseg.volume import Mask

MOST_INSTANCES = 65535  # masks of 16 bits and DICOM SEG have no higher numbers


def numbered(mask: np.ndarray) -> np.ndarray:
    """Number the connected components of a mask by size, from 1; equal ones stay in memory order.

    Args:
        mask: bool, (row, column) or (i, j, k). Voxels that share a face, an edge or a corner are connected.

    Returns:
        Component numbers of the mask's shape, 0 for the background, in the smallest unsigned type.
    """
    from scipy.ndimage import label

    components, count = label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.min_scalar_type(count))
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return number[components]


def by_instance(mask: Mask) -> Mask:
    """A mask whose values are instances, numbered label by label and the largest first in each label.

    An instance is a connected component of a label.

    Returns:
        A mask on the same grid, uint8 or uint16. The instances of the label "lesion" are named lesion_1,
        lesion_2 and so on; a label without a voxel has no instance.

    Raises:
        UnsuitableError: more than MOST_INSTANCES instances.
    """
    array, names = np.zeros(mask.array.shape, np.uint16), {0: mask.labels.get(0, "background")}
    for label, name in mask.labels.items():
        if label == 0:
            continue
        numbers = numbered(mask.array == label)
        count, before = int(numbers.max(initial=0)), len(names) - 1
        if before + count > MOST_INSTANCES:
            raise UnsuitableError(
                f"at most {MOST_INSTANCES} connected components",
                got=f"{before + count}",
                advice="Leave out --mode instance.",
            )
        array[numbers > 0] = numbers[numbers > 0] + np.uint16(before)
        names |= {before + number: f"{name}_{number}" for number in range(1, count + 1)}
    smallest = np.uint8 if len(names) <= 256 else np.uint16
    return dataclasses.replace(mask, array=array.astype(smallest), labels=names)
