"""Signals and true Dice of real images, as they are and made worse, by networks that never saw them."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from medseg.bundle import Bundle, lineage_of
from medseg.console import progress_bar
from medseg.data.foreign import LOOKS
from medseg.data.manifests import load_items
from medseg.data.volume_changes import KINDS, on_grid
from medseg.errors import DataError, InputError, UsageError
from medseg.io import read_mask, read_volume
from medseg.metrics.overlap import confusion
from medseg.pipeline import Segmenter
from medseg.training.folds import fold_items
from medseg.training.quality.plan import Plan
from medseg.volume import Volume

REAL, FOREIGN = "real", "foreign"


@dataclass(frozen=True, eq=False)
class Row:
    """One image by one network.

    Attributes:
        case: its name, and the change.
        group: of images that stay together: data set and subject.
        data_set: data set and split.
        network: number of the network.
        change: real, foreign, or the name of a change.
        strength: of the change, from 0 to 1.
        dice: label to Dice; of two empty masks it is 1.
        signals: label to signals.
        measurements: measure to its number.
        features: (D,) of the network; None where it shows none.
    """

    case: str
    group: str
    data_set: str
    network: int
    change: str
    strength: float
    dice: dict[str, float]
    signals: dict[str, dict[str, float]]
    measurements: dict[str, float]
    features: np.ndarray | None


def collect(
    bundle: Bundle, method: str | None, plan: Plan, trainings: str | Path | None, file: Path
) -> list[Row]:
    """Make the rows, or read those that an earlier call with the same file made.

    Args:
        bundle, method: of the task.
        plan: see read_plan.
        trainings: the output_dir of a cross-validation by `--folds`, if the plan has folds; weights in the
            place of the bundle's otherwise.
        file: lines of JSON, one for each row. An interrupted call goes on where it stopped.

    Raises:
        UsageError: the plan has folds, and there are no trainings.
        DataError: a network has learnt from an image that it is to be judged on.
    """
    done = {row.case: row for row in read_rows(file)}
    file.parent.mkdir(parents=True, exist_ok=True)
    works = list(_works(bundle, method, plan, trainings))
    total = sum(len(items) for _, _, items in works)
    with _appending(file) as out, progress_bar("judging", "images", total) as advance:
        for number, segmenter, items in works:
            for item in items:
                for row in _rows_of(item, number, segmenter, plan, done):
                    out.write(_line(row))
                    done[row.case] = row
                out.flush()
                advance()
    return list(done.values())


def read_rows(file: Path) -> list[Row]:
    """The rows of a file; none if it is missing. A line that an interruption cut off is left out."""
    rows = []
    for line in file.read_text("utf-8").splitlines() if file.is_file() else []:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        features = content["features"]
        content["features"] = None if features is None else np.array(features, dtype=np.float32)
        rows.append(Row(**content))
    return rows


def _appending(file: Path) -> TextIO:
    """The file, to add lines to; one that an interruption cut off is ended."""
    is_cut = file.is_file() and file.read_bytes()[-1:] not in (b"", b"\n")
    out = file.open("a", encoding="utf-8")
    out.write("\n" if is_cut else "")
    return out


def _line(row: Row) -> str:
    content = dataclasses.asdict(row)
    if row.features is not None:
        content["features"] = [float(f"{value:.4g}") for value in row.features]
    return json.dumps(content) + "\n"


Work = tuple[int, Segmenter, list[dict[str, Any]]]


def _works(bundle: Bundle, method: str | None, plan: Plan, trainings: str | Path | None) -> Iterator[Work]:
    """Each network with the items that it is judged on."""
    networks: list[tuple[int, Path | None]]
    if plan.folds:
        if trainings is None:
            raise UsageError(
                f"--weights with the output_dir of a cross-validation of {plan.folds} folds",
                got="none",
                advice=f"Run `medseg train {bundle.task} --folds {plan.folds}` first.",
            )
        networks = [
            (number, Path(trainings, f"fold_{number}", "models", "model.pt")) for number in range(plan.folds)
        ]
    else:
        networks = [(0, None if trainings is None else Path(trainings))]
    for number, weights in networks:
        segmenter = Segmenter(
            str(bundle.root),
            "cpu",
            {"backend": "torch"} if _has_backend(bundle, method) else None,
            method,
            weights=weights,
        )
        items = _items(plan, number)
        lineage = lineage_of(segmenter.weights)
        learnt = [item for item in items if item.get("label") and lineage.includes(item)]
        if learnt:
            raise DataError(
                "networks that did not learn from the images that they are judged on",
                got=f"{len(learnt)} of {len(items)} images that network {number} has learnt from",
                advice="Name the output_dir of a cross-validation over the same data by --weights.",
            )
        yield number, segmenter, items


def _has_backend(bundle: Bundle, method: str | None) -> bool:
    from medseg.bundle import inference_files, parse

    content: Any = parse(bundle, *inference_files(bundle, method)).config
    return "backend" in content


def _items(plan: Plan, number: int) -> list[dict[str, Any]]:
    """The items of one network: real ones, and foreign ones with the first network alone."""
    keys = ["image", "label", "subject", "data_set", "labels"]
    found: list[dict[str, Any]] = []
    for manifest in plan.manifests:
        for split in plan.splits if not plan.folds else ["validation"]:
            items = (
                fold_items(manifest, split, [number, plan.folds], keys)
                if plan.folds
                else load_items(manifest, split, keys)
            )
            items = [item for item in items if item["subject"] not in plan.without]
            items = items[:: max(1, -(-len(items) // plan.real))]
            step = max(1, -(-len(items) // plan.most))
            found += [
                {
                    **item,
                    "data_set": f"{item['data_set']}/{split}",
                    "copies": plan.per_case * (place % step == 0),
                }
                for place, item in enumerate(items)
            ]
    for entry in plan.foreign if number == 0 else ():
        others = [
            item for split in ("training", "validation", "test") for item in _some(entry["manifest"], split)
        ]
        found += [{**item, "look": entry["look"]} for item in others[: int(entry.get("most", 40))]]
    return found


def _some(manifest: str, split: str) -> list[dict[str, Any]]:
    try:
        return load_items(manifest, split, ["image", "subject", "data_set"])
    except DataError:
        return []


def _rows_of(
    item: Mapping[str, Any], number: int, segmenter: Segmenter, plan: Plan, done: Mapping[str, Row]
) -> Iterator[Row]:
    """The rows of one item that are not there yet; an image that is refused has none."""
    name = f"{item['data_set']}/{Path(item['image']).name}/{number}"
    scan = read_volume(item["image"])
    if "look" in item:
        if f"{name}/{FOREIGN}" not in done:
            array = LOOKS[item["look"]](scan.array)
            truth = np.zeros(array.shape[1:], dtype=np.uint8)
            yield from _row(f"{name}/{FOREIGN}", item, number, segmenter, Volume(array), truth, FOREIGN, 1.0)
        return
    truth = read_mask(item["label"], item["labels"]).array
    if f"{name}/{REAL}" not in done:
        yield from _row(f"{name}/{REAL}", item, number, segmenter, scan, truth, REAL, 0.0)
    if scan.affine is not None:
        scan, truth = on_grid(scan, truth)
    for copy in range(item["copies"]):
        random = np.random.default_rng([zlib.crc32(name.encode()), copy])
        change = sorted(KINDS[plan.changes])[int(random.integers(len(KINDS[plan.changes])))]
        strength = float(random.uniform(0.1, 1.0))
        case = f"{name}/{change}/{copy}"
        if case in done:
            continue
        array, labels = KINDS[plan.changes][change](scan.array, truth, strength, random)
        yield from _row(
            case, item, number, segmenter, dataclasses.replace(scan, array=array), labels, change, strength
        )


def _row(
    name: str, item: Mapping[str, Any], number: int, segmenter: Segmenter, scan: Volume, truth: np.ndarray,
    change: str, strength: float,
) -> Iterator[Row]:  # fmt: skip
    try:
        case = segmenter.case(scan)
    except InputError:
        return
    signals, measurements, features = segmenter.signals(case)
    dice = {
        label: confusion(case.mask.array == value, truth == value).dice
        for value, label in case.mask.labels.items()
        if value
    }
    numbers = {
        key: float(entry["value"])
        for key, entry in measurements.items()
        if isinstance(entry["value"], int | float) and not isinstance(entry["value"], bool)
    }
    group = f"{item['data_set'].split('/')[0]}/{item['subject']}"
    yield Row(name, group, item["data_set"], number, change, strength, dice, signals, numbers, features)
