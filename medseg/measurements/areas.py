"""The area of every label in a picture, for tasks that have no measurements of their own."""

from __future__ import annotations

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.instances import numbered
from medseg.measurements.entries import Measures, entry


def measure_areas(case: Case) -> Measures:
    """Of each label its area in px and mm2, its share of the picture, and its connected components.

    Args:
        case: of a picture; the value 0 of its mask is background.

    Raises:
        UnsuitableError: a volume, which has volumes and no areas.
    """
    mask = case.mask
    if mask.array.ndim != 2:
        raise UnsuitableError("the mask of a picture", got="one of a volume", advice="Name another measure.")
    spacing_mm = mask.pixel_spacing_mm
    measures: Measures = {}
    for value, name in mask.labels.items():
        if value:
            where = mask.array == value
            area_px = int(np.count_nonzero(where))
            area_mm2 = None if spacing_mm is None else area_px * spacing_mm[0] * spacing_mm[1]
            measures |= entry(f"{name}_area_px", area_px, "px")
            measures |= entry(f"{name}_area_mm2", area_mm2, "mm2", "the size of a pixel is not known")
            measures |= entry(f"{name}_area_fraction", area_px / where.size, "1")
            measures |= entry(f"{name}_components", int(numbered(where).max(initial=0)), "count")
    return measures
