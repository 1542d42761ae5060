"""The part of a chest CT inside the body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.morphology import chosen, dilated, largest, numbered

TISSUE_HU = -300  # fat is near -100; foam and dry cloth are below
# Or lower: padding around a round field of view, with the rounding of resampling; air has noise.
PADDING_HU = -1023
# The share of the outline of a component of air that lies at the end of the field of view. Measured on public
# scans: 0.48 to 0.56 around a body and under it, 0.29 at most for lungs that the field of view cuts.
MAX_OPEN = 0.4


def inside_body(hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The body with its lungs and gas, without the air around it, clothes and table.

    The largest component of tissue, after an opening that removes the thin shells of the table, is filled
    slice by slice. Air that reaches the end of the field of view is outside, unless most of its outline is
    tissue: then it is a lung that the field of view cuts.

    Args:
        hu: (i, j, k) in HU at about 3 mm, RAS+.
        spacing_mm: size of a voxel along each axis.

    Returns:
        (i, j, k) bool.
    """
    turns = max(1, round(3 / max(spacing_mm)))
    imaged = ~_reaching(_padding(hu))
    tissue = (hu > TISSUE_HU) & imaged
    trunk = largest(~dilated(~tissue, turns))
    tissue &= dilated(trunk, turns + 1)
    air = imaged & ~tissue
    regions, count = numbered(_reaching(air | ~imaged) & air)
    outline = _faces(air, air)
    where = np.flatnonzero(outline)  # includes all ends: there is no air outside the field of view
    ends = _faces(air, imaged).ravel()[where]
    shares = [
        np.bincount(regions.ravel()[where], faces, count + 1) for faces in (ends, outline.ravel()[where])
    ]
    outside = shares[0] > MAX_OPEN * shares[1]
    outside[0] = False
    return imaged & ~chosen(regions, outside)


def _padding(hu: np.ndarray) -> np.ndarray:
    """What was not imaged, (i, j, k) bool: below air, or of the one dense value of the image's frame."""
    frame = np.concatenate([side.ravel() for side in (hu[0], hu[-1], hu[:, 0], hu[:, -1])])
    value = frame[0]
    if value > TISSUE_HU and np.ptp(frame) < 1:  # a body in part of the frame has other values
        return (hu <= PADDING_HU) | (np.abs(hu - value) < 1)
    return hu <= PADDING_HU


def _reaching(mask: np.ndarray) -> np.ndarray:
    """The components of a mask, slice by slice, that reach a side of their slice; (i, j, k) bool."""
    if not mask.any():
        return mask
    framed = np.pad(mask, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    numbers, _ = numbered(framed, in_plane=True)
    return (numbers == numbers[:1, :1])[1:-1, 1:-1] & mask


def _faces(air: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The number of each air voxel's four neighbours in the slice that are not in other; (i, j, k) uint8."""
    lost = ~other
    faces = np.zeros(air.shape, dtype=np.uint8)
    for axis in (0, 1):
        before, after = np.moveaxis(lost, axis, 0), np.moveaxis(faces, axis, 0)
        after[1:] += before[:-1]
        after[:-1] += before[1:]
        after[0] += 1
        after[-1] += 1
    faces *= air
    return faces
