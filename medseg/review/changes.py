"""How an edited mask differs from the one before it, and whether so much that it may be another image's."""

from __future__ import annotations

import numpy as np

from medseg.volume import Mask

# A bound that no one reports: editing moves borders, and what is drawn anew elsewhere deserves a second look.
_LEAST_DICE = 0.1
# The mirror image must fit well, and better than the mask as it lies: paired organs are nearly symmetric.
_MIRRORED_DICE, _MIRRORED_GAIN = 0.8, 0.2


def change_of(mask: Mask, before: Mask) -> dict[str, dict[str, int]]:
    """The voxels that each label, by its name, has gained and lost; both masks lie on one grid."""
    changed = mask.array != before.array
    now, then = mask.array[changed], before.array[changed]
    return {
        name: {"added": int((now == value).sum()), "removed": int((then == value).sum())}
        for value, name in mask.labels.items()
        if value
    }


def odd_change(mask: Mask, before: Mask) -> str:
    """A sentence if hardly anything of the earlier mask is left, or if the mask is its mirror image.

    Args:
        mask: as it was edited.
        before: the earlier mask on the same grid.

    Returns:
        The sentence; empty if nothing is odd, or if one of the masks is empty.
    """
    one, other = mask.array, before.array
    if not one.any() or not other.any():
        return ""
    dice = _dice(one, other)
    if dice < _MIRRORED_DICE - _MIRRORED_GAIN:
        mirrored = max(_dice(np.flip(one, axis), other) for axis in range(one.ndim))
        if mirrored >= _MIRRORED_DICE and mirrored - dice > _MIRRORED_GAIN:
            return (
                f"the edited mask looks like a mirror image of the earlier one (Dice {mirrored:.2f} "
                f"mirrored, {dice:.2f} as it lies): check its left and right"
            )
    if dice < _LEAST_DICE:
        return (
            f"the edited mask has hardly anything in common with the earlier one (Dice {dice:.2f}): check "
            "that it belongs to this image, and that it is neither mirrored nor moved"
        )
    return ""


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    """Over all labels together: a voxel counts where both masks have the same label."""
    both = int(((one == other) & (one != 0)).sum())
    return 2 * both / (int(np.count_nonzero(one)) + int(np.count_nonzero(other)))
