"""drift.html: distributions of a reference and of now, small, beside each other, and over the months."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.reports.histogram import HEIGHT, WIDTH, edges_of, number_text, outline, shares_of
from medseg.reports.page import render

CURVE_HEIGHT = 64  # units of a small plot


@dataclass(frozen=True)
class Point:
    """The median of one month: its name, whether it is of now, value, number of cases."""

    month: str
    is_now: bool
    value: float
    cases: int


@dataclass(frozen=True)
class Card:
    """One measure of the page.

    Attributes:
        title, unit, facts: texts.
        called: whether it is drift.
        reference, now: (n,) and (m,) finite values; empty for a rate.
        rates: of the reference and now, 0 to 1; None for a measure.
        points: the medians of months, in order.
    """

    title: str
    unit: str
    facts: tuple[str, ...]
    called: bool
    reference: np.ndarray
    now: np.ndarray
    rates: tuple[float, float] | None = None
    points: tuple[Point, ...] = ()


def write_drift_page(
    path: str | os.PathLike[str],
    *,
    subject: str,
    compared: str,
    summary: str,
    called: Sequence[str],
    table: Mapping[str, Any],
    cards: Sequence[Card],
    months: Mapping[str, Any],
    untested: Sequence[tuple[str, str]],
    notes: Sequence[str],
    broken: Sequence[str],
    how: Sequence[str],
) -> None:
    """Write the page, in full or not at all.

    Args:
        path: the file; its folder must exist.
        subject: task and method.
        compared, summary: what was compared, and whether there is drift.
        called: a sentence for each measure that drifted.
        table: "header" and "rows" of all measures, as text.
        cards: the measures, drawn.
        months: "header" and "rows".
        untested: measure and reason.
        notes, broken, how: sentences.
    """
    html = render(
        "drift.html.j2",
        **{"subject": subject, "compared": compared, "summary": summary, "called": called},
        **{"table": table, "months": months, "untested": untested, "notes": notes},
        **{"broken": broken, "how": how, "width": WIDTH, "height": HEIGHT, "curve_height": CURVE_HEIGHT},
        cards=[_drawn(card) for card in cards],
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _drawn(card: Card) -> dict[str, Any]:
    return {
        "title": card.title,
        "unit": card.unit,
        "facts": card.facts,
        "called": card.called,
        "rates": card.rates,
        "histogram": histogram(card.reference, card.now) if card.rates is None else None,
        "curve": curve(card.reference, card.points),
    }


def histogram(reference: np.ndarray, now: np.ndarray) -> dict[str, Any]:
    """Two histograms over one axis as paths of an SVG of WIDTH x HEIGHT, each of area 1.

    Returns:
        "reference" and "now", paths; "low" and "high", the ends of the axis as text.
    """
    edges, ends = edges_of(np.concatenate([reference, now]))
    shares = [shares_of(values, edges) for values in (reference, now)]
    top = max(share.max() for share in shares)
    paths = [outline(share / top) for share in shares]
    return {
        **{"reference": paths[0], "now": paths[1]},
        **{"low": number_text(ends[0]), "high": number_text(ends[1])},
    }


def curve(reference: np.ndarray, points: Sequence[Point]) -> dict[str, Any] | None:
    """The medians of months over the band of the reference's middle half; None for fewer than two months.

    Returns:
        "dots", each x, y, whether of now, and a text; "line", a path; "band", y and height; "median", y;
        "first" and "last", the names of the months; "low" and "high", the ends of the axis as text.
    """
    if len({point.month for point in points}) < 2:
        return None
    quartiles = np.percentile(reference, (25, 50, 75)) if len(reference) else np.full(3, points[0].value)
    values = [point.value for point in points]
    low, high = min(*values, quartiles[0]), max(*values, quartiles[2])
    span = (high - low) or 1.0
    at_month = _places([point.month for point in points])

    def y(value: float) -> float:
        return round(CURVE_HEIGHT - 6 - (value - low) / span * (CURVE_HEIGHT - 12), 1)

    dots = [
        (at_month[p.month], y(p.value), p.is_now, f"{p.month}: {p.value:.4g} ({p.cases} cases)")
        for p in points
    ]
    recent = [f"{x} {height}" for x, height, is_now, _ in dots if is_now]
    return {
        "dots": dots,
        "line": "M" + " L".join(recent) if len(recent) > 1 else "",
        "band": (y(quartiles[2]), round(y(quartiles[0]) - y(quartiles[2]), 1)),
        "median": y(quartiles[1]),
        "first": min(at_month),
        "last": max(at_month),
        "low": number_text(low),
        "high": number_text(high),
    }


def _places(months: Sequence[str]) -> dict[str, float]:
    """Month to x, in proportion to the time between them."""
    numbers = {name: int(name[:4]) * 12 + int(name[5:]) for name in months}
    first, last = min(numbers.values()), max(numbers.values())
    return {
        name: round(8 + (number - first) / (last - first) * (WIDTH - 16), 1)
        for name, number in numbers.items()
    }
