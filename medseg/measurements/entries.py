"""The form of a measurement: a value with its unit, or None with the reason."""

from __future__ import annotations

from typing import Any

Measures = dict[str, dict[str, Any]]


def entry(name: str, value: Any, unit: str, reason: str = "") -> Measures:
    """Name to {"value", "unit"}; with "reason" where the value is None."""
    return {name: {"value": value, "unit": unit} | ({"reason": reason} if value is None else {})}
