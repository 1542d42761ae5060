"""The patch and the depth of a network, by nnU-Net's rules (see medseg.planning).

nnU-Net begins with the largest patch that makes sense, and makes it smaller until the network fits into a
graphics card. Here the limit is a number of pixels or voxels: a plain processor lacks time before memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_TO_POOL = 8  # pixels or voxels: a shorter axis is not halved, so that at least 4 remain
MOST_APART = 2.0  # an axis is halved with the finest one if its spacing is less than twice as large
LARGEST_START = 256  # pixels or voxels of a cube, before the patch is made smaller
FIRST_CHANNELS, MOST_CHANNELS = 16, 128


@dataclass(frozen=True)
class Topology:
    """A network's patch and levels.

    Attributes:
        patch: pixels or voxels along each axis, which all strides divide.
        strides: of each halving, one number for each axis: 2 where it is halved, else 1.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def divisors(self) -> tuple[int, ...]:
        """By what the patch is divisible along each axis."""
        return tuple(int(n) for n in np.prod(self.strides, axis=0))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level: doubled at each halving, up to MOST_CHANNELS."""
        return tuple(min(FIRST_CHANNELS * 2**level, MOST_CHANNELS) for level in range(len(self.strides) + 1))


def topology(patch: Sequence[int], spacing: Sequence[float]) -> Topology:
    """Halve the axes of a patch as long as they are long enough and not much coarser than the finest one.

    The patch grows to the next size that all strides divide. There is at least one halving.

    Args:
        patch: pixels or voxels along each axis.
        spacing: of a pixel or voxel along the same axes, in any unit.
    """
    sizes, steps = np.array(patch, float), np.array(spacing, float)
    strides: list[tuple[int, ...]] = []
    while True:
        long_enough = sizes >= LEAST_TO_POOL
        if not long_enough.any():
            break
        halved = long_enough & (steps < MOST_APART * steps[long_enough].min())
        sizes, steps = np.where(halved, sizes / 2, sizes), np.where(halved, steps * 2, steps)
        strides.append(tuple(int(n) for n in np.where(halved, 2, 1)))
    if not strides:
        strides = [tuple(int(n) for n in np.where(sizes > 1, 2, 1))]
    divisors = np.prod(strides, axis=0)
    whole = (np.ceil(np.array(patch) / divisors) * divisors).astype(int)
    return Topology(tuple(whole.tolist()), tuple(strides))


def largest_patch(shape: Sequence[float], spacing: Sequence[float], most: int) -> Topology:
    """The largest patch of at most `most` pixels or voxels, as even in mm as the images allow.

    Args:
        shape: median number of pixels or voxels of the images.
        spacing: of a pixel or voxel along the same axes.
        most: pixels or voxels of the patch.
    """
    sizes, steps = np.maximum(np.array(shape, float), 1), np.array(spacing, float)
    even = 1 / steps * (LARGEST_START ** len(steps) * steps.prod()) ** (1 / len(steps))
    patch = np.maximum(np.round(np.minimum(even, sizes)), 1)
    found = topology(patch.astype(int).tolist(), steps.tolist())
    while np.prod(found.patch) > most:
        current, divisors = np.array(found.patch), np.array(found.divisors)
        relative = np.where(current > divisors, current / sizes, 0)
        axis = int(relative.argmax())
        current[axis] -= divisors[axis]
        # With fewer voxels an axis may be halved less often, and then goes on in smaller steps.
        found = topology(current.tolist(), steps.tolist())
    return found


def coarser(shape: Sequence[float], spacing: Sequence[float], most: int, share: float,
            coarsest: float) -> tuple[float, ...]:  # fmt: skip
    """The spacing at which a patch covers a share of the image, as nnU-Net's low-resolution network has it.

    Args:
        shape, spacing, most: as for largest_patch.
        share: of the median image's voxels.
        coarsest: the spacing is not made larger than this, so that the structures are not lost.
    """
    steps, sizes = np.array(spacing, float), np.array(shape, float)
    while math.prod(largest_patch(sizes.tolist(), steps.tolist(), most).patch) < share * sizes.prod():
        finer = steps < steps.max() / 2
        chosen = finer if finer.any() else np.ones(len(steps), bool)
        if steps[chosen].max() * 1.03 > coarsest:
            break
        sizes, steps = np.where(chosen, sizes / 1.03, sizes), np.where(chosen, steps * 1.03, steps)
    return tuple(steps.tolist())
