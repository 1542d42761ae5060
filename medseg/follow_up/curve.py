"""A curve over time as an SVG: sizes of objects, or one measure, at each visit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 640, 260  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 34
FEWEST_TICKS = 4
DATE_WIDTH = 80


@dataclass(frozen=True)
class Line:
    """A line of the curve.

    Attributes:
        name: for the legend.
        values: one for each date; None leaves a gap.
        limit: the repeatability, a relative one: each point gets a bar, and two points whose bars do not
            overlap differ by more than the limit. None for no bars.
    """

    name: str
    values: Sequence[float | None]
    limit: float | None = None


@dataclass(frozen=True)
class DrawnLine:
    """A line as it is drawn; places are in units of the drawing.

    Attributes:
        name: for the legend.
        parts: the points of each part without a gap, as SVG has them.
        marks: x, y and text of each value.
        bars: x, top and bottom of each bar.
    """

    name: str
    parts: tuple[str, ...]
    marks: tuple[tuple[float, float, str], ...]
    bars: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Drawing:
    """What the template draws, WIDTH x HEIGHT.

    Attributes:
        x_ticks: places and dates.
        y_ticks: places and values.
        lines: in the order in which they were given.
        label: what is shown, for a screen reader.
    """

    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[DrawnLine, ...]
    label: str


def drawing(dates: Sequence[date], lines: Sequence[Line], unit: str) -> Drawing:
    """Lay out lines over dates; the value axis begins at 0 where that does not flatten them.

    Args:
        dates: of the visits, ascending, at least one.
        lines: at least one value among them.
        unit: of the values, for the texts.
    """
    known = [value for line in lines for value in line.values if value is not None]
    low, high = _range(known, max((line.limit or 0.0 for line in lines), default=0.0))
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    span = max(1, (dates[-1] - dates[0]).days)
    xs = [round(LEFT + (WIDTH - LEFT - RIGHT) * (each - dates[0]).days / span, 1) for each in dates]

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low), 1)

    shown = _apart(xs)
    return Drawing(
        tuple((x, each.isoformat()) for n, (x, each) in enumerate(zip(xs, dates, strict=True)) if n in shown),
        tuple((y(value), f"{value:g}") for value in ticks),
        tuple(_drawn(line, xs, dates, y, unit) for line in lines),
        f"Curve over {len(dates)} visits from {dates[0]} to {dates[-1]}, in {unit}",
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """At least FEWEST_TICKS round values that span the range: steps of 1, 2 or 5 times a power of ten."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / FEWEST_TICKS))
    step = max(size * power for size in (1, 2, 5) if size * power <= span / (FEWEST_TICKS - 1))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 10) for number in range(first, max(last, first + 1) + 1)]


def _range(known: Sequence[float], widest: float) -> tuple[float, float]:
    low, high = min(known), max(known)
    if widest and low > 0:
        low, high = low / math.sqrt(1 + widest), high * math.sqrt(1 + widest)
    if 0 < low < 0.6 * high:  # near enough to 0 to begin there
        low = 0.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _apart(xs: Sequence[float]) -> set[int]:
    """Which dates have room for their text; the first and the last are always shown."""
    shown = [0]
    for n, x in enumerate(xs[:-1]):
        if x - xs[shown[-1]] >= DATE_WIDTH and xs[-1] - x >= DATE_WIDTH:
            shown.append(n)
    return {*shown, len(xs) - 1}


def _drawn(
    line: Line, xs: Sequence[float], dates: Sequence[date], y: Callable[[float], float], unit: str
) -> DrawnLine:
    parts: list[list[str]] = [[]]
    marks, bars = [], []
    half = math.sqrt(1 + line.limit) if line.limit else 0.0
    for x, value, when in zip(xs, line.values, dates, strict=True):
        if value is None:
            parts.append([])
            continue
        parts[-1].append(f"{x},{y(value)}")
        marks.append((x, y(value), f"{when}: {value:.3g} {unit}"))
        if half and value > 0:
            bars.append((x, y(value * half), y(value / half)))
    joined = tuple(" ".join(part) for part in parts if len(part) > 1)
    return DrawnLine(line.name, joined, tuple(marks), tuple(bars))
