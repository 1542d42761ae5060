"""The form of a measurement: a value with its unit, or the reason why there is none."""

from __future__ import annotations

from typing import Any

Measures = dict[str, dict[str, Any]]


def entry(name: str, value: Any, unit: str, reason: str = "") -> Measures:
    """name to {"value", "unit"}; a value of None brings its reason along."""
    return {name: {"value": value, "unit": unit} | ({"reason": reason} if value is None else {})}
