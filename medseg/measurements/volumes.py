"""The volume of every label, for organs that have no measurements of their own."""

from __future__ import annotations

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.instances import numbered
from medseg.measurements.entries import Measures, entry


def measure_volumes(case: Case) -> Measures:
    """Of each label `<name>_volume_ml`, and `<name>_components`: how many connected components it has.

    Args:
        case: of a volume; the value 0 of its mask is background.

    Raises:
        UnsuitableError: a picture, which has no volumes.
    """
    mask = case.mask
    if mask.affine is None:
        raise UnsuitableError("the mask of a volume", got="one of a picture", advice="Name another measure.")
    voxel_ml = abs(float(np.linalg.det(mask.affine[:3, :3]))) / 1000
    measures: Measures = {}
    for value, name in mask.labels.items():
        if value:
            where = mask.array == value
            measures |= entry(f"{name}_volume_ml", float(where.sum()) * voxel_ml, "ml")
            measures |= entry(f"{name}_components", int(numbered(where).max(initial=0)), "count")
    return measures
