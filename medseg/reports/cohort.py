"""cohort.html: what became of many cases, their measures and outliers, failures by kind, small pictures."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import InputError
from medseg.io.atomic import atomic_path
from medseg.io.raster import small_jpeg
from medseg.reports.histogram import HEIGHT, WIDTH, edges_of, number_text, outline, shares_of
from medseg.reports.page import render

THUMB_PX = 160  # long side of a small picture; one of three planes side by side gets twice as much
MOST_THUMBS = 500
_WIDE = 1.8  # width of a wide picture by its height
_QUALITY = 75
MOST_THUMBS_MB = 5.5  # of all small pictures together
_LISTED = 20  # rows of a table that are open; the others are folded away
_NAMED = 200  # cases that are named for one failure; more are counted


@dataclass(frozen=True)
class CaseLink:
    """A case: its name, and the address of its report.html from the page; "" if there is none."""

    name: str
    link: str = ""


@dataclass(frozen=True)
class Measure:
    """One measure of all cases.

    Attributes:
        title, unit: texts.
        facts: sentences.
        values: (n,) finite values, n at least 1.
        outliers: those of the values that are outliers.
    """

    title: str
    unit: str
    facts: tuple[str, ...]
    values: np.ndarray
    outliers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong: state and kind of error, its text, and the cases that it happened to."""

    state: str
    kind: str
    text: str
    cases: tuple[CaseLink, ...]


@dataclass(frozen=True)
class Row:
    """A case of a table, and texts about it."""

    case: CaseLink
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A case with its overlay, and a line below it; flag is "warn", "reject" or ""."""

    case: CaseLink
    overlay: Path
    caption: str
    flag: str = ""


def write_cohort_page(
    path: str | os.PathLike[str],
    *,
    subject: str,
    summary: str,
    colour: str,
    concerns: Sequence[str],
    counts: Sequence[tuple[str, int]],
    failures: Sequence[Failure],
    measures: Sequence[Measure],
    constants: Sequence[str],
    outliers: Sequence[Row],
    outlier_rule: Sequence[str],
    order: Sequence[Row],
    pictures: Sequence[Picture],
    origin: Sequence[tuple[str, str]],
) -> None:
    """Write the page, in full or not at all.

    Args:
        path: the file; its folder must exist.
        subject: task and method.
        summary: how many cases are done.
        colour: of the banner: "pass", "warn" or "reject".
        concerns: sentences below the summary.
        counts: state and number of cases.
        failures: the most frequent kind first.
        measures: what was measured.
        constants: name and value of each measure that is the same in all cases.
        outliers: cases with their outlying values, one cell.
        outlier_rule: sentences on what an outlier is.
        order: predicted Dice, verdict and reasons of the cases in the order of a review; empty if no quality
            was predicted.
        pictures: in the order in which they are shown; as many as fit are.
        origin: name and value of what the results were made by.
    """
    thumbs = _thumbs(pictures)
    html = render(
        "cohort.html.j2",
        **{"subject": subject, "summary": summary, "colour": colour, "concerns": concerns, "counts": counts},
        **{"failures": _by_kind(failures), "outliers": outliers, "outlier_rule": outlier_rule},
        **{
            "constants": constants,
            "order": order,
            "thumbs": thumbs,
            "origin": origin,
            "width": WIDTH,
            "height": HEIGHT,
        },
        **{"listed": _LISTED, "most_named": _NAMED, "with_pictures": len(pictures)},
        measures=[_drawn(measure) for measure in measures],
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _by_kind(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """The failures of one state and kind together."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.state, failure.kind), []).append(failure)
    return [
        {
            "state": state,
            "kind": kind,
            "cases": sum(len(failure.cases) for failure in found),
            "texts": found,
        }
        for (state, kind), found in groups.items()
    ]


def _drawn(measure: Measure) -> dict[str, Any]:
    edges, (low, high) = edges_of(measure.values)
    shares = shares_of(measure.values, edges)
    places = [float(np.interp(value, (edges[0], edges[-1]), (4, WIDTH - 4))) for value in measure.outliers]
    return {
        **{"title": measure.title, "unit": measure.unit, "facts": measure.facts},
        **{"bars": outline(shares / shares.max()), "low": number_text(low), "high": number_text(high)},
        "dots": sorted({round(x) for x in places}),
    }


def _thumbs(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """The first pictures as data URLs; one that can't be read is left out."""
    thumbs: list[dict[str, Any]] = []
    size = 0
    for picture in pictures:
        if len(thumbs) == MOST_THUMBS:
            break
        try:
            is_wide = _is_wide(picture.overlay)
            small = small_jpeg(picture.overlay, THUMB_PX * (1 + is_wide), _QUALITY)
        except (InputError, OSError):
            continue
        content = base64.b64encode(small).decode("ascii")
        size += len(content)
        if size > MOST_THUMBS_MB * 1e6:
            break
        url = f"data:image/jpeg;base64,{content}"
        shown = {"case": picture.case, "url": url, "caption": picture.caption, "flag": picture.flag}
        thumbs.append({**shown, "is_wide": is_wide})
    return thumbs


def _is_wide(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.width > _WIDE * picture.height
