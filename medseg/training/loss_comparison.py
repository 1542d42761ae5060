"""Train one network with each of several losses, and compare them: tracked, resumed, written as a page."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.bundle import inference_files, parse, run_workflow, trained_values
from medseg.bundle.config import has_key, running
from medseg.errors import MedsegError, UsageError, error_text
from medseg.evaluation.losses_cases import strips, threshold_on
from medseg.evaluation.losses_files import write_comparison
from medseg.evaluation.losses_table import LossTable, Scored, table_of
from medseg.evaluation.past_runs import SCORES_CSV, SCORES_JSON, CaseRow, read_rows
from medseg.evaluation.score_files import write_json
from medseg.evaluation.split import evaluate
from medseg.pipeline import Segmenter
from medseg.tracking import provenance
from medseg.tracking.tracker import Tracker, mark_killed_runs, tracked
from medseg.training import checkpoint
from medseg.training.loss_plan import KEY, LossPlan

logger = logging.getLogger(__name__)

STATE = "losses.json"
THRESHOLD = "threshold.json"
# Scores in the folder of a loss: of another split than the training's own, and at its own threshold.
SPLIT_SCORES, OWN_SCORES = "split", "own_threshold"


class LossFailed(MedsegError):
    """One or several losses gave no network.

    Attributes:
        found: the comparison of the others; None if there are none.
    """

    found: LossTable | None = None


def compare_losses(plan: LossPlan, resume: bool = False) -> LossTable:
    """Train with each loss in turn, score each network, and compare those that did not fail.

    The plan's folder gets a folder for each loss, which is that of its training; table.csv, comparison.json,
    comparison.html and curves.png. MLflow gets a run for the comparison, and in it a run for each training,
    which has the loss's name.

    Args:
        plan: what to train and to score.
        resume: go on with a comparison that was interrupted. Finished trainings are kept.

    Raises:
        UsageError: the folder holds a comparison and resume is not set, or that has other losses.
        LossFailed: losses failed, such as one that became NaN. The others are compared and written before.
    """
    state = plan.folder / STATE
    position = _saved_position(state, plan, resume)
    mark_killed_runs()
    tracker = Tracker(
        plan.folder / "tracking",
        experiment=plan.experiment,
        run_name=f"losses {plan.title}",
        resume_at=position,
    )
    with tracked(tracker):
        if position is None:
            _describe(tracker, plan)
            write_json(state, {"losses": list(plan.losses), "position": tracker.position})
            tracker.commit()
        scored, failures = _run_all(plan, tracker.key, resume)
        found = _compared(plan, tracker, scored, failures) if scored else None
        if failures or found is None:
            error = _failed(failures, plan.folder)
            error.found = found
            raise error
    return found


def _saved_position(state: Path, plan: LossPlan, resume: bool) -> int | None:
    """The tracker's position to go on from; None to begin."""
    if not state.is_file():
        return None
    saved = json.loads(state.read_text(encoding="utf-8"))
    if not resume or saved["losses"] != list(plan.losses):
        raise UsageError(
            "an output_dir without another comparison of losses",
            got=f"{state.parent} with {', '.join(saved['losses'])}",
            advice="Continue it with --resume and the same --losses, or choose another --output_dir.",
        )
    return int(saved["position"])


def _run_all(plan: LossPlan, parent: str, resume: bool) -> tuple[list[Scored], dict[str, str]]:
    """The losses that have scores now, and why the others have none."""
    scored: list[Scored] = []
    failures: dict[str, str] = {}
    for number, loss in enumerate(plan.losses, start=1):
        logger.info("%d of %d: %s", number, len(plan.losses), loss)
        try:
            scored.append(_run(plan, loss, parent, resume))
        except UsageError:  # of the options, which are the same for all
            raise
        except Exception as error:
            if _interrupted(error):
                raise KeyboardInterrupt from error
            failures[loss] = error_text(error).rstrip(".")
            logger.warning("%s failed: %s", loss, failures[loss])
        gc.collect()  # ends the training's workers, which a reference cycle keeps alive
    return scored, failures


def _interrupted(error: BaseException | None) -> bool:
    """Whether a signal that ends the program came before an error.

    Sent to all processes of a group it ends the training's workers too, and their death is what is raised.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _run(plan: LossPlan, loss: str, parent: str, resume: bool) -> Scored:
    """Train with one loss, and score the network."""
    overrides = _overrides(plan, loss)
    own = {"run_name": loss, "parent_run": parent, "resume": resume}
    run_workflow(plan.bundle, *plan.files, overrides={**overrides, **own})
    folder = plan.folder / loss
    with _running(overrides):
        rows = _rows(plan, loss)
        threshold = _own_threshold(plan, loss)
        if threshold is None:
            return Scored(loss, rows, None, rows)
        if not (folder / OWN_SCORES / SCORES_JSON).is_file():  # its last file
            _score(plan, _segmenter(plan, loss, threshold), folder / OWN_SCORES)
    return Scored(loss, rows, threshold, read_rows(folder / OWN_SCORES / SCORES_CSV))


def _overrides(plan: LossPlan, loss: str) -> dict[str, Any]:
    """All that is changed in the training configuration for one loss."""
    folder = plan.folder / loss
    return {**plan.overrides, KEY: loss, "output_dir": str(folder), "ckpt_dir": str(folder / "models")}


@contextmanager
def _running(overrides: Mapping[str, Any]) -> Iterator[None]:
    """As if a workflow with these overrides ran, so that its values apply to inference too."""
    token = running.set(overrides)
    try:
        yield
    finally:
        running.reset(token)


def _rows(plan: LossPlan, loss: str) -> Sequence[CaseRow]:
    """The cases at the bundle's threshold. A training has scored its own validation split."""
    folder = plan.folder / loss
    if plan.split == "test":
        folder /= SPLIT_SCORES
        if not (folder / SCORES_JSON).is_file():
            _score(plan, _segmenter(plan, loss), folder)
    return read_rows(folder / SCORES_CSV)


def _own_threshold(plan: LossPlan, loss: str) -> float | None:
    """The threshold that is best on training cases; None if the task's masks have none."""
    if not has_key(parse(plan.bundle, *inference_files(plan.bundle, plan.method)), "threshold"):
        return None
    file = plan.folder / loss / THRESHOLD
    if not file.is_file():
        found = threshold_on(_segmenter(plan, loss), plan.training_items)
        write_json(file, {"threshold": found, "cases": len(plan.training_items)})
    threshold: float | None = json.loads(file.read_text(encoding="utf-8"))["threshold"]
    return threshold


def _segmenter(plan: LossPlan, loss: str, threshold: float | None = None) -> Segmenter:
    """The network of a loss in the method's steps, as medseg.evaluation.split.trained_segmenter makes it."""
    root = plan.bundle.root
    values = trained_values(root, plan.files, inference_files(plan.bundle, plan.method))
    if threshold is not None:
        values["threshold"] = threshold
    device = parse(plan.bundle, *plan.files, overrides=plan.overrides).get_parsed_content("device")
    weights = plan.folder / loss / "models" / checkpoint.MODEL_NAME
    return Segmenter(str(root), str(device), values, plan.method, weights=weights)


def _score(plan: LossPlan, segmenter: Segmenter, folder: Path) -> None:
    config = parse(plan.bundle, *plan.files, overrides=plan.overrides)
    evaluate(
        segmenter,
        plan.items,
        output_dir=folder,
        split=f"{plan.data} {plan.split}",  # not "validation" alone, for which a threshold is sought
        scoring=config.get_parsed_content("validate::scoring"),
    )


def _compared(
    plan: LossPlan, tracker: Tracker, scored: list[Scored], failures: Mapping[str, str]
) -> LossTable:
    """The comparison of the losses that have scores, written and tracked."""

    def segmenter_of(each: Scored) -> Segmenter:
        with _running(_overrides(plan, each.loss)):
            return _segmenter(plan, each.loss, each.threshold)

    found = table_of(plan.title, plan.reference, scored, failures, plan.warnings)
    files = write_comparison(
        plan.folder,
        found,
        about=f"Method {plan.method}, {plan.epochs} epoch{'s'[: plan.epochs != 1]} each.",
        histories={each.loss: _history(plan, each.loss) for each in scored},
        strips=strips(scored, plan.items, segmenter_of),
    )
    tracker.metrics({f"dice/{loss}": mean for loss, mean in found.dice.items()}, 0)
    tracker.tags({"mlflow.note.content": f"```\n{found}\n```"})
    for file in files:
        tracker.artifact(file)
    tracker.commit()
    return found


def _history(plan: LossPlan, loss: str) -> Mapping[str, list[tuple[int, float]]]:
    """The learning curves of a training, as its checkpoint holds them."""
    saved = checkpoint.load(plan.folder / loss / "models" / checkpoint.NAME)
    history: Mapping[str, list[tuple[int, float]]] = saved["standing"]["history"]
    return history


def _describe(tracker: Tracker, plan: LossPlan) -> None:
    """Track what is compared, and on what machine."""
    about = {"task": plan.bundle.task, "method": plan.method, "split": plan.split, "epochs": plan.epochs}
    tracker.parameters({"losses": ", ".join(plan.losses), **about, **plan.overrides})
    tracker.tags(provenance.tags())


def _failed(failures: Mapping[str, str], folder: Path) -> LossFailed:
    return LossFailed(
        "a trained network by every loss",
        got="; ".join(f"{loss} failed: {reason}" for loss, reason in failures.items()),
        advice=f"{folder} has the others. Correct the cause, or leave out {', '.join(failures)}.",
    )
