"""follow-up.html: what changed, against what is noise; both times of each picture; the curve over time."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any

from medseg.follow_up import curve
from medseg.follow_up.change import NOT_ASSESSED, RELATIVE, UNCHANGED, Change, Limit
from medseg.follow_up.record import Comparison, FollowUp, ObjectChange, Picture, Track, Visit
from medseg.follow_up.texts import (
    UNITS,
    difference_text,
    growth_text,
    limit_text,
    measure_name,
    value_text,
)
from medseg.io.atomic import atomic_path
from medseg.reports.page import data_url, readable, render

SCRIPT = "follow_up.js"
PICTURE_PX = 1000  # long side of a picture: three stand side by side
MOST_TRACKS = 6  # lines of one curve
MOST_CURVES = 4  # of measures that changed
MOST_FINDINGS = 8  # of one comparison, on top of the page


def write_follow_up_page(path: str | os.PathLike[str], follow_up: FollowUp) -> None:
    """Write the page, in full or not at all; static, offline, and readable without its script.

    Args:
        path: the file; its folder must exist.
        follow_up: at least two visits and one comparison.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(page_of(follow_up), encoding="utf-8")


def page_of(follow_up: FollowUp) -> str:
    """The page as HTML."""
    script = files("medseg.reports").joinpath(SCRIPT).read_text("utf-8")
    sources: list[str] = []
    comparisons = [_comparison(each, follow_up.visits, sources) for each in follow_up.comparisons]
    return render(
        "follow_up.html.j2",
        title=f"Follow-up: {readable(follow_up.task)}",
        visits=[_visit(each) for each in follow_up.visits],
        findings=[group for each in follow_up.comparisons if (group := _found(each, follow_up.visits))],
        assessed=any(_is_assessed(each) for each in follow_up.comparisons),
        warnings=_warnings(follow_up),
        notes=list(follow_up.notes),
        comparisons=comparisons,
        curves=list(_curves(follow_up)),
        sources=sources,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        width=curve.WIDTH,
        height=curve.HEIGHT,
        left=curve.LEFT,
        right=curve.RIGHT,
    )


def _comparison(found: Comparison, visits: Sequence[Visit], sources: list[str]) -> dict[str, Any]:
    dates = tuple(visits[n].date.isoformat() for n in (found.earlier, found.later))
    judged = [each for each in found.changes if each.verdict != NOT_ASSESSED or each.earlier is not None]
    return {
        "title": _title(found, visits),
        "pictures": [_picture(each, dates) for each in found.pictures],
        "objects": [_object_row(each, sources) for each in found.objects],
        "changes": [_change_row(each, sources) for each in judged],
        "unknown": _unknown(found),
        "registration": [(readable(name), _entry(entry)) for name, entry in found.registration.items()],
    }


def _picture(picture: Picture, dates: tuple[str, ...]) -> dict[str, Any]:
    return {
        "title": picture.title,
        "caption": picture.caption,
        "dates": dates,
        "earlier": data_url(picture.earlier, PICTURE_PX),
        "later": data_url(picture.later, PICTURE_PX),
        "change": None if picture.change is None else data_url(picture.change, PICTURE_PX),
    }


def _change_row(change: Change, sources: list[str]) -> dict[str, Any]:
    return {
        "name": measure_name(change.measure),
        "verdict": change.verdict,
        "kind": _kind(change.verdict),
        "earlier": value_text(change.earlier, change.unit),
        "later": value_text(change.later, change.unit),
        "change": difference_text(change),
        "limit": limit_text(change.limit, change.unit),
        "sources": _cited(change.limit, sources),
    }


def _object_row(changed: ObjectChange, sources: list[str]) -> dict[str, Any]:
    limit = changed.change.limit if changed.change else None
    unit = changed.change.unit if changed.change else changed.unit
    return {
        "name": _object_name(changed),
        "verdict": changed.kind,
        "kind": _kind(changed.kind),
        "earlier": value_text(changed.earlier_size, changed.unit),
        "later": value_text(changed.later_size, changed.unit),
        "change": difference_text(changed.change) if changed.change else "",
        "limit": limit_text(limit, unit) if changed.change else "",
        "sources": _cited(limit, sources),
        "growth": changed.reason or growth_text(changed.growth),
    }


def _object_name(changed: ObjectChange) -> str:
    before, after = (" and ".join(map(str, numbers)) for numbers in (changed.earlier, changed.later))
    which = f"{before} → {after}" if before and after else before or after
    return f"{readable(changed.name)} {which}"


def _unknown(found: Comparison) -> dict[str, list[str]]:
    """Each reason for a change that was not assessed, with the names of the measures."""
    unknown: dict[str, list[str]] = {}
    for each in found.changes:
        if each.verdict == NOT_ASSESSED:
            unknown.setdefault(each.reason or "no reason was given", []).append(measure_name(each.measure))
    return unknown


def _found(found: Comparison, visits: Sequence[Visit]) -> dict[str, Any] | None:
    """What a comparison found, for the top of the page; None for nothing."""
    texts = list(_findings(found))
    if not texts:
        return None
    return {
        "title": _title(found, visits),
        "texts": texts[:MOST_FINDINGS],
        "count": len(texts),
        "more": max(0, len(texts) - MOST_FINDINGS),
    }


def _title(found: Comparison, visits: Sequence[Visit]) -> str:
    return f"{visits[found.later].date} against {visits[found.earlier].date}"


def _findings(found: Comparison) -> Iterator[str]:
    """What changed, as sentences: objects first."""
    for each in found.objects:
        if _kind(each.kind) == "changed":
            sizes = [
                value_text(size, each.unit)
                for size in (each.earlier_size, each.later_size)
                if size is not None
            ]
            yield f"{_object_name(each)}: {each.kind}, {' → '.join(sizes)}"
    for change in found.changes:
        if _kind(change.verdict) == "changed":
            values = " → ".join(value_text(value, change.unit) for value in (change.earlier, change.later))
            by = difference_text(change)
            yield f"{measure_name(change.measure)}: {change.verdict}, {values}, {by}"


def _is_assessed(found: Comparison) -> bool:
    words = [each.verdict for each in found.changes] + [each.kind for each in found.objects]
    return any(word != NOT_ASSESSED for word in words)


def _warnings(follow_up: FollowUp) -> list[str]:
    """Each warning once, with the date of its comparison where not all share it."""
    texts = [text for each in follow_up.comparisons for text in each.warnings]
    found = [*follow_up.warnings]
    for each in follow_up.comparisons:
        for text in each.warnings:
            common = texts.count(text) == len(follow_up.comparisons)
            dated = text if common else f"{follow_up.visits[each.later].date}: {text}"
            if dated not in found:
                found.append(dated)
    return found


def _curves(follow_up: FollowUp) -> Iterator[dict[str, Any]]:
    """A curve of the largest objects of each unit, where there are visits enough for one."""
    if len(follow_up.visits) < 3:
        return
    dates = [visit.date for visit in follow_up.visits]
    for unit in dict.fromkeys(track.unit for track in follow_up.tracks):
        tracks = [track for track in follow_up.tracks if track.unit == unit and len(_points(track)) > 1]
        tracks.sort(key=lambda track: -max(_points(track)))
        lines = [curve.Line(readable(each.name), each.sizes, _limit_of(follow_up, each)) for each in tracks]
        if lines:
            shown, unit = lines[:MOST_TRACKS], UNITS.get(unit, unit)
            title = (
                "Objects" if len(lines) == len(shown) else f"The largest {len(shown)} of {len(lines)} objects"
            )
            yield {"title": title, "unit": unit, "drawing": curve.drawing(dates, shown, unit)}
    drawn = [list(track.sizes) for track in follow_up.tracks]
    measures = (each for each in _changed_measures(follow_up) if each[2] not in drawn)
    for name, unit, values, limit in islice(measures, MOST_CURVES):
        line = curve.Line(measure_name(name), values, limit)
        yield {"title": measure_name(name), "unit": unit, "drawing": curve.drawing(dates, [line], unit)}


def _points(track: Track) -> list[float]:
    return [size for size in track.sizes if size is not None]


def _limit_of(follow_up: FollowUp, track: Track) -> float | None:
    """The relative repeatability with which the track's kind of object was judged."""
    for found in follow_up.comparisons:
        for each in found.objects:
            limit = each.change.limit if each.change else None
            if track.name.startswith(each.name) and limit and limit.kind == RELATIVE:
                return limit.limit
    return None


def _changed_measures(
    follow_up: FollowUp,
) -> Iterator[tuple[str, str, list[float | None], float | None]]:
    """Name, unit, value at each visit and relative limit of the measures that changed at any time."""
    changes = [change for found in follow_up.comparisons for change in found.changes]
    first = {change.measure: change for change in changes if _kind(change.verdict) == "changed"}
    for name, change in first.items():
        values: list[float | None] = [None] * len(follow_up.visits)
        for found in follow_up.comparisons:
            for each in found.changes:
                if each.measure == name and found.later == found.earlier + 1:
                    values[found.later] = each.later
                    if values[found.earlier] is None:
                        values[found.earlier] = each.earlier
        limit = change.limit.limit if change.limit and change.limit.kind == RELATIVE else None
        if any(value is not None for value in values):
            yield name, change.unit, values, limit


def _visit(visit: Visit) -> dict[str, Any]:
    origin = visit.provenance
    method = origin.get("method") or "unknown method"
    weights = origin.get("weights_sha256")
    image = " x ".join(map(str, visit.mask.array.shape))
    if visit.mask.spacing_mm:
        image += " of " + " x ".join(f"{step:.3g}" for step in visit.mask.spacing_mm) + " mm"
    facts = [f"{readable(name).lower()} {value}" for name, value in visit.acquisition.items()]
    return {
        "date": visit.date.isoformat(),
        "case": visit.case,
        "method": f"{method}, weights {str(weights)[:12]}" if weights else str(method),
        "image": "; ".join([image, *facts]),
        "warnings": list(visit.warnings),
    }


def _kind(verdict: str) -> str:
    """The class of a verdict on the page: changed, same or unknown."""
    if verdict == NOT_ASSESSED:
        return "unknown"
    return "same" if verdict == UNCHANGED else "changed"


def _cited(limit: Limit | None, sources: list[str]) -> list[int]:
    """The number of the limit's source in the list at the end, to which it is added if new."""
    if limit is None:
        return []
    if limit.source not in sources:
        sources.append(limit.source)
    return [sources.index(limit.source) + 1]


def _entry(entry: Mapping[str, Any]) -> str:
    value, unit = entry["value"], str(entry["unit"])
    if isinstance(value, str):
        return value
    return f"{value_text(value, '')} {unit}" if value is not None else "not known"
