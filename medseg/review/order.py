"""Which case is opened first: the one whose mask is most probably wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BROKEN = "broken"  # a case without a readable record or mask
_VERDICTS = (BROKEN, "reject", "warn", "pass")
# The place of a case without a prediction among those that have one; it is never shown. 0.7 is the Dice below
# which a mask counts as wrong, so a case with a warning comes after those that are predicted to be wrong.
_STAND_IN = {"warn": 0.70, "pass": 0.90}


def expected_error(verdict: str, predicted: Mapping[str, Any], warnings: int) -> tuple[float, ...]:
    """The key by which cases are sorted: the smallest is opened first.

    Broken cases and the verdict "reject" come first. Then counts the lowest predicted Dice over the labels,
    and between equal ones the lowest bound of an interval. A case without a prediction has the place of a
    Dice of 0.70 with the verdict "warn" and of 0.90 with "pass"; more warnings come first.

    Args:
        verdict: "broken", "reject", "warn" or "pass"; another one counts as "warn".
        predicted: label to {"value": Dice, "interval": [low, high]}; empty where nothing was predicted.
        warnings: how many there are.
    """
    verdict = verdict if verdict in _VERDICTS else "warn"
    urgent = {BROKEN: 0, "reject": 1}.get(verdict, 2)
    dice, bound = lowest_predicted(predicted)
    place = dice if dice is not None else _STAND_IN.get(verdict, 0.0)
    return urgent, place, bound if bound is not None else place, -warnings, _VERDICTS.index(verdict)


def lowest_predicted(predicted: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The lowest predicted Dice over the labels, and the lowest bound of their intervals; None if unknown."""
    entries = [entry for entry in predicted.values() if isinstance(entry, Mapping)]
    values = [entry["value"] for entry in entries if is_number(entry.get("value"))]
    bounds = [low for entry in entries for low in _low(entry.get("interval"))]
    return min(values, default=None), min(bounds, default=None)


def _low(interval: Any) -> list[float]:
    found = isinstance(interval, Sequence) and not isinstance(interval, str) and len(interval) > 0
    return [interval[0]] if found and is_number(interval[0]) else []


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number; Python counts True as one."""
    return isinstance(value, int | float) and not isinstance(value, bool)
