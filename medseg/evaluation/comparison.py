"""Is run B better than run A? A paired comparison with an interval, a test and a page for the reader."""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from medseg.errors import DataError, UsageError, did_you_mean
from medseg.evaluation.comparison_text import CaseDifference, Comparison, is_of_the_data, sentence, warnings
from medseg.evaluation.past_runs import CaseRow, RunScores, load_run, picture
from medseg.io.atomic import atomic_path
from medseg.metrics.significance import (
    compare_paired,
    difference,
    direction,
    verdict,
)
from medseg.reports.comparison import write_comparison_page
from medseg.reports.record import plain

logger = logging.getLogger(__name__)

COMPARISON_JSON, COMPARISON_CSV, COMPARISON_HTML = "comparison.json", "comparison.csv", "comparison.html"
SHOWN_CASES = (
    3  # cases with pictures: so many with the largest losses, and so many with the worst scores in B
)


def compare_runs(first: str, second: str, output_dir: str | Path, score: str = "dice") -> Comparison:
    """Compare two runs and write comparison.json, comparison.csv (a row for each case) and comparison.html.

    Args:
        first: run A, as for `load_run`.
        second: run B, as for `load_run`.
        output_dir: created if it is missing.
        score: the score that decides.

    Raises:
        UsageError, DataError, MedsegError: see `load_run` and `compare`.
    """
    runs = load_run(first), load_run(second)
    comparison = compare(*runs, score)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    record = plain(asdict(comparison))
    with atomic_path(folder / COMPARISON_JSON) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    _write_csv(folder / COMPARISON_CSV, comparison)
    shown = worst_cases(comparison)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = {case: tuple(picture(run, case, Path(scratch)) for run in runs) for case in shown}
        write_comparison_page(folder / COMPARISON_HTML, record, worst=shown, pictures=pictures)
    logger.info("%s", folder / COMPARISON_HTML)
    return comparison


def compare(first: RunScores, second: RunScores, score: str = "dice") -> Comparison:
    """Compare B with A on the cases that both have.

    Args:
        first: run A.
        second: run B.
        score: the score that decides; the other scores are for information.

    Raises:
        UsageError: a run lacks the score, or medseg does not know whether high or low values are good.
        DataError: the runs have no case in common, a case has two subjects, or no case has the score in both.
    """
    pairs = _pairs(first, second)
    names = [name for name in pairs[0][0].scores if name in pairs[0][1].scores and not is_of_the_data(name)]
    sign = _direction(score, names)
    subjects = [a.subject for a, _ in pairs]
    scores = {
        name: compare_paired([a.scores[name] for a, _ in pairs], [b.scores[name] for _, b in pairs], subjects)
        for name in names
    }
    cases = tuple(_case(a, b, score) for a, b in pairs)
    _require_comparable(score, sign, cases)
    outcome = verdict(scores[score], sign)
    return Comparison(
        a=first.name,
        b=second.name,
        sources=(first.source, second.source),
        score=score,
        verdict=outcome,
        sentence=sentence(score, outcome, scores[score]),
        scores=scores,
        directions={name: direction(name) for name in names},
        parameters=differing(first, second),
        cases=cases,
        warnings=tuple(warnings(first, second, pairs, score, scores[score])),
    )


def differing(first: RunScores, second: RunScores) -> dict[str, tuple[str | None, str | None]]:
    """The parameters that differ between the runs: name to values in A and B, None where a run lacks it."""
    a, b = first.parameters, second.parameters
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def worst_cases(comparison: Comparison) -> dict[str, list[str]]:
    """The cases to look at, with the reasons: the largest losses from A to B and the worst scores in B."""
    sign = comparison.directions[comparison.score] or 1
    gains = [
        (sign * case.difference, sign * case.b, case.case)
        for case in comparison.cases
        if case.difference is not None and case.b is not None
    ]
    chosen: dict[str, list[str]] = {}
    for gain, _, name in sorted(gains)[:SHOWN_CASES]:
        if gain < 0:
            chosen.setdefault(name, []).append("largest loss from A to B")
    for _, _, name in sorted(gains, key=lambda entry: entry[1])[:SHOWN_CASES]:
        chosen.setdefault(name, []).append("worst in B")
    return chosen


def _pairs(first: RunScores, second: RunScores) -> list[tuple[CaseRow, CaseRow]]:
    """The cases that both runs have, in the order of A."""
    of_b = {row.case: row for row in second.rows}
    pairs = [(row, of_b[row.case]) for row in first.rows if row.case in of_b]
    if not pairs:
        got = f"none among the {len(first.rows)} of {first.name} and the {len(second.rows)} of {second.name}"
        raise DataError("cases that both runs have", got=got, advice="Evaluate both runs on the same data.")
    for a, b in pairs:
        if a.subject != b.subject:
            raise DataError(
                "the same subject for a case in both runs",
                got=f"case {a.case} with subject {a.subject} in A and {b.subject} in B",
                advice="Evaluate both runs on the same data.",
            )
    return pairs


def _direction(score: str, names: Sequence[str]) -> int:
    if score not in names:
        advice = did_you_mean(score, names) if names else "Score both runs with the same version of medseg."
        raise UsageError("a score that both runs have", got=score, advice=advice)
    sign = direction(score)
    if sign is None:  # a guess could call a loss a gain
        known = [name for name in names if direction(name)]
        advice = f"Choose one of {', '.join(known)}, or add its direction to medseg/metrics/significance.py."
        raise UsageError("a score whose direction (high or low is good) is known", got=score, advice=advice)
    return sign


def _case(a: CaseRow, b: CaseRow, score: str) -> CaseDifference:
    before, after = a.scores[score], b.scores[score]
    change = None if before is None or after is None else difference(before, after)
    return CaseDifference(a.case, a.subject, before, after, change)


def _require_comparable(score: str, sign: int, cases: Sequence[CaseDifference]) -> None:
    if all(case.difference is None for case in cases):
        advice = "Choose another score."
        raise DataError(f"a case with {score} in both runs", got=f"none of {len(cases)}", advice=advice)
    below = [case.case for case in cases if min(case.a or 0.0, case.b or 0.0) < 0]
    if sign < 0 and below:
        raise DataError(
            f"values of {score} that are not negative, since lower is better",
            got=f"a negative value for {below[0]}",
            advice="Use the magnitude of the error: the lowest signed error is not the best.",
        )


def _write_csv(path: Path, comparison: Comparison) -> None:
    score = comparison.score
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "subject", f"{score}_a", f"{score}_b", "difference"])
        writer.writerows([c.case, c.subject, c.a, c.b, c.difference] for c in comparison.cases)
