"""Is a result plausible? Each implausible measurement becomes a warning; any warning changes the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def check_ranges(
    measurements: Mapping[str, Mapping[str, Any]], plausible: Mapping[str, Sequence[float]]
) -> list[str]:
    """A warning for each measurement outside its plausible range.

    Args:
        measurements: name to {"value": ..., "unit": ...}; an entry whose value is None is skipped.
        plausible: name to [low, high], both included, in the measurement's unit.

    Returns:
        Sentences such as "left lung volume of 4710 ml is outside the usual 300 to 4500 ml".
    """
    warnings = []
    for name, (low, high) in plausible.items():
        value = measurements[name]["value"]
        if value is not None and not low <= value <= high:
            unit = measurements[name]["unit"]
            suffix = f"_{unit.lower().replace('²', '2').replace('³', '3')}"
            shown = f" {unit}" if name.endswith(suffix) and unit != "count" else ""
            readable = (name.removesuffix(suffix) if shown else name).replace("_", " ")
            warnings.append(
                f"{readable} of {_plain(value)}{shown} is outside the usual "
                f"{_plain(low)} to {_plain(high)}{shown}"
            )
    return warnings


def _plain(value: float) -> str:
    """Four significant digits without an exponent."""
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def judge(warnings: Sequence[str]) -> dict[str, Any]:
    """The verdict of all checks: "warn" with the warnings as reasons if there are any, else "pass"."""
    return {"verdict": "warn" if warnings else "pass", "reasons": list(warnings)}
