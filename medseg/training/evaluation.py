"""Scores of a split: a table of cases, a summary with intervals, both as files."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from medseg.io import case_name
from medseg.io.atomic import atomic_path
from medseg.metrics import best_threshold, confusion, score_case, summarise

logger = logging.getLogger(__name__)

SCORES_CSV, SCORES_JSON = "scores.csv", "scores.json"


class CaseScores:
    """Ignite handler that scores each case inside its field of view, on the photograph's own grid.

    The field is the data set's own where it has one, else the one that medseg finds. Writes
    scores.csv (a row a case) and scores.json (mean and interval over subjects) to `output_dir` and
    logs the summary as a table. On the validation split it also finds the threshold of the best mean
    Dice; never on the test split, where choosing would be cheating.
    """

    def __init__(self, output_dir: str | Path, split: str) -> None:
        self.output_dir = Path(output_dir)
        self.split = split
        self.rows: list[dict[str, Any]] = []
        self.for_threshold: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Called by MONAI's engines for each handler."""
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _clear(self) -> None:
        self.rows.clear()
        self.for_threshold.clear()

    def _score(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            item = {**batch, **output}
            probability, prediction, truth = (_plane(item[key]) for key in ("probability", "pred", "label"))
            field = _plane(item["given_field"] if "given_field" in item else item["source_field"]) > 0
            row = {"case": case_name(batch["image"].meta["filename_or_obj"]), "subject": batch["subject"]}
            row |= score_case(probability, prediction, truth, field)
            if "label_2nd" in item:
                row["second_observer_dice"] = confusion(_plane(item["label_2nd"]), truth, field).dice
            self.rows.append(row)
            if self.split == "validation":
                self.for_threshold.append((probability, truth, field))

    def _write(self) -> None:
        self.output_dir.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(self.output_dir / SCORES_CSV) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        summary = self._summary(names[2:])
        with atomic_path(self.output_dir / SCORES_JSON) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        logger.info("%s\n%s", self.output_dir / SCORES_JSON, table(summary))

    def _summary(self, scores: list[str]) -> dict[str, Any]:
        cases = [{name: row.get(name) for name in scores} for row in self.rows]
        summary: dict[str, Any] = {
            "split": self.split,
            "scores": summarise(cases, [row["subject"] for row in self.rows]),
        }
        if self.for_threshold:
            threshold, dice = best_threshold(*(list(part) for part in zip(*self.for_threshold, strict=True)))
            summary["best_threshold"] = {"threshold": threshold, "mean_dice": dice}
        return summary


def table(summary: dict[str, Any]) -> str:
    """The summary as lines of text: score, mean, 95% interval, cases."""
    lines = [f"{'score':<22}{'mean':>8}  {'95% interval':<18}{'cases':>6}{'subjects':>10}"]
    for name, entry in summary["scores"].items():
        mean, low, high = (_number(entry[key]) for key in ("mean", "low", "high"))
        lines.append(
            f"{name:<22}{mean:>8}  {f'{low} to {high}':<18}{entry['cases']:>6}{entry['subjects']:>10}"
        )
    if "best_threshold" in summary:
        best = summary["best_threshold"]
        lines.append(
            f"threshold of the best mean Dice: {best['threshold']:.2f} (Dice {best['mean_dice']:.4f})"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plane(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.cpu())[0]
