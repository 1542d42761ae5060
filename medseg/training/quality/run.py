"""Collect, check, fit and store: the prediction of quality of one method, by one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.bundle import Bundle, sha256
from medseg.data.manifests import load_items
from medseg.errors import DataError, InputError
from medseg.evaluation.score_files import write_json
from medseg.io.atomic import atomic_path
from medseg.pipeline import Segmenter
from medseg.quality.prediction import Fitted, novelty
from medseg.quality.prediction.predictor import save
from medseg.training.quality.collect import REAL, Row, collect
from medseg.training.quality.fit import are_checked, check, fit, with_novelty
from medseg.training.quality.plan import Plan, read_plan

ROWS, FIGURES = "rows.jsonl", "figures.json"
MOST_REFERENCE = 600  # training images that new ones are compared with
Reference = tuple[list[dict[str, float]], list[np.ndarray], list[str]]  # measurements, features, groups


@dataclass(frozen=True)
class Done:
    """What a fit made: the file, its SHA-256, and figures of cases that it left out."""

    file: Path
    sha256: str
    figures: list[dict[str, Any]]


def fit_quality(bundle: Bundle, method: str, trainings: str | Path | None, folder: Path) -> Done:
    """Fit the prediction of quality of a method as its plan says.

    Args:
        bundle, method: of the task.
        trainings: see medseg.training.quality.collect.collect.
        folder: gets rows.jsonl, which lets an interrupted call go on, figures.json and <method>.quality.npz.

    Raises:
        UnsuitableError, BundleError: there is no plan, or a wrong one.
        UsageError, DataError: see collect and fit.
    """
    plan = read_plan(bundle, method)
    rows = with_novelty(collect(bundle, method, plan, trainings, folder / ROWS))
    figures = check(rows, plan.labels, plan.checked)
    write_json(folder / FIGURES, {"figures": figures, "rows": len(rows)})
    segmenter = Segmenter(str(bundle.root), "cpu", method=method)
    about = {
        "task": bundle.task,
        "method": method,
        "weights_sha256": segmenter.weights_sha256,
        "figures": figures,
        "rows": len(rows),
        "plan": dataclasses.asdict(plan),
    }
    # What is checked fits nothing, in what ships either.
    fitting = [row for row, left in zip(rows, are_checked(rows, plan.checked), strict=True) if not left]
    fitted = with_reference(fit(fitting, plan.labels, about), segmenter, plan, rows)
    file = folder / f"{method}.quality.npz"
    with atomic_path(file) as temporary:
        temporary.write_bytes(save(fitted))
    return Done(file, sha256(file), figures)


def with_reference(fitted: Fitted, segmenter: Segmenter, plan: Plan, rows: Sequence[Row]) -> Fitted:
    """The predictor with what the images that the weights learnt from measure.

    A method without weights has learnt from none: its reference are the real images of the rows.
    """
    measured, features, groups = _reference(segmenter, plan) if segmenter.weights else _of_rows(rows)
    arrays = dict(fitted.arrays)
    if len(features) == len(groups) and len(set(groups)) > 1:
        known = novelty.describe(np.stack(features), groups)
        known.pop("distances_in_order")
        arrays |= {f"novelty/{name}": array for name, array in known.items()}
        arrays["reference/feature_distance"] = known["distances"]
    for name in sorted({name for measures in measured for name in measures}):
        values = [measures[name] for measures in measured if name in measures]
        arrays[f"reference/{name}"] = np.sort(np.array(values, dtype=np.float64))
    return Fitted(fitted.about, arrays)


def _reference(segmenter: Segmenter, plan: Plan) -> Reference:
    items = []
    for manifest in plan.manifests:
        for split in plan.reference:
            try:
                items += load_items(manifest, split, ["image", "subject", "data_set"])
            except DataError:
                continue
    step = max(1, -(-len(items) // MOST_REFERENCE))
    measured: list[dict[str, float]] = []
    features: list[np.ndarray] = []
    groups: list[str] = []
    for item in items[::step]:
        try:
            case = segmenter.case(item["image"])
        except InputError:
            continue
        _, measurements, found = segmenter.signals(case)
        measured.append(
            {
                name: float(entry["value"])
                for name, entry in measurements.items()
                if _is_number(entry["value"])
            }
        )
        if found is not None:
            features.append(found)
        groups.append(f"{item['data_set']}/{item['subject']}")
    return measured, features, groups


def _of_rows(rows: Sequence[Row]) -> Reference:
    real = [row for row in rows if row.change == REAL]
    return [row.measurements for row in real], [], [row.group for row in real]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
