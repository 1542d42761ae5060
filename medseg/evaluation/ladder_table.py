"""Several methods on the same cases: means with intervals, costs, and paired tests, corrected together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg import console
from medseg.evaluation.comparison_text import interval_text
from medseg.evaluation.ladder_run import Cost
from medseg.evaluation.past_runs import CaseRow
from medseg.metrics.overlap import summarise
from medseg.metrics.significance import (
    Paired,
    compare_paired,
    direction,
    fewest_subjects,
    holm,
    verdict,
)

SCORE = "dice"  # decides
# Further scores that the table shows where the task has them; scores.json has all.
_SHOWN = ("cl_dice", "surface_dice", "hd95_mm", "hd95_px", "hd95", "assd_mm")
_FEW_SUBJECTS = 20  # below, a percentile interval is too narrow, see bootstrap_interval


@dataclass(frozen=True)
class Rung:
    """One method: what it is, its scores (name to mean, low, high, cases, subjects) and its cost."""

    method: str
    kind: str
    summary: str
    scores: Mapping[str, Mapping[str, float | int | None]]
    cost: Cost

    @property
    def mean(self) -> float:
        value = self.scores[SCORE]["mean"]
        return -1.0 if value is None else float(value)


@dataclass(frozen=True)
class PairTest:
    """Method b against method a by SCORE; the differences are b - a.

    `p` is corrected for all tests of the comparison (Holm), `paired.p` is not; both are None without a case
    that both have a score for.
    """

    a: str
    b: str
    reason: str
    paired: Paired
    p: float | None
    verdict: str


@dataclass(frozen=True)
class Ladder:
    """What a comparison of methods found.

    Attributes:
        title: task, data and split.
        rungs: the methods that have scores, in the order in which they were named.
        scores: the names of the scores that the table shows, SCORE first.
        tests: of each method against the one before it and against the best.
        cases, subjects: how many.
        warnings: sentences.
    """

    title: str
    rungs: tuple[Rung, ...]
    scores: tuple[str, ...]
    tests: tuple[PairTest, ...]
    cases: int
    subjects: int
    warnings: tuple[str, ...]

    @property
    def counts(self) -> str:
        return f"{_count(self.cases, 'case')}, {_count(self.subjects, 'subject')}"

    @property
    def best(self) -> str:
        """The method with the highest mean."""
        return max(self.rungs, key=lambda rung: rung.mean).method

    def __str__(self) -> str:
        return text(self)


def rung(method: str, kind: str, summary: str, rows: Sequence[CaseRow], cost: Cost) -> Rung:
    """A method with the means of its scores over the cases."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    cases = [{name: row.scores.get(name) for name in names} for row in rows]
    return Rung(method, kind, summary, summarise(cases, [row.subject for row in rows]), cost)


def ladder(
    title: str,
    rungs: Sequence[Rung],
    rows: Mapping[str, Sequence[CaseRow]],
    warnings: Sequence[str] = (),
) -> Ladder:
    """Compare methods that were scored on the same cases.

    Args:
        title: task, data and split.
        rungs: the methods, at least one.
        rows: method to its cases, for all methods in the same order.
        warnings: sentences about the comparison.
    """
    first = rows[rungs[0].method]
    subjects = len({row.subject for row in first})
    tests = _tests(rungs, rows)
    names = [name for name in (SCORE, *_SHOWN) if any(name in rung.scores for rung in rungs)]
    return Ladder(
        title,
        tuple(rungs),
        tuple(names),
        tuple(tests),
        len(first),
        subjects,
        (*warnings, *_undefined(rows), *_too_few(subjects, len(tests))),
    )


def text(found: Ladder) -> str:
    """The comparison as lines of text: methods, tests, warnings."""
    lines = [f"{found.title}: {found.counts}", "", console.table(**methods_table(found))]
    if found.tests:
        lines += ["", console.table(**tests_table(found))]
    if found.warnings:
        lines += ["", *(f"warning: {warning}" for warning in found.warnings)]
    return "\n".join(lines)


def methods_table(found: Ladder) -> dict[str, Any]:
    """The table of the methods, as the arguments of medseg.console.table."""
    costs = ("s/case", "memory MB", "parameters")
    others = found.scores[1:]
    return {
        "header": ("method", "kind", SCORE, "95% interval", *others, *costs),
        "rows": [_cells(rung, others) for rung in found.rungs],
        "right": (SCORE, *others, *costs),
    }


def tests_table(found: Ladder) -> dict[str, Any]:
    """The table of the tests, as the arguments of medseg.console.table."""
    return {
        "header": ("method", "against", "which is", "difference", "95% interval", "p (Holm)", "result"),
        "rows": [_test_cells(test) for test in found.tests],
        "right": ("difference", "p (Holm)"),
    }


def _tests(rungs: Sequence[Rung], rows: Mapping[str, Sequence[CaseRow]]) -> list[PairTest]:
    """Each method against the one before it, then against the best where that is another pair."""
    best = max(rungs, key=lambda rung: rung.mean).method
    names = [rung.method for rung in rungs]
    pairs = [(a, b, "the one before") for a, b in itertools.pairwise(names)]
    known = [{a, b} for a, b, _ in pairs]
    pairs += [(best, name, "the best") for name in names if name != best and {best, name} not in known]
    found = [_paired(rows[a], rows[b]) for a, b, _ in pairs]
    defined = [number for number, paired in enumerate(found) if paired.p is not None]
    corrected: dict[int, float] = dict(
        zip(defined, holm([float(found[n].p or 0) for n in defined]), strict=True)
    )
    return [
        PairTest(a, b, reason, paired, corrected.get(n), _verdict(paired, corrected.get(n)))
        for n, ((a, b, reason), paired) in enumerate(zip(pairs, found, strict=True))
    ]


def _paired(first: Sequence[CaseRow], second: Sequence[CaseRow]) -> Paired:
    return compare_paired(
        [row.scores[SCORE] for row in first],
        [row.scores[SCORE] for row in second],
        [row.subject for row in first],
    )


def _verdict(paired: Paired, p: float | None) -> str:
    return verdict(dataclasses.replace(paired, p=p), direction(SCORE) or 1)


def _undefined(rows: Mapping[str, Sequence[CaseRow]]) -> list[str]:
    counts = {name: sum(row.scores[SCORE] is None for row in found) for name, found in rows.items()}
    return [
        f"{name}: {SCORE} is undefined for {count} of {len(rows[name])} cases, which are left out"
        for name, count in counts.items()
        if count
    ]


def _too_few(subjects: int, tests: int) -> list[str]:
    """What so few subjects can't show."""
    if not tests:
        return []
    needed = fewest_subjects(tests)
    if subjects < needed:
        few, many = _count(subjects, "subject"), "1 test needs" if tests == 1 else f"{tests} tests need"
        return [f"with {few} no difference can be shown, however large it is: {many} at least {needed}"]
    return [f"with {subjects} subjects the intervals are likely too narrow"] * (subjects < _FEW_SUBJECTS)


def _cells(rung: Rung, others: Sequence[str]) -> tuple[str, ...]:
    entry = rung.scores[SCORE]
    interval = interval_text(entry["low"], entry["high"], int(entry["subjects"] or 0), number)
    means = [number(rung.scores.get(name, {}).get("mean")) for name in others]
    return (rung.method, rung.kind, number(entry["mean"]), interval, *means, *cost_cells(rung.cost))


def cost_cells(cost: Cost) -> tuple[str, str, str]:
    """Seconds a case, memory and parameters as text."""
    seconds = f"{cost.seconds_per_case:.{3 if cost.seconds_per_case < 1 else 1}f}"
    return seconds, f"{cost.peak_memory_mb:.0f}", f"{cost.parameters:,}".replace(",", " ")


def _test_cells(test: PairTest) -> tuple[str, ...]:
    paired = test.paired
    interval = interval_text(paired.low, paired.high, paired.subjects, signed)
    return (test.b, test.a, test.reason, signed(paired.difference), interval, p_text(test.p), test.verdict)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def p_text(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"
