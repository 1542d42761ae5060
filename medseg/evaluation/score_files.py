"""Scores of a split as files: scores.csv, a row for each case and label, and scores.json, the summary."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medseg import console
from medseg.evaluation.classification import question_auc, summarise_question
from medseg.evaluation.comparison_text import interval_text
from medseg.evaluation.past_runs import SCORES_CSV, SCORES_JSON, TRAINED, CaseRow
from medseg.evaluation.scoring import Question
from medseg.io.atomic import atomic_path
from medseg.metrics.overlap import summarise

logger = logging.getLogger(__name__)


def write_scores(
    rows: Sequence[CaseRow],
    folder: Path,
    about: Mapping[str, Any],
    question: Question | None = None,
) -> None:
    """Write scores.csv and scores.json and log the summary as a table.

    scores.csv has the columns case, subject, the groups that any case has, label if there are several, and
    the scores. scores.json has the mean scores, the names of the groups and the scores by group (by_group).
    If cases have a probability and a truth, it also has the question and, under the question's name, the
    result of summarise_question.

    Args:
        rows: one for each case.
        folder: must exist.
        about: further entries of scores.json.
        question: the image-level question that the method answers besides the mask.
    """
    named = dict.fromkeys(name for row in rows for name in row.groups)
    groups = sorted(named, key=lambda name: name == TRAINED)  # a data set's own first
    _write_csv(rows, folder / SCORES_CSV, groups)
    summary = {**about, "scores": _summary(rows), "groups": groups}
    classified = summarise_question(_flat(rows), question) if question else None
    if question and classified:
        summary |= {question.name: classified, "question": asdict(question)}
    if groups:
        summary["by_group"] = {name: _by_value(rows, name, question) for name in groups}
    write_json(folder / SCORES_JSON, summary)
    logger.info("%s\n%s", folder / SCORES_JSON, table(summary))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(summary: dict[str, Any]) -> str:
    """The summary as lines of text: score, mean, 95% interval, cases."""
    header = ("score", "mean", "95% interval", "cases", "subjects")
    rows = [
        (
            name,
            _number(entry["mean"]),
            interval_text(entry["low"], entry["high"], entry["subjects"], _number),
            str(entry["cases"]),
            str(entry["subjects"]),
        )
        for name, entry in summary["scores"].items()
    ]
    lines = [console.table(rows, header, right=("mean", "cases", "subjects"))]
    if "question" in summary:
        lines.append(_question_line(summary[summary["question"]["name"]], Question(**summary["question"])))
    if "best_threshold" in summary:
        best = summary["best_threshold"]
        lines.append(
            f"threshold of the best mean Dice: {best['threshold']:.2f} (Dice {best['mean_dice']:.4f})"
        )
    return "\n".join(lines)


def _write_csv(rows: Sequence[CaseRow], path: Path, groups: Sequence[str]) -> None:
    labels = ["label"] if any(set(row.by_label) != {""} for row in rows) else []
    scores = dict.fromkeys(name for row in rows for found in row.by_label.values() for name in found)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", "subject", *groups, *labels, *scores])
        writer.writeheader()
        for row in rows:
            for label, found in row.by_label.items():
                about = {"case": row.case, "subject": row.subject, **row.groups}
                writer.writerow({**about, **({"label": label} if labels else {}), **found})


def _flat(rows: Sequence[CaseRow]) -> list[dict[str, Any]]:
    return [{"subject": row.subject, **row.scores} for row in rows]


def _summary(rows: Sequence[CaseRow]) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return summarise(
        [{name: row.scores.get(name) for name in names} for row in rows], [r.subject for r in rows]
    )


def _by_value(rows: Sequence[CaseRow], column: str, question: Question | None) -> dict[str, Any]:
    """Each value of a column with the summary of its cases; cases without a value are left out."""
    groups: dict[str, Any] = {}
    for value in sorted({row.groups[column] for row in rows if row.groups.get(column)}):
        members = [row for row in rows if row.groups.get(column) == value]
        groups[value] = {
            "cases": len(members),
            "subjects": len({row.subject for row in members}),
            "scores": _summary(members),
        }
        area = question_auc(_flat(members), question) if question else None
        if question and area and area["area"] is not None:
            groups[value][f"{question.name}_roc_auc"] = area
    return groups


def _question_line(summary: dict[str, Any], question: Question) -> str:
    area = summary["roc_auc"]
    interval = "no interval" if area["low"] is None else f"{_number(area['low'])} to {_number(area['high'])}"
    errors = [_number(part and part["calibration_error"]) for part in (summary["before"], summary["after"])]
    cases = f"{summary['positive']} of {summary['cases']} {question.positive}"
    return (
        f"{question.name}: ROC area {_number(area['area'])} ({interval}; {cases}), "
        f"temperature {_number(summary['temperature'])}, calibration error {errors[0]}, with it {errors[1]}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
