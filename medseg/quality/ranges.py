"""Is a result plausible? Implausible numbers become warnings, and warnings a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def check_ranges(
    measurements: Mapping[str, Mapping[str, Any]], plausible: Mapping[str, Sequence[float]]
) -> list[str]:
    """A warning for each measurement outside its plausible range.

    Args:
        measurements: name to {"value": ..., "unit": ...}; one without a value is passed over.
        plausible: name to [low, high], in the measurement's unit.
    """
    warnings = []
    for name, (low, high) in plausible.items():
        value = measurements[name]["value"]
        if value is not None and not low <= value <= high:
            readable, unit = name.replace("_", " "), measurements[name]["unit"]
            warnings.append(
                f"the {readable} of {value:.3g} ({unit}) is outside the usual {low:g} to {high:g}"
            )
    return warnings


def judge(warnings: Sequence[str]) -> dict[str, Any]:
    """The verdict of all checks: "warn" with the reasons when there is any warning, else "pass"."""
    return {"verdict": "warn" if warnings else "pass", "reasons": list(warnings)}
