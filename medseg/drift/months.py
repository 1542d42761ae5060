"""Results month by month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.drift.records import CaseRecord

FEWEST_OF_A_MONTH = 5  # cases, for a median that is drawn
MOST_MONTHS = 120


@dataclass(frozen=True)
class Month:
    """The cases of one month, of the reference or of now.

    Attributes:
        name: such as 2026-11.
        is_now: the side.
        cases: how many.
        not_passed, rejected: the shares of those with a verdict; None without any.
        medians: measure to (median, number of values).
    """

    name: str
    is_now: bool
    cases: int
    not_passed: float | None
    rejected: float | None
    medians: dict[str, tuple[float, int]]


def months_of(cases: Sequence[CaseRecord], is_now: bool, measures: Sequence[str]) -> list[Month]:
    """A Month for each month from the first to the last, empty ones too; cases without a date are left out.

    Of more than MOST_MONTHS, as with a date that is wrong by a century, only those with cases are listed.
    """
    dated = [(case.day.year * 12 + case.day.month - 1, case) for case in cases if case.day]
    if not dated:
        return []
    present = sorted({number for number, _ in dated})
    numbers = range(present[0], present[-1] + 1)
    return [
        _month(number, [case for n, case in dated if n == number], is_now, measures)
        for number in (numbers if len(numbers) <= MOST_MONTHS else present)
    ]


def _month(number: int, cases: Sequence[CaseRecord], is_now: bool, measures: Sequence[str]) -> Month:
    columns = {name: [v for c in cases if (v := c.numbers.get(name)) is not None] for name in measures}
    judged = [case for case in cases if "verdict" in case.asked]
    return Month(
        f"{number // 12:04d}-{number % 12 + 1:02d}",
        is_now,
        len(cases),
        _share(judged, "not pass"),
        _share(judged, "reject"),
        {name: (float(np.median(values)), len(values)) for name, values in columns.items() if values},
    )


def _share(cases: Sequence[CaseRecord], verdict: str) -> float | None:
    return sum(("verdict", verdict) in case.events for case in cases) / len(cases) if cases else None
