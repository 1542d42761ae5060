"""Breast lesions in two ultrasound pictures.

A hand holds the probe, so the plane differs from one day to the next and no registration can undo that.
Lesions are therefore matched by what survives a change of the plane: one at each time is taken for the same;
several are matched from left to right, if their sizes are in the same order, and else not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medseg.case import Case
from medseg.follow_up.change import Change, change_of, repeatability
from medseg.follow_up.matching import GONE, NEW, NOT_ASSESSED, Match, kind_of
from medseg.follow_up.record import Comparison, ObjectChange, Picture, Visit
from medseg.measurements.lesions import lesion_instances, measure_lesions
from medseg.reports.picture_overlay import draw_picture_overlay

NAME = "lesion"
PLANE = (
    "The pictures are not registered: the plane of an ultrasound picture differs from one examination to the "
    "next. A lesion cut through another place looks larger or smaller, and one that was not cut is missing."
)
ONE_SIZE_KNOWN = "the pixel size is known at one time only"
NO_SIZE_KNOWN = "the pixel size is not known, and depends on the depth that was set"
UNCLEAR = "it is not clear which lesion of the other picture it is"
MEASURES = ("area", "longest_diameter", "perpendicular_diameter", "depth", "width")
Spacing = tuple[float, float] | None


def compare_lesions(earlier: Visit, later: Visit, positions: tuple[int, int] = (0, 1)) -> Comparison:
    """Compare two pictures of one breast.

    Args:
        earlier, later: with masks of (row, column), 1 for lesion; sizes are judged where both have
            pixel_spacing_mm.
        positions: of the visits in the follow-up, from 0.
    """
    first, second = _lesions(earlier), _lesions(later)
    reason = _unknown_size(earlier.mask.pixel_spacing_mm, later.mask.pixel_spacing_mm)
    return Comparison(
        *positions,
        registration={},
        changes=_changes(first, second, reason),
        objects=_objects(first, second, reason),
        pictures=[_picture(earlier, later)],
        warnings=[PLANE],
    )


def matched_by_order(
    earlier: Sequence[tuple[float, float]], later: Sequence[tuple[float, float]]
) -> list[Match]:
    """Match lesions that are (column of the centre, size).

    Args:
        earlier, later: the lesions of each time.

    Returns:
        A match for each pair, or for each lesion without a counterpart at a time without lesions. Empty if it
        is not clear which is which.
    """
    if not earlier or not later:
        return [Match((n,), ()) for n in range(len(earlier))] + [Match((), (n,)) for n in range(len(later))]
    orders = [
        [sorted(range(len(each)), key=lambda n: each[n][key]) for key in (0, 1)] for each in (earlier, later)
    ]
    ranks = [[by_place.index(n) for n in by_size] for by_place, by_size in orders]
    if ranks[0] != ranks[1]:
        return []
    return [Match((n,), (m,)) for n, m in sorted(zip(orders[0][0], orders[1][0], strict=True))]


def _lesions(visit: Visit) -> list[dict[str, Any]]:
    """Each lesion's measures, the largest first, and `column`, the share of the picture's width."""
    numbers = lesion_instances(visit.mask.array)
    measures = measure_lesions(Case(visit.mask, visit.image.array))["lesions"]["value"] or []
    lesions = [dict(each) for each in measures]
    for number, lesion in enumerate(lesions, 1):
        columns = np.nonzero(numbers == number)[1]
        lesion["column"] = float((columns.mean() + 0.5) / numbers.shape[1])
    return lesions


def _unknown_size(earlier: Spacing, later: Spacing) -> str:
    if earlier and later:
        return ""
    return ONE_SIZE_KNOWN if earlier or later else NO_SIZE_KNOWN


def _changes(earlier: list[dict[str, Any]], later: list[dict[str, Any]], reason: str) -> list[Change]:
    """The largest lesion's measures, where both pictures have one lesion: then it is taken for the same."""
    if len(earlier) != 1 or len(later) != 1:
        return []
    return [_change(name, earlier[0], later[0], reason) for name in MEASURES]


def _change(name: str, earlier: dict[str, Any], later: dict[str, Any], reason: str) -> Change:
    """In mm where both sizes are known; else in px, and not judged."""
    suffix = _suffix(name, bool(reason))
    unit = {"mm2": "mm²", "px": "px"}.get(suffix, suffix)
    key, measure = f"{name}_{suffix}", f"largest_lesion_{name}_{suffix}"
    limit = None if reason else repeatability().get(measure)
    return change_of(measure, unit, earlier[key], later[key], limit, reason)


def _suffix(name: str, in_px: bool) -> str:
    if in_px:
        return "px"
    return "mm2" if name == "area" else "mm"


def _objects(earlier: list[dict[str, Any]], later: list[dict[str, Any]], reason: str) -> list[ObjectChange]:
    key = f"area_{_suffix('area', bool(reason))}"
    unit = "px2" if reason else "mm2"
    places = [[(lesion["column"], lesion[key]) for lesion in lesions] for lesions in (earlier, later)]
    matches = matched_by_order(places[0], places[1])
    if not matches and (earlier or later):
        return _unclear(earlier, later, key, unit)
    found = []
    for each in matches:
        before, after = (
            [lesions[n][key] for n in numbers]
            for lesions, numbers in zip((earlier, later), (each.earlier, each.later), strict=True)
        )
        if not before or not after:
            kind = GONE if before else NEW
            found.append(_object(kind, each, before, after, unit))
            continue
        change = _change("area", earlier[each.earlier[0]], later[each.later[0]], reason)
        kind = kind_of(each, change.verdict)
        found.append(
            _object(kind, each, before, after, unit, change, change.reason if kind == NOT_ASSESSED else "")
        )
    return found


def _unclear(
    earlier: list[dict[str, Any]], later: list[dict[str, Any]], key: str, unit: str
) -> list[ObjectChange]:
    first = [
        _object(NOT_ASSESSED, Match((n,), ()), [each[key]], [], unit, reason=UNCLEAR)
        for n, each in enumerate(earlier)
    ]
    return first + [
        _object(NOT_ASSESSED, Match((), (n,)), [], [each[key]], unit, reason=UNCLEAR)
        for n, each in enumerate(later)
    ]


def _object(
    kind: str,
    found: Match,
    before: list[float],
    after: list[float],
    unit: str,
    change: Change | None = None,
    reason: str = "",
) -> ObjectChange:
    return ObjectChange(
        kind,
        NAME,
        tuple(n + 1 for n in found.earlier),
        tuple(n + 1 for n in found.later),
        before[0] if before else None,
        after[0] if after else None,
        unit,
        change,
        reason=reason,
    )


def _picture(earlier: Visit, later: Visit) -> Picture:
    """Both pictures with their contours, at one scale where both sizes are known, on one canvas."""
    drawn = [
        draw_picture_overlay(each.image.array, each.mask, each.field_of_view) for each in (earlier, later)
    ]
    first, second = earlier.mask.pixel_spacing_mm, later.mask.pixel_spacing_mm
    scale = "Their scales may differ."
    if first and second:
        drawn[1] = _resized(drawn[1], (second[0] / first[0], second[1] / first[1]))
        scale = "Both are shown at one scale."
    size = np.max([each.shape[:2] for each in drawn], axis=0)
    padded = [
        np.pad(each, ((0, size[0] - each.shape[0]), (0, size[1] - each.shape[1]), (0, 0))) for each in drawn
    ]
    return Picture("Pictures", f"The two pictures, not registered. {scale}", *padded)


def _resized(picture: np.ndarray, zoom: tuple[float, float]) -> np.ndarray:
    from skimage.transform import resize

    size = tuple(max(1, round(length * by)) for length, by in zip(picture.shape, zoom, strict=False))
    return np.rint(resize(picture, size, order=1, preserve_range=True)).astype(np.uint8)
