"""Scores of a split: a table of cases, a summary with intervals, a picture a case, all as files."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Mapping, Sequence
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
from medseg.reports.volume_errors import draw_volume_errors
from medseg.surface import score_labels
from medseg.training.dataset import data_digest
from medseg.training.distributed import gather
from medseg.training.malignancy import malignancy_auc, summarise_malignancy
from medseg.training.past_runs import GROUPS

logger = logging.getLogger(__name__)

SCORES_CSV, SCORES_JSON, PARAMETERS_JSON, CASES = "scores.csv", "scores.json", "parameters.json", "cases"
PICTURE_PX, VOLUME_PICTURE_PX = 1024, 2048  # long side; of a volume three slices side by side

# A case: all that MONAI's evaluator has of it after the postprocessing, tensors (channel, ...) by key.
Item = Mapping[str, Any]
Score = Callable[[Item], Mapping[str, float | None]]
Draw = Callable[[Item], bytes]


def score_photograph(item: Item) -> dict[str, float | None]:
    """Scores of one label inside the field of view, on the photograph's own grid; see score_case.

    The field is the data set's own where it has one, else the one that medseg finds.

    Args:
        item: probability, pred and label; given_field or source_field; label_2nd where there is one.
    """
    prediction, truth, field = _plane(item["pred"]), _plane(item["label"]), _field(item)
    scores = score_case(_plane(item["probability"]), prediction, truth, field)
    if "label_2nd" in item:
        scores["second_observer_dice"] = confusion(_plane(item["label_2nd"]), truth, field).dice
    return scores


def score_volume(
    item: Item,
    *,
    labels: Mapping[int | str, str],
    groups: Mapping[str, Sequence[str]] | None = None,
    tolerance_mm: float = 2.0,
) -> dict[str, float | None]:
    """Scores of each label, on the scan's own grid; see score_labels.

    Args:
        item: pred and label, (1, i, j, k) label values; image, whose meta data has the source_affine.
        labels: value to name, of those to score.
        groups: further names, each for several labels taken together.
        tolerance_mm: distance up to which surfaces agree.
    """
    named = {int(value): name for value, name in labels.items()}
    prediction, truth = _label_map(item["pred"]), _label_map(item["label"])
    spacing_mm = np.linalg.norm(_affine(item)[:3, :3], axis=0).tolist()
    return score_labels(prediction, truth, named, spacing_mm, groups=groups, tolerance_mm=tolerance_mm)


def draw_photograph(item: Item) -> bytes:
    """Agreement, misses and false alarms as a JPEG; `item` as for score_photograph, with its image."""
    picture = read_volume(item["image"].meta["filename_or_obj"]).array
    errors = draw_errors(picture, _plane(item["pred"]), _plane(item["label"]), _field(item))
    return encode_jpeg(errors, PICTURE_PX)


def draw_volume(item: Item) -> bytes:
    """Agreement, misses and false alarms on three slices, as a JPEG.

    Args:
        item: as for score_volume, and source_image, the scan as it was read; without one it is read again.
    """
    if "source_image" in item:
        scan = np.asarray(item["source_image"].cpu())
    else:
        scan = read_volume(item["image"].meta["filename_or_obj"]).array
    maps = _label_map(item["pred"]), _label_map(item["label"])
    return encode_jpeg(draw_volume_errors(scan, *maps, _affine(item)), VOLUME_PICTURE_PX)


class CaseScores:
    """Ignite handler that scores each case.

    Writes scores.csv (a row a case), scores.json (mean and interval over subjects) and parameters.json to
    `output_dir` and logs the summary as a table. The validator's data set is a PreparedDataset.
    On the validation split of photographs it also finds the threshold of the best mean Dice; never on the
    test split, where choosing would be cheating. Of several processes each scores its share, the first
    writes.

    Args:
        output_dir: gets the files.
        split: training, validation or test.
        parameters: flattened configuration, for comparisons.
        score: a case to its scores, "dice" among them; None where one is not defined.
    """

    def __init__(
        self,
        output_dir: str | Path,
        split: str,
        parameters: Mapping[str, str] | None = None,
        score: Score = score_photograph,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.split = split
        self.parameters = dict(parameters or {})
        self.score = score
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
            groups = {name: batch[name] for name in GROUPS if name in batch}
            about = {"case": self.names[source], "subject": batch["subject"], **groups}
            self.rows.append({**about, **self.score(item)})
            if self.split == "validation" and "probability" in item:
                self.for_threshold.append((_plane(item["probability"]), _plane(item["label"]), _field(item)))

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
    """Ignite handler that draws agreement, misses and false alarms of each case: cases/<case>.jpg.

    Args:
        output_dir: gets the folder cases.
        draw: a case to its picture, a JPEG.
    """

    def __init__(self, output_dir: str | Path, draw: Draw = draw_photograph) -> None:
        self.folder = Path(output_dir) / CASES
        self.draw = draw
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
            picture = self.draw({**batch, **output})
            name = self.names[batch["image"].meta["filename_or_obj"]]
            with atomic_path(self.folder / f"{name}.jpg") as temporary:
                temporary.write_bytes(picture)


def write_scores(rows: Sequence[Mapping[str, Any]], folder: Path, about: Mapping[str, Any]) -> None:
    """Write scores.csv and scores.json and log the summary as a table.

    Where cases have one of the columns GROUPS, scores.json has their scores by group too (by_group); where
    they have a probability of malignancy and the truth, its quality (malignancy, see summarise_malignancy).

    Args:
        rows: one a case: case, subject, texts of GROUPS, and then the scores.
        folder: must exist.
        about: further entries of scores.json.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(folder / SCORES_CSV) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    scores = [name for name in names if name not in ("case", "subject", *GROUPS)]
    summary = {**about, "scores": _summary(rows, scores)}
    malignancy = summarise_malignancy(rows)
    groups = {name: _by_value(rows, name, scores) for name in GROUPS if name in names}
    summary |= {"malignancy": malignancy} if malignancy else {}
    summary |= {"by_group": groups} if groups else {}
    write_json(folder / SCORES_JSON, summary)
    logger.info("%s\n%s", folder / SCORES_JSON, table(summary))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(summary: dict[str, Any]) -> str:
    """The summary as lines of text: score, mean, 95% interval, cases."""
    width = max(22, *map(len, summary["scores"]))
    lines = [f"{'score':<{width}}{'mean':>8}  {'95% interval':<18}{'cases':>6}{'subjects':>10}"]
    for name, entry in summary["scores"].items():
        mean, low, high = (_number(entry[key]) for key in ("mean", "low", "high"))
        lines.append(
            f"{name:<{width}}{mean:>8}  {f'{low} to {high}':<18}{entry['cases']:>6}{entry['subjects']:>10}"
        )
    if "malignancy" in summary:
        lines.append(_malignancy_line(summary["malignancy"]))
    if "best_threshold" in summary:
        best = summary["best_threshold"]
        lines.append(
            f"threshold of the best mean Dice: {best['threshold']:.2f} (Dice {best['mean_dice']:.4f})"
        )
    return "\n".join(lines)


def _summary(rows: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> dict[str, Any]:
    return summarise([{name: row.get(name) for name in scores} for row in rows], [r["subject"] for r in rows])


def _by_value(rows: Sequence[Mapping[str, Any]], column: str, scores: Sequence[str]) -> dict[str, Any]:
    """Value of a column to the summary of its cases; cases without a value are in none."""
    groups: dict[str, Any] = {}
    for value in sorted({row[column] for row in rows if row.get(column)}):
        members = [row for row in rows if row.get(column) == value]
        groups[value] = {
            "cases": len(members),
            "subjects": len({row["subject"] for row in members}),
            "scores": _summary(members, scores),
        }
        area = malignancy_auc(members)
        groups[value] |= {"malignancy_roc_auc": area} if area["area"] is not None else {}
    return groups


def _names(engine: Any) -> dict[str, str]:
    """Path to case name, with all processes' cases in view: two of one name must not share a picture."""
    return case_names(sorted(gather([item["image"] for item in engine.data_loader.dataset.data])))


def _field(item: Mapping[str, Any]) -> np.ndarray:
    """The data set's own field of view, else the one that was found, else the whole picture."""
    field = next((item[key] for key in ("given_field", "source_field") if key in item), None)
    return np.ones(_plane(item["label"]).shape, dtype=bool) if field is None else _plane(field) > 0


def _malignancy_line(summary: dict[str, Any]) -> str:
    area, low, high = (_number(summary["roc_auc"][key]) for key in ("area", "low", "high"))
    errors = [_number(part and part["calibration_error"]) for part in (summary["before"], summary["after"])]
    cases = f"{summary['malignant']} of {summary['cases']} malignant"
    return (
        f"malignancy: ROC area {area} ({low} to {high}; {cases}), "
        f"temperature {_number(summary['temperature'])}, calibration error {errors[0]}, with it {errors[1]}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plane(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.cpu())[0]


def _label_map(tensor: Any) -> np.ndarray:
    return _plane(tensor).astype(np.uint8)


def _affine(item: Item) -> np.ndarray:
    return np.asarray(item["image"].meta["source_affine"], dtype=float)
