"""Cross-validation by subject: every case is scored by a network that was not trained on its subject."""

from __future__ import annotations

import gc
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.bundle import Bundle, parse, run_workflow
from medseg.data.manifests import load_items, read_manifest
from medseg.errors import UsageError
from medseg.evaluation.past_runs import SCORES_CSV, CaseRow, read_rows
from medseg.evaluation.score_files import write_json, write_scores
from medseg.evaluation.scoring import Scoring
from medseg.tracking.store import flatten
from medseg.tracking.tracker import Tracker, mark_killed_runs, tracked
from medseg.training.results import log_scores

STATE = "cross_validation.json"
Owner = tuple[str, str]  # data set, subject


def fold_items(
    manifests: str | Sequence[str],
    split: str,
    fold: Sequence[int] | None,
    keys: Sequence[str] = ("image", "label"),
) -> list[dict[str, Any]]:
    """The items of a split, either as the manifests define it or in one fold of a cross-validation.

    Folds divide the subjects of training and validation together, each data set evenly; the test split is
    not used. The fold's subjects are its validation split, all others its training split. If every item has
    an entry `fold`, these published folds are used, in the order of their numbers. Half as many folds, or
    another number that divides theirs, are unions of neighbours: folds 1 and 2, then 3 and 4.

    Args:
        manifests: names or paths, one or several.
        split: training or validation.
        fold: (number from 0, number of folds); None for the split that the manifests define.
        keys: entries to keep; see load_items.

    Raises:
        UsageError: there is no such fold, there are fewer subjects than folds, or the number of folds does
            not divide that of the published folds.
    """
    if fold is None:
        return load_items(manifests, split, keys)
    number, count = fold
    items: list[dict[str, Any]] = []
    owners: list[Owner] = []
    published: list[int | None] = []
    for source in [manifests] if isinstance(manifests, str) else manifests:
        content = read_manifest(source)
        for part in (name for name in ("training", "validation") if content[name]):
            items += load_items(source, part, keys)
            about = load_items(source, part, ["subject", "fold"])
            owners += [(source, item["subject"]) for item in about]
            published += [item.get("fold") for item in about]
    if None in published:
        held_out = _dealt_out(set(owners), number, count)
        chosen = [owner in held_out for owner in owners]
    else:
        chosen = _published([fold for fold in published if fold is not None], number, count)
    return [item for item, out in zip(items, chosen, strict=True) if out == (split == "validation")]


def cross_validate(bundle: Bundle, files: Sequence[str], folds: int, overrides: Mapping[str, Any]) -> None:
    """Train one network for each fold, and pool the scores of the held-out cases.

    One MLflow run holds the pooled scores and is the parent of the folds' runs. output_dir gets
    fold_<number>/ and the pooled scores.csv and scores.json. With `resume`, finished folds are kept.

    Args:
        bundle: the bundle to train.
        files: its training configuration; see medseg.bundle.training_files.
        folds: the number of folds, at least 2.
        overrides: see medseg.bundle.parse.

    Raises:
        UsageError: see fold_items and medseg.training.run.train.
    """
    config = parse(bundle, *files, overrides=overrides)
    for number in range(folds or 1):  # raises before the first training starts
        fold_items(config["manifests"], "validation", [number, folds])
    output_dir, resume = Path(config["output_dir"]), bool(config["resume"])
    state = output_dir / STATE
    position = _saved_position(state, folds, resume)
    mark_killed_runs()
    name = config["run_name"] or f"{folds} folds"
    tracker = Tracker(
        output_dir / "tracking", experiment=config["experiment"], run_name=name, resume_at=position
    )
    with tracked(tracker):
        if position is None:
            tracker.parameters({"folds": folds, "manifests": config["manifests"], **overrides})
            write_json(state, {"folds": folds, "position": tracker.position})
            tracker.commit()
        for number in range(folds):
            own = {
                "fold": [number, folds],
                "output_dir": str(output_dir / f"fold_{number}"),
                "run_name": f"{name}: fold {number}",
                "parent_run": tracker.key,
            }
            run_workflow(bundle, *files, overrides={**overrides, **own})
            gc.collect()  # ends the fold's workers, which a reference cycle keeps alive
        _pool(output_dir, folds, config.get_parsed_content("validate::scoring"))
        log_scores(tracker, output_dir, flatten(overrides))


def _published(folds: Sequence[int], number: int, count: int) -> list[bool]:
    """Whether each item is in a published fold, or in one of as many as are joined."""
    found = sorted(set(folds))
    if count < 2 or len(found) % count or not 0 <= number < count:
        raise UsageError(
            f"one of the {len(found)} folds of the data's publisher, counted from 0",
            got=f"fold {number} of {count}",
            advice=f"Choose {len(found)} folds, or remove `fold` from the manifest to use folds of your own.",
        )
    joined = len(found) // count
    return [fold in found[number * joined : (number + 1) * joined] for fold in folds]


def _dealt_out(subjects: set[Owner], number: int, count: int) -> set[Owner]:
    """The subjects of a fold."""
    if not (2 <= count <= len(subjects) and 0 <= number < count):
        raise UsageError(
            f"2 to {len(subjects)} folds (as many as subjects), and a fold of them counted from 0",
            got=f"fold {number} of {count}",
            advice="Choose another number of folds.",
        )
    return _dealt(subjects, count)[number]


def _dealt(subjects: Iterable[Owner], count: int) -> list[set[Owner]]:
    """The subjects of each fold: dealt out in turn, data set by data set, each shuffled with one seed."""
    folds: list[set[Owner]] = [set() for _ in range(count)]
    turn = itertools.cycle(folds)
    for _, of_one_set in itertools.groupby(sorted(subjects), key=lambda owner: owner[0]):
        for owner in np.random.default_rng(0).permutation(list(of_one_set)).tolist():
            next(turn).add((owner[0], owner[1]))
    return folds


def _saved_position(state: Path, folds: int, resume: bool) -> int | None:
    if not state.is_file():
        return None
    saved = json.loads(state.read_text(encoding="utf-8"))
    if not resume or saved["folds"] != folds:
        raise UsageError(
            "an output_dir without another cross-validation",
            got=f"{state.parent} with {saved['folds']} folds",
            advice="Continue it with --resume and the same --folds, or choose another --output_dir.",
        )
    return int(saved["position"])


def _pool(output_dir: Path, folds: int, scoring: Scoring) -> None:
    files = [output_dir / f"fold_{number}" / SCORES_CSV for number in range(folds)]
    rows: dict[str, CaseRow] = {}
    for number, file in enumerate(files):
        for row in read_rows(file):
            # Two data sets may have files of the same name, in two folds.
            case = f"{row.case} (fold {number})" if row.case in rows else row.case
            rows[case] = row._replace(case=case)
    write_scores(list(rows.values()), output_dir, {"split": f"held out in {folds} folds"}, scoring.question)
