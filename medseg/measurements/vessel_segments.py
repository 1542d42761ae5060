"""Vessels cut at their branch points into segments."""

from __future__ import annotations

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.instances import numbered
from medseg.measurements.centreline import centreline
from medseg.measurements.vessels import VESSEL


def vessel_segments(case: Case) -> np.ndarray:
    """Number the vessel segments between branch points, crossings and free ends, the longest-lined first.

    The segments are those of the centreline (see medseg.measurements.centreline): spurs of the thinning are
    none. Each pixel belongs to the segment that reaches it first when all grow from their centrelines inside
    the vessels: the nearest, as long as the way to it lies in the vessel. A connected component without a
    centreline, such as a blot, is one segment.

    Args:
        case: of a picture, (row, column), 1 for vessel.

    Returns:
        (row, column), 0 outside the vessels, numbers from 1 by size in the smallest unsigned type.

    Raises:
        UnsuitableError: the mask is a volume, not a picture.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    if case.mask.array.ndim != 2:
        raise UnsuitableError("a mask of (row, column)", got="a volume", advice="Segment photographs only.")
    vessel = np.pad(case.mask.array == VESSEL, 1)
    markers = np.zeros(vessel.shape, np.int32)
    line = centreline(vessel)
    for number, (pixels, _) in enumerate(line.segments, start=1):
        markers[tuple(line.points[pixels].T)] = number
    whole = numbered(vessel)
    has_line = np.zeros(int(whole.max(initial=0)) + 1, bool)
    has_line[whole[markers > 0]] = True
    blots = vessel & ~has_line[whole]
    markers[blots] = whole[blots] + len(line.segments)
    found = watershed(distance_transform_edt(markers == 0), markers, mask=vessel)[1:-1, 1:-1]
    return _by_size(found)


def _by_size(numbers: np.ndarray) -> np.ndarray:
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    present = np.flatnonzero(sizes)
    number = np.zeros(len(sizes), np.min_scalar_type(len(present)))
    number[present[np.argsort(-sizes[present], kind="stable")]] = np.arange(1, len(present) + 1)
    return number[numbers]
