"""A comparison of two runs in words: the sentence of its verdict, its warnings, its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from medseg import console
from medseg.evaluation.past_runs import CaseRow, RunScores
from medseg.metrics.significance import FEWEST_SUBJECTS, NO_DIFFERENCE, Paired

# Columns of scores.csv that depend on the data alone begin so: equal in both runs, or the references are not.
_OF_THE_DATA = ("second_observer_", "is_", "has_")

_VALUE_WIDTH = 40
_FEW_SUBJECTS = 20  # below, a percentile interval is too narrow, see bootstrap_interval


@dataclass(frozen=True)
class CaseDifference:
    """The chosen score of one case in both runs; None where it is undefined."""

    case: str
    subject: str
    a: float | None
    b: float | None
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    `verdict` is "better", "worse" or "no difference shown", by `score` alone; `sentence` says it with
    numbers. `scores` holds every score of both runs, `directions` 1 where higher is better, -1 where
    lower is, None where medseg doesn't know. `parameters` are those that differ: name to the values of A
    and B, None where one has none. `cases` are those of both runs.
    """

    a: str
    b: str
    sources: tuple[str, str]
    score: str
    verdict: str
    sentence: str
    scores: dict[str, Paired]
    directions: dict[str, int | None]
    parameters: dict[str, tuple[str | None, str | None]]
    cases: tuple[CaseDifference, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return table(self)


def is_of_the_data(name: str) -> bool:
    """Whether a column of scores.csv tells what the data are, not what a method made of them."""
    return name.startswith(_OF_THE_DATA)


def sentence(score: str, outcome: str, result: Paired) -> str:
    """The verdict with its numbers, and what it can't say."""
    interval = "no interval from one subject"
    if result.low is not None:
        interval = f"95% interval {_signed(result.low)} to {_signed(result.high)}"
    numbers = (
        f"mean {score} {_plain(result.mean_a)} in A and {_plain(result.mean_b)} in B, "
        f"difference {_signed(result.difference)} ({interval}; "
        f"Wilcoxon p = {_p(result.p)}; {_count(result.subjects, 'subject')}, {_count(result.cases, 'case')})"
    )
    if outcome != NO_DIFFERENCE:
        return f"B is {outcome} than A: {numbers}."
    if result.changed == 0:
        reason = "All differences of the subjects are 0, so p = 1."
    elif result.changed < FEWEST_SUBJECTS:
        few = _count(result.subjects, "subject")
        few += f", of whom {result.changed} differ," if result.changed < result.subjects else ""
        reason = f"With {few} no result can reach p < 0.05: at least {FEWEST_SUBJECTS} must differ."
    else:
        reason = "That does not prove that they are equal."
    return f"No difference shown between A and B: {numbers}. {reason}"


def warnings(
    first: RunScores,
    second: RunScores,
    pairs: Sequence[tuple[CaseRow, CaseRow]],
    score: str,
    result: Paired,
) -> list[str]:
    """What a reader should know before believing the numbers."""
    found = [f"Run {side}: {text}." for side, run in (("A", first), ("B", second)) for text in run.warnings]
    shared = {a.case for a, _ in pairs}
    found += [*_of_one_side("A", first, "B", shared), *_of_one_side("B", second, "A", shared)]
    before, after = first.dataset_digest, second.dataset_digest
    if before and after and before != after:
        found.append(f"The runs were scored on different versions of the data ({before} and {after}).")
    for name in filter(is_of_the_data, pairs[0][0].scores):
        if any(a.scores.get(name) != b.scores.get(name) for a, b in pairs):
            found.append(f"{name} differs between the runs: they were not scored against the same masks.")
    for side, row in (("A", 0), ("B", 1)):
        empty = [pair[row].case for pair in pairs if pair[row].scores[score] is None]
        if empty:
            found.append(f"{_cases(empty)} without {score} in run {side} and left out.")
    odd = sorted(set(pairs[0][0].scores) ^ set(pairs[0][1].scores))
    if odd:
        found.append(f"Scores in one run only, not compared: {', '.join(odd)}.")
    if 1 < result.subjects < _FEW_SUBJECTS:
        found.append(f"With {result.subjects} subjects the interval is likely too narrow.")
    return found


def _of_one_side(side: str, run: RunScores, other: str, shared: set[str]) -> Iterator[str]:
    alone = [row.case for row in run.rows if row.case not in shared]
    if alone:
        doubt = f"If run {other} failed there, it looks too good."
        yield f"{_cases(alone)} only in run {side} and left out. {doubt}"
    known = [row.case for row in run.rows if row.groups.get("trained") == "yes" and row.case in shared]
    if known:
        yield f"{_cases(known)} among those that trained the weights of run {side}, which looks too good."


def table(comparison: Comparison) -> str:
    """The comparison as lines of text: runs, parameters that differ, scores, warnings, verdict."""
    lines = [f"A: {comparison.a} ({comparison.sources[0]})", f"B: {comparison.b} ({comparison.sources[1]})"]
    if comparison.parameters:
        parameters = [(name, _short(a), _short(b)) for name, (a, b) in comparison.parameters.items()]
        lines += ["", console.table(parameters, ("parameter", "A", "B"))]
    numbers = ("mean A", "mean B", "B - A", "p", "cases", "subjects")
    header = ("score", *numbers[:3], "95% interval", *numbers[3:])
    scores = [(name, *_cells(entry)) for name, entry in comparison.scores.items()]
    lines += ["", console.table(scores, header, right=numbers)]
    lines += ["", *(f"warning: {warning}" for warning in comparison.warnings), comparison.sentence]
    return "\n".join(lines)


def interval_text(
    low: float | None, high: float | None, subjects: int, written: Callable[[float], str]
) -> str:
    """The interval of a mean; one subject gives none, because nothing tells how much subjects differ."""
    if low is None or high is None:
        return "none (1 subject)" if subjects == 1 else "-"
    return f"{written(low)} to {written(high)}"


def _cells(entry: Paired) -> tuple[str, ...]:
    interval = interval_text(entry.low, entry.high, entry.subjects, _signed)
    means = (_plain(entry.mean_a), _plain(entry.mean_b), _signed(entry.difference))
    return (*means, interval, _p(entry.p), str(entry.cases), str(entry.subjects))


def _cases(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{_count(len(names), 'case')} ({shown}) {'is' if len(names) == 1 else 'are'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(text: str | None) -> str:
    """A parameter's value on one line; the page has the whole."""
    line = "-" if text is None else " ".join(text.split())
    return line if len(line) <= _VALUE_WIDTH else line[: _VALUE_WIDTH - 3] + "..."


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"
