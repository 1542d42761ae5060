"""Values, changes, limits and growth in words, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medseg.follow_up.change import ABSOLUTE, RELATIVE, Change, Limit
from medseg.reports.page import readable

UNITS = {"px2": "px²", "mm2": "mm²"}
# A part of a measure's name that its unit repeats.
SUFFIXES = ("_ml", "_g", "_hu", "_percent", "_px", "_mm", "_mm2", "_px2")


def digits(value: float) -> str:
    """A number with as many digits as say something: three, and all before the point."""
    if not np.isfinite(value):
        return "unbounded"
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    return np.format_float_positional(float(f"{value:.3g}"), trim="-")


def growth_text(growth: Mapping[str, Any] | None) -> str:
    """A growth of medseg.follow_up.growth in words; empty for None."""
    if not growth:
        return ""
    days, interval = growth["doubling_days"], growth["interval_days"]
    if days is None or interval is None:
        return str(growth.get("note", ""))
    word = "doubles" if days > 0 else "halves"
    low, high = (None if bound is None else digits(abs(bound)) for bound in interval)
    if days < 0:
        low, high = high, low
    bounds = " to ".join(bound or "no bound" for bound in (low, high))
    return f"{word} in {digits(abs(days))} days ({bounds})"


def measure_name(measure: str) -> str:
    """A measure in words, without its unit, which stands beside the value."""
    for suffix in SUFFIXES:
        if measure.endswith(suffix):
            return readable(measure.removesuffix(suffix))
    return readable(measure)


def value_text(value: float | None, unit: str) -> str:
    """A value with its unit, as far as a table has room for it; a dash where it is not known."""
    if value is None:
        return "-"
    unit = UNITS.get(unit, unit)
    if unit.startswith("%"):
        return f"{digits(value) if abs(value) >= 1 else digits(float(f'{value:.2g}'))}%"
    short = {"ratio": "", "dimensionless": "", "count": ""}.get(unit, unit)
    short = "px" if short.startswith("px of") else "" if short.startswith("fraction") else short
    return f"{digits(value)} {short}".strip()


def difference_text(change: Change) -> str:
    """The difference as it is judged: in percent, or in the unit."""
    if change.difference is None:
        return ""
    # A share of an HU or of a percentage says nothing: their zero is a convention, or near.
    relative = change.limit.kind == RELATIVE if change.limit else not change.unit.startswith(("HU", "%"))
    if relative and change.relative is not None:
        return f"{100 * change.relative:+.1f}%"
    sign = "+" if change.difference > 0 else "-" if change.difference < 0 else "±"
    points = " points" if change.unit.startswith("%") else ""
    text = value_text(abs(change.difference), change.unit)
    return sign + (text.removesuffix("%") + points if points else text)


def limit_text(limit: Limit | None, unit: str) -> str:
    """The largest change that is none, for a rise and a fall."""
    if limit is None:
        return "not known"
    if limit.kind == ABSOLUTE:
        text = value_text(limit.limit, unit)
        return "±" + (text.removesuffix("%") + " points" if unit.startswith("%") else text)
    # Symmetric in the ratio: what grows by a quarter shrinks back by a fifth.
    return f"+{100 * limit.limit:.3g}% or -{100 * limit.limit / (1 + limit.limit):.3g}%"
