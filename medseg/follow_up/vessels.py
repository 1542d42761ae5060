"""Retinal vessels at two times: area, calibre and course in the field that both photographs show.

The later photograph is registered to the earlier one, and its vessels are measured on its own pixels, within
what the earlier one shows. Lengths are then given in px of the earlier photograph, by the magnification that
the registration found; in mm only where its pixel size is known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from medseg.case import Case
from medseg.follow_up.change import Change, Limit, change_of, repeatability
from medseg.follow_up.photographs import VESSEL_PX, WORKING_PX, Photograph, Registered, register_photographs
from medseg.follow_up.record import Comparison, ObjectChange, Picture, Visit
from medseg.measurements import measure_vessels
from medseg.quality.fundus import find_field_of_view
from medseg.reports.picture_overlay import draw_errors, to_display
from medseg.volume import Mask

VESSEL = 1
EARLIER_PX = "px of the earlier photograph"
OF_SHARED = "fraction of the shared field"
# Measure to its unit; those in px are lengths.
MEASURES = {
    "vessel_area_fraction": OF_SHARED,
    "calibre_mean_px": EARLIER_PX,
    "calibre_median_px": EARLIER_PX,
    "calibre_percentile_95_px": EARLIER_PX,
    "centreline_length_px": EARLIER_PX,
    "tortuosity": "ratio",
    "fractal_dimension": "dimensionless",
}
UNMATCHED = "unmatched_vessel_length"  # of one piece, in diameters of the field of view
# Names of their own, because the numbers of pieces are not those of one object through time.
ONLY_EARLIER, ONLY_LATER = "vessel_seen_only_earlier", "vessel_seen_only_later"
UNKNOWN_MM = (
    "Lengths are in pixels of the earlier photograph, because the size of a pixel on the retina is not "
    "known. Changes in percent do not depend on it."
)


def compare_vessels(earlier: Visit, later: Visit, positions: tuple[int, int] = (0, 1)) -> Comparison:
    """Compare two photographs of one eye.

    Args:
        earlier, later: with masks of (row, column), 1 for vessel.
        positions: of the visits in the follow-up, from 0.

    Returns:
        `objects` are pieces of vessel, longer than the repeatability, that one of the masks lacks.

    Raises:
        UnsuitableError: the photographs can't be registered; see register_photographs.
    """
    first, second = photograph_of(earlier), photograph_of(later)
    registered = register_photographs(first, second)
    moved = registered.to_later.warped(second.vessels, _shape(first), order=0)
    gone, new = unmatched(first, moved, registered.shared)
    return Comparison(
        *positions,
        registration=_registration(first, second, registered),
        changes=_changes(earlier, measured_in_shared(first, second, registered)),
        objects=_pieces(first, gone, new),
        pictures=[_picture(first, second, registered, moved, gone, new)],
        maps={"vessel_change": _map(earlier, first, moved, gone, new, registered.shared)},
        warnings=[] if earlier.mask.pixel_spacing_mm else [UNKNOWN_MM],
    )


def photograph_of(visit: Visit) -> Photograph:
    """A visit's photograph; its field of view is found anew where the visit has none."""
    field = visit.field_of_view
    if field is None:
        field = find_field_of_view(visit.image.array).mask
    return Photograph(visit.image.array, visit.mask.array == VESSEL, field.astype(bool))


def measured_in_shared(
    earlier: Photograph, later: Photograph, registered: Registered
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure to its value at each time, for MEASURES; lengths in px of the earlier photograph.

    A value is None where medseg.measurements.vessels gives none.
    """
    back = registered.to_later.inverse(_shape(earlier))
    shared = later.field & back.warped(earlier.field, _shape(later), order=0)
    values = []
    for photograph, field, px in (
        (earlier, registered.shared, 1.0),
        (later, shared, registered.to_later.zoom),
    ):
        mask = Mask(photograph.vessels.astype(np.uint8), {VESSEL: "vessel"})
        found = measure_vessels(Case(mask, photograph.picture, field))
        values.append({name: _scaled(name, found[name]["value"], px) for name in MEASURES})
    return values[0], values[1]


def unmatched(earlier: Photograph, moved: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vessels of one time that the other lacks, (row, column) bool: those that are gone, those that are new.

    A vessel counts as there where one of the other time lies near: registration and borders are not exact.
    """
    from scipy.ndimage import distance_transform_edt

    near = VESSEL_PX * earlier.diameter_px / WORKING_PX
    before, after = earlier.vessels & shared, moved & shared
    gone = before & (distance_transform_edt(~after) > near)
    new = after & (distance_transform_edt(~before) > near)
    return gone, new


def piece_lengths(vessels: np.ndarray, diameter_px: float) -> list[float]:
    """Centreline pixels of each connected piece, the longest first, in diameters of the field of view."""
    from skimage.measure import label
    from skimage.morphology import skeletonize

    numbers = label(skeletonize(vessels), connectivity=2)
    return sorted((np.bincount(numbers.ravel())[1:] / diameter_px).tolist(), reverse=True)


def _scaled(name: str, value: Any, px: float) -> Any:
    return value / px if value is not None and name.endswith("_px") else value


def _changes(earlier: Visit, values: tuple[dict[str, Any], dict[str, Any]]) -> list[Change]:
    limits, spacing = repeatability(), earlier.mask.pixel_spacing_mm
    changes = []
    for name, unit in MEASURES.items():
        before, after = values[0][name], values[1][name]
        changes.append(change_of(name, unit, before, after, limits.get(name)))
        if spacing and unit == EARLIER_PX and before is not None and after is not None:
            mm = float(np.sqrt(np.prod(spacing)))
            in_mm = name.removesuffix("_px") + "_mm"
            changes.append(change_of(in_mm, "mm", before * mm, after * mm, limits.get(name)))
    return changes


def _pieces(first: Photograph, gone: np.ndarray, new: np.ndarray) -> list[ObjectChange]:
    limit = repeatability().get(UNMATCHED, Limit("absolute", 0.1, "not measured"))
    found = []
    for kind, vessels in (("gone", gone), ("new", new)):
        for number, length in enumerate(piece_lengths(vessels, first.diameter_px), 1):
            if length <= limit.limit:
                break
            size = length * first.diameter_px
            found.append(
                ObjectChange(kind, ONLY_EARLIER, (number,), (), size, None, EARLIER_PX)
                if kind == "gone"
                else ObjectChange(kind, ONLY_LATER, (), (number,), None, size, EARLIER_PX)
            )
    return found


def _registration(first: Photograph, second: Photograph, registered: Registered) -> dict[str, dict[str, Any]]:
    to_later = registered.to_later
    return {
        "map": {"value": to_later.kind, "unit": "kind of map"},
        "features_that_agree": {"value": registered.inliers, "unit": f"of {registered.matches}"},
        "vessels_on_each_other": {"value": 100 * registered.overlap, "unit": "% of the centrelines"},
        "shared_field": {
            "value": 100 * float(registered.shared.sum() / first.field.sum()),
            "unit": "% of the earlier field of view",
        },
        "turn": {"value": to_later.turn_deg, "unit": "degrees"},
        "magnification": {
            "value": to_later.zoom * first.diameter_px / second.diameter_px,
            "unit": "times, relative to the field of view",
        },
    }


def _picture(
    first: Photograph,
    second: Photograph,
    registered: Registered,
    moved: np.ndarray,
    gone: np.ndarray,
    new: np.ndarray,
) -> Picture:
    shown = registered.to_later.warped(second.picture, _shape(first)).astype(second.picture.dtype)
    both = ((first.vessels & ~gone) | (moved & ~new)) & registered.shared
    change = draw_errors(
        first.picture,
        (both | new).astype(np.uint8),
        (both | gone).astype(np.uint8),
        registered.shared,
    )
    return Picture(
        "Photographs",
        "The later photograph is registered to the earlier one. In the map, pale yellow vessels were found "
        "at both times, cyan ones only earlier, violet ones only later.",
        to_display(first.picture),
        to_display(shown),
        change,
    )


def _map(
    earlier: Visit,
    first: Photograph,
    moved: np.ndarray,
    gone: np.ndarray,
    new: np.ndarray,
    shared: np.ndarray,
) -> Mask:
    labels = (first.vessels | moved).astype(np.uint8) * shared
    labels[gone], labels[new] = 2, 3
    names = {0: "background", 1: "vessel", 2: "vessel only earlier", 3: "vessel only later"}
    return dataclasses.replace(earlier.mask, array=labels, labels=names, headers=())


def _shape(photograph: Photograph) -> tuple[int, int]:
    rows, columns = photograph.field.shape
    return rows, columns
