"""Scores of a split: a table of cases, a summary with intervals, a picture a case, all as files."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from medseg.io import case_names, read_volume
from medseg.io.atomic import atomic_path
from medseg.io.raster import encode_jpeg
from medseg.metrics import best_threshold, confusion, score_case, summarise
from medseg.reports.overlay import draw_errors
from medseg.training.dataset import data_digest
from medseg.training.distributed import gather

logger = logging.getLogger(__name__)

SCORES_CSV, SCORES_JSON, PARAMETERS_JSON, CASES = "scores.csv", "scores.json", "parameters.json", "cases"
PICTURE_PX = 1024


class CaseScores:
    """Ignite handler that scores each case inside its field of view, on the photograph's own grid.

    The field is the data set's own where it has one, else the one that medseg finds. Writes
    scores.csv (a row a case), scores.json (mean and interval over subjects) and parameters.json to
    `output_dir` and logs the summary as a table. The validator's data set is a PreparedDataset.
    On the validation split it also finds the threshold of the best mean Dice; never on the test split,
    where choosing would be cheating. Of several processes each scores its share, the first writes.

    Args:
        output_dir: gets the files.
        split: training, validation or test.
        parameters: flattened configuration, for comparisons.
    """

    def __init__(
        self, output_dir: str | Path, split: str, parameters: Mapping[str, str] | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.split = split
        self.parameters = dict(parameters or {})
        self.names: dict[str, str] = {}
        self.digest = ""
        self.rows: list[dict[str, Any]] = []
        self.for_threshold: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Called by MONAI's engines for each handler."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def ranked(self) -> list[str]:
        """The names of the cases from the lowest Dice to the highest; undefined ones count as lowest."""
        return [row["case"] for row in sorted(self.rows, key=lambda row: row["dice"] or 0.0)]

    def _start(self, engine: Any) -> None:
        self.names = _names(engine)
        self.digest = data_digest(engine.data_loader.dataset)
        self.rows.clear()
        self.for_threshold.clear()
        self.output_dir.mkdir(parents=True, exist_ok=True)

    def _score(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            item = {**batch, **output}
            source = batch["image"].meta["filename_or_obj"]
            probability, prediction, truth = (_plane(item[key]) for key in ("probability", "pred", "label"))
            field = _field(item)
            row = {"case": self.names[source], "subject": batch["subject"]}
            row |= score_case(probability, prediction, truth, field)
            if "label_2nd" in item:
                row["second_observer_dice"] = confusion(_plane(item["label_2nd"]), truth, field).dice
            self.rows.append(row)
            if self.split == "validation":
                self.for_threshold.append((probability, truth, field))

    def _write(self) -> None:
        self.rows = sorted(gather(self.rows), key=lambda row: row["case"])
        if idist.get_rank() != 0:
            return
        best = {}
        if self.for_threshold and idist.get_world_size() == 1:
            threshold, dice = best_threshold(*(list(part) for part in zip(*self.for_threshold, strict=True)))
            best = {"best_threshold": {"threshold": threshold, "mean_dice": dice}}
        write_scores(self.rows, self.output_dir, {"split": self.split, **best})
        write_json(self.output_dir / PARAMETERS_JSON, {**self.parameters, "dataset_digest": self.digest})


class CasePictures:
    """Ignite handler that draws agreement, misses and false alarms of each case: cases/<case>.jpg."""

    def __init__(self, output_dir: str | Path) -> None:
        self.folder = Path(output_dir) / CASES
        self.names: dict[str, str] = {}

    def attach(self, engine: Engine) -> None:
        """Called by MONAI's engines for each handler."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def _start(self, engine: Any) -> None:
        self.names = _names(engine)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _draw(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            source = batch["image"].meta["filename_or_obj"]
            prediction, truth = (_plane(output[key]) for key in ("pred", "label"))
            errors = draw_errors(read_volume(source).array, prediction, truth, _field({**batch, **output}))
            with atomic_path(self.folder / f"{self.names[source]}.jpg") as temporary:
                temporary.write_bytes(encode_jpeg(errors, PICTURE_PX))


def write_scores(rows: Sequence[Mapping[str, Any]], folder: Path, about: Mapping[str, Any]) -> None:
    """Write scores.csv and scores.json and log the summary as a table.

    Args:
        rows: one a case: case, subject and then the scores.
        folder: must exist.
        about: further entries of scores.json.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(folder / SCORES_CSV) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    cases = [{name: row.get(name) for name in names[2:]} for row in rows]
    summary = {**about, "scores": summarise(cases, [row["subject"] for row in rows])}
    write_json(folder / SCORES_JSON, summary)
    logger.info("%s\n%s", folder / SCORES_JSON, table(summary))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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


def _names(engine: Any) -> dict[str, str]:
    """Path to case name, with all processes' cases in view: two of one name must not share a picture."""
    return case_names(sorted(gather([item["image"] for item in engine.data_loader.dataset.data])))


def _field(item: Mapping[str, Any]) -> np.ndarray:
    return _plane(item["given_field"] if "given_field" in item else item["source_field"]) > 0


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plane(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.cpu())[0]
