"""Score a method on a split: each case's mask, as `medseg segment` would write it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np

from medseg.bundle import (
    inference_files,
    inference_overrides,
    lineage_of,
    open_bundle,
    read_method,
    require_data,
    trained_values,
)
from medseg.case import Case
from medseg.data.cache import FileDigests, combine
from medseg.evaluation.past_runs import PARAMETERS_JSON, PICTURES, TRAINED, CaseRow
from medseg.evaluation.references import Reference, read_reference
from medseg.evaluation.score_files import write_json, write_scores
from medseg.evaluation.scoring import Scoring
from medseg.inference.distributed import gather, share
from medseg.io import case_names
from medseg.io.atomic import atomic_path
from medseg.metrics.overlap import best_threshold
from medseg.pipeline import Segmenter

logger = logging.getLogger(__name__)


def evaluate(
    segmenter: Segmenter,
    items: Sequence[Mapping[str, Any]],
    *,
    output_dir: str | Path,
    split: str,
    scoring: Scoring,
    parameters: Mapping[str, str] | None = None,
) -> list[CaseRow]:
    """Score the masks that a segmenter makes for the items of a split.

    output_dir gets scores.csv (a row for each case and label), scores.json (mean and interval over subjects),
    parameters.json and cases/<case>.jpg (agreement, misses and false alarms). On the validation split of
    photographs it also finds the threshold with the best mean Dice, never on the test split, where a choice
    would bias the score. Cases that the weights were trained on are marked in the column `trained`, with a
    warning. Each of several processes scores its share; the first one writes.

    Args:
        segmenter: makes the masks.
        items: items of medseg.data.manifests.load_items.
        output_dir: created if it is missing.
        split: training, validation or test.
        scoring: the scoring of the task.
        parameters: flattened configuration, for comparisons.

    Returns:
        A row for each case, sorted by name.

    Raises:
        MedsegError: an image or a reference can't be read, or an image is refused. A case that fails must not
            be left out of the mean.
    """
    folder = Path(output_dir)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    names = case_names(sorted(str(item["image"]) for item in items))
    lineage = lineage_of(segmenter.weights)
    marked = any(lineage.includes(item) for item in items)
    rows: list[CaseRow] = []
    for_threshold: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for item in share(items) if idist.get_world_size() > 1 else items:
        case, reference = _case(segmenter, item)
        name = names[str(item["image"])]
        groups = {key: str(item[key]) for key in scoring.groups if item.get(key)}
        groups |= {TRAINED: "yes" if lineage.includes(item) else "no"} if marked else {}
        scores = {label: dict(found) for label, found in scoring.score(case, reference).items()}
        rows.append(CaseRow(name, str(item.get("subject", name)), scores, groups))
        with atomic_path(folder / PICTURES / f"{name}.jpg") as temporary:
            temporary.write_bytes(scoring.draw(case, reference))
        if split == "validation" and "probability" in case.extras:
            for_threshold.append(_for_threshold(case, reference))
    rows = sorted(gather(rows), key=lambda row: row.case)
    if idist.get_rank() == 0:
        about: dict[str, Any] = {"split": split, "method": segmenter.method.name}
        if for_threshold and idist.get_world_size() == 1:
            columns = (list(part) for part in zip(*for_threshold, strict=True))
            threshold, dice = best_threshold(*columns)
            about["best_threshold"] = {"threshold": threshold, "mean_dice": dice}
        write_scores(rows, folder, about, scoring.question)
        write_json(folder / PARAMETERS_JSON, {**(parameters or {}), "dataset_digest": items_digest(items)})
        _warn_of_unknown_groups(rows, scoring.groups)
        _warn_of_training_cases(rows, lineage.is_whole)
    return rows


def ranked(rows: Sequence[CaseRow]) -> list[str]:
    """The names of the cases, from the lowest Dice to the highest; an undefined Dice counts as 0."""
    return [row.case for row in sorted(rows, key=lambda row: row.scores["dice"] or 0.0)]


def scores_folder(
    bundle_root: str | Path,
    method: str | None,
    manifests: str | Path | Sequence[str | Path],
    split: str,
    weights: str | Path | None,
    weights_fold: int | None,
) -> str:
    """Where an evaluation writes by default: out/evaluation/<task>/<method>/<manifests>_<split>.

    Other weights than the method's own make a folder inside it, of their path's last names.
    """
    bundle = open_bundle(str(bundle_root))
    names = [manifests] if isinstance(manifests, (str, Path)) else manifests
    data = "+".join(Path(name).stem for name in names)
    folder = Path("out/evaluation", bundle.task, read_method(bundle, method).name, f"{data}_{split}")
    if weights is not None:
        last = Path(weights).resolve().with_suffix("").parts[1:][-3:]
        folder /= "_".join([*last, *([] if weights_fold is None else [f"fold_{weights_fold}"])])
    return str(folder)


def evaluated_segmenter(
    bundle_root: str | Path,
    device: Any,
    *,
    method: str | None,
    weights: str | Path | None,
    weights_fold: int | None,
    inference: Mapping[str, Any],
) -> Segmenter:
    """The segmenter that evaluate.yaml scores; arguments as for Segmenter.

    Overrides of the running workflow whose keys inference.yaml has too, such as `threshold`, apply to it.
    """
    require_data("the inference", {"device": str(device), "weights": str(weights), "inference": inference})
    files = inference_files(open_bundle(str(bundle_root)), method)
    overrides = inference_overrides(bundle_root, files, inference)
    return Segmenter(
        str(bundle_root), str(device), overrides, method, weights=weights, weights_fold=weights_fold
    )


def trained_segmenter(
    bundle_root: str | Path, config_files: Sequence[str], method: str, device: Any, weights: str | Path
) -> Segmenter:
    """The segmenter of a finished training: the bundle's inference.yaml with the training's weights."""
    require_data("the inference", {"device": str(device), "weights": str(weights)})
    files = inference_files(open_bundle(str(bundle_root)), method)
    values = trained_values(bundle_root, config_files, files)
    return Segmenter(str(bundle_root), str(device), values, method, weights=weights)


def items_digest(items: Sequence[Mapping[str, Any]]) -> str:
    """A digest of the content of the items' files, independent of their order and repetitions."""
    files = FileDigests()
    return combine(sorted({files.of_item(item) for item in items}))


def _case(segmenter: Segmenter, item: Mapping[str, Any]) -> tuple[Case, Reference]:
    case = segmenter.case(item["image"])
    return case, read_reference(item, case)


def _for_threshold(case: Case, reference: Reference) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = reference.mask.array
    field = reference.field_of_view
    return case.extras["probability"], truth, np.ones(truth.shape, bool) if field is None else field


def _warn_of_unknown_groups(rows: Sequence[CaseRow], groups: Sequence[str]) -> None:
    unknown = [name for name in groups if not any(name in row.groups for row in rows)]
    if unknown:
        logger.info("no case has an entry %s: there are no scores by it", ", ".join(unknown))


def _warn_of_training_cases(rows: Sequence[CaseRow], known: bool) -> None:
    trained = sum(row.groups.get(TRAINED) == "yes" for row in rows)
    if trained:
        logger.warning(
            "these weights were trained on %d of %d cases (column `trained`), whose scores are optimistic",
            trained,
            len(rows),
        )
    elif not known:
        logger.warning(
            "it is unknown which cases these weights were trained on: there is no *.lineage.json beside them"
        )
