"""One trial: a training, or an evaluation of a method that is not trained, and what an image costs it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from medseg.bundle import inference_files, inference_keys, parse, run_workflow
from medseg.bundle.config import running
from medseg.errors import MedsegError
from medseg.evaluation.past_runs import SCORES_JSON
from medseg.evaluation.split import evaluated_segmenter, trained_segmenter
from medseg.pipeline import Segmenter
from medseg.tracking.store import flatten
from medseg.tracking.tracker import EndedEarly, Tracker, tracked
from medseg.training.checkpoint import MODEL_NAME
from medseg.training.pruning import watched
from medseg.training.results import log_scores
from medseg.tuning.plan import EVALUATION, SCORE, Plan
from medseg.tuning.study import SECONDS, Claim, Result

_TIMED_IMAGES = 4


def run_trial(plan: Plan, claim: Claim, run_key: str, watch: Callable[[int, float], bool]) -> Result:
    """Run a trial in its own folder, as a child of the study's MLflow run.

    Args:
        plan: the search.
        claim: the trial.
        run_key: the key of the study's MLflow run.
        watch: is told each validation of a training; see medseg.training.pruning.

    Returns:
        A complete trial with its mean score and seconds_per_case, or a pruned one.

    Raises:
        MedsegError: the training or the evaluation failed.
    """
    overrides = plan.space.overrides(claim.values)
    if not plan.is_trained:
        return _evaluated(plan, claim, overrides, run_key)
    folder = plan.folder(claim.number)
    settings = {
        **plan.given,
        **overrides,
        "output_dir": str(folder),
        "run_name": _run_name(claim),
        "parent_run": run_key,
    }
    try:
        with watched(watch):
            run_workflow(plan.bundle, *plan.files, overrides=settings)
    except EndedEarly:
        return Result(claim.number, "PRUNED")
    device = parse(plan.bundle, *plan.files, overrides=settings).get_parsed_content("device")
    weights = folder / "models" / MODEL_NAME
    segmenter = partial(trained_segmenter, plan.root, plan.files, plan.method.name, device, weights)
    return _complete(plan, claim, settings, segmenter)


def _run_name(claim: Claim) -> str:
    """The name of a trial's MLflow run."""
    return f"trial {claim.number}{' (default)' if claim.is_default else ''}"


def _evaluated(plan: Plan, claim: Claim, overrides: Mapping[str, Any], run_key: str) -> Result:
    folder, bundle = plan.folder(claim.number), plan.bundle
    settings = {
        **plan.given,
        **overrides,
        "method": plan.method.name,
        "split": "validation",
        "output_dir": str(folder),
    }
    settings = inference_keys(bundle, EVALUATION, inference_files(bundle, plan.method.name), settings)
    config = parse(bundle, *EVALUATION, overrides=settings)
    tracker = Tracker(
        folder / "tracking", experiment=config["experiment"], run_name=_run_name(claim), parent=run_key
    )
    with tracked(tracker):
        changed = flatten(overrides)
        tracker.parameters(changed)
        run_workflow(bundle, *EVALUATION, overrides=settings)
        segmenter = partial(
            evaluated_segmenter,
            plan.root,
            config.get_parsed_content("device"),
            method=plan.method.name,
            weights=None,
            weights_fold=None,
            inference=config["inference"],
        )
        result = _complete(plan, claim, settings, segmenter)
        log_scores(tracker, folder, changed)
        tracker.metrics({SECONDS: result.entries[SECONDS]}, 0)
    return result


def _complete(
    plan: Plan, claim: Claim, settings: Mapping[str, Any], segmenter: Callable[[], Segmenter]
) -> Result:
    """The result of a trial that wrote its scores; the segmenter is made and timed with its settings."""
    summary = json.loads((plan.folder(claim.number) / SCORES_JSON).read_text(encoding="utf-8"))
    score = summary["scores"][SCORE]["mean"]
    if score is None:
        raise MedsegError(
            f"a validation case with a {SCORE}", got="none", advice="Choose other validation cases."
        )
    token = running.set(settings)
    try:
        seconds = seconds_per_case(plan, segmenter())
    finally:
        running.reset(token)
    return Result(claim.number, "COMPLETE", float(score), {SECONDS: seconds})


def seconds_per_case(plan: Plan, segmenter: Segmenter) -> float:
    """The median of the time from an image file to its mask, of the first validation images.

    The very first one, which warms up the libraries, is left out where there are several.
    """
    seconds = []
    for image in sorted({str(item["image"]) for item in plan.items})[:_TIMED_IMAGES]:
        start = time.perf_counter()
        segmenter.case(image)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:] or seconds)
