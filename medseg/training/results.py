"""What a training's MLflow run holds besides its curves: origin, data, weights, scores, pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medseg.bundle import sha256
from medseg.evaluation.classification import draw_reliability, question_figures
from medseg.evaluation.past_runs import PARAMETERS_JSON, PICTURES, SCORES_CSV, SCORES_JSON, read_rows
from medseg.evaluation.score_files import write_json
from medseg.evaluation.scoring import Question
from medseg.io.atomic import atomic_path
from medseg.tracking import provenance
from medseg.tracking.run_list import note_of, of_interest
from medseg.tracking.store import without_home
from medseg.tracking.tracker import Tracker

History = Mapping[str, Sequence[tuple[int, float]]]  # name to (epoch, value)

RELIABILITY = "reliability.png"
PROBE_PX = 64  # side of the image that shows the network's output channels


def describe(
    tracker: Tracker,
    digests: Mapping[str, str],
    parameters: Mapping[str, str],
    manifests: Sequence[str],
    changed: Mapping[str, str],
) -> None:
    """Note what is trained, on which data, by which code and machine.

    MLflow's pages show the parameters of interest; the artifact parameters.json has all.
    """
    tracker.parameters(of_interest(parameters, changed))
    file = tracker.folder / PARAMETERS_JSON
    write_json(file, without_home(parameters))
    tracker.artifact(file)
    tracker.tags(provenance.tags())
    name = ", ".join(Path(manifest).stem for manifest in manifests)
    for split, digest in digests.items():
        tracker.dataset(name, digest, split)


def log_results(
    tracker: Tracker,
    folder: Path,
    ranked: Sequence[str],
    history: History,
    model: Path,
    changed: Mapping[str, str],
) -> None:
    """Note weights, case scores, pictures and learning curves.

    Args:
        tracker: of the training's run.
        folder: holds the files of the scores.
        ranked: names of the cases, the worst first.
        history: name to (epoch, value), all epochs.
        model: file of the best weights; without a valid score there is none.
        changed: parameters that differ from the bundle's own.
    """
    log_scores(tracker, folder, changed)
    tracker.artifact(folder / PICTURES)
    for key, case in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2]), ("best", ranked[-1])):
        # At the top under a common name: of two runs MLflow shows only such files side by side.
        picture = folder / f"{key}.jpg"
        shutil.copyfile(folder / PICTURES / f"{case}.jpg", picture)
        tracker.artifact(picture)
        tracker.picture(picture, key, 0)
    curves = folder / "curves.png"
    with atomic_path(curves) as temporary:
        draw_curves(history, temporary)
    tracker.artifact(curves)
    if model.is_file():
        tracker.artifact(model, "weights")
        tracker.tags({"weights.sha256": sha256(model)})


def log_scores(tracker: Tracker, folder: Path, changed: Mapping[str, str]) -> None:
    """Note the summary of a folder's scores as metrics and in words, and its tables.

    At step 0 alone, a metric is a bar in MLflow's charts, side by side with those of other runs. Where
    a question was answered the folder gets reliability.png too.
    """
    summary = json.loads((folder / SCORES_JSON).read_text(encoding="utf-8"))
    means = {name: entry["mean"] for name, entry in summary["scores"].items() if entry["mean"] is not None}
    question = Question(**summary["question"]) if "question" in summary else None
    figures = question_figures(summary[question.name], question.name) if question else {}
    tracker.tags({"mlflow.note.content": note_of(summary, figures, changed)})
    if question:
        means |= figures
        rows = [{"subject": row.subject, **row.scores} for row in read_rows(folder / SCORES_CSV)]
        with atomic_path(folder / RELIABILITY) as temporary:
            draw_reliability(summary[question.name], rows, question, temporary)
        tracker.artifact(folder / RELIABILITY)
    tracker.metrics({f"final/{name}": mean for name, mean in means.items()}, 0)
    for name in (SCORES_CSV, SCORES_JSON):
        tracker.artifact(folder / name, "scores")


def draw_curves(history: History, path: Path) -> None:
    """Losses, scores and the learning rate against the epoch, one below the other, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    groups = [
        ("loss", [name for name in history if "loss" in name]),
        ("score", [name for name in history if "loss" not in name and name != "learning_rate"]),
        ("learning rate", [name for name in history if name == "learning_rate"]),
    ]
    groups = [(title, names) for title, names in groups if names]
    figure = Figure(figsize=(7, 2.6 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), sharex=True, squeeze=False)[:, 0]
    for axis, (title, names) in zip(axes, groups, strict=True):
        for name in names:
            axis.plot(*zip(*history[name], strict=True), label=name, marker=".", markersize=4)
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, format="png", dpi=110)


def save_mlflow_model(network: torch.nn.Module, validator: Any, folder: Path) -> Path:
    """The network in MLflow's format with its signature, in which all axes but the channels are free."""
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    _, channels, *axes = next(iter(validator.data_loader))["image"].shape
    # MLflow traces the network with it; an axis of one element would not stay free.
    probe = torch.zeros(2, channels, *[PROBE_PX] * len(axes), device=next(network.parameters()).device)
    with torch.no_grad():
        output = network.eval()(probe)
    inputs, outputs = (
        Schema([TensorSpec(np.dtype(np.float32), (-1, count, *[-1] * len(axes)))])
        for count in (channels, output.shape[1])
    )
    path = folder / "mlflow_model"
    shutil.rmtree(path, ignore_errors=True)  # of a training that was killed here
    mlflow.pytorch.save_model(
        network, path, signature=ModelSignature(inputs=inputs, outputs=outputs), input_example=(probe,)
    )
    return path
