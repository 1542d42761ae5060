"""Which part of a chest CT lies inside the body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.classical.morphology import IN_PLANE, components, dilated, largest

TISSUE_HU = -300  # fat is -100; foam and dry cloth are below
PADDING_HU = -1024  # or lower: what lies around a round field of view; noise keeps air from being that even
# The share of its outline at which air meets the end of the field of view, measured on public scans: 0.48 to
# 0.56 around a body and under it, 0.29 at most for lungs that the field of view cuts.
MAX_OPEN = 0.4


def inside_body(hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The body with its lungs and gas, without air around it, clothes and table.

    The largest piece of tissue, after an opening that takes off the table's thin shells, is filled slice by
    slice. Air that reaches the end of the field of view is outside, unless most of its outline is tissue:
    then it's a lung that the field of view cuts.

    Args:
        hu: (i, j, k) in HU at about 3 mm, RAS+.
        spacing_mm: size of a voxel along each axis.

    Returns:
        (i, j, k) bool.
    """
    turns = max(1, round(3 / max(spacing_mm)))
    tissue = hu > TISSUE_HU
    trunk = largest(~dilated(~tissue, turns))
    tissue &= dilated(trunk, turns + 1)
    field = ~_reaching(hu <= PADDING_HU)
    air = field & ~tissue
    ends, outline = _faces(air, field), _faces(air, air)
    sections, sizes = components(air, IN_PLANE)
    reaches_end = np.bincount(sections.ravel(), ends.ravel(), len(sizes)) > 0
    regions, voxels = components(reaches_end[sections] & air)
    shares = [np.bincount(regions.ravel(), faces.ravel(), len(voxels)) for faces in (ends, outline)]
    outside = shares[0] > MAX_OPEN * shares[1]
    outside[0] = False
    return field & ~outside[regions]


def _reaching(mask: np.ndarray) -> np.ndarray:
    """The parts of mask that reach a side of their slice; (i, j, k) bool."""
    numbers, sizes = components(mask, IN_PLANE)
    sides = (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1])
    reach = np.zeros(len(sizes), dtype=bool)
    reach[np.concatenate([side.ravel() for side in sides])] = True
    return reach[numbers] & mask


def _faces(air: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many of the four neighbours in the slice of a voxel of air are not in the other mask; (i, j, k)."""
    padded = np.pad(other, ((1, 1), (1, 1), (0, 0)))
    neighbours = (padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2])
    return air * np.sum([~neighbour for neighbour in neighbours], axis=0, dtype=np.uint8)
