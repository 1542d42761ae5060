"""What a training's MLflow run holds besides its curves: provenance, data, weights, scores, pictures."""

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
    """Track the parameters, the data, the versions of the code and the machine.

    MLflow's pages show the parameters of interest; the artifact parameters.json has all of them.
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
    """Track weights, case scores, pictures and learning curves.

    Args:
        tracker: the tracker of the training's run.
        folder: the folder with the files of the scores.
        ranked: names of the cases, the worst first.
        history: name to (epoch, value), all epochs.
        model: the file of the best weights, which may be missing.
        changed: parameters that differ from the bundle's own.
    """
    log_scores(tracker, folder, changed)
    tracker.artifact(folder / PICTURES)
    for key, case in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2]), ("best", ranked[-1])):
        # MLflow shows pictures of two runs side by side only if they lie at the top under the same name.
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
    """Track the mean scores of a folder as metrics and as a note, and its tables as artifacts.

    The metrics have step 0 only, so that MLflow draws them as bars beside those of other runs. If the summary
    has an image-level question, reliability.png is written to the folder too.
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
    """Draw losses, scores and the learning rate against the epoch, one plot below the other, as a PNG."""
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
    """Save the network in MLflow's format, with a signature whose axes, except the channels, are free."""
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    _, channels, *axes = next(iter(validator.data_loader))["image"].shape
    # MLflow traces the network with this input; an axis of length 1 would become fixed.
    probe = torch.zeros(2, channels, *[PROBE_PX] * len(axes), device=next(network.parameters()).device)
    with torch.no_grad():
        output = network.eval()(probe)
    inputs, outputs = (
        Schema([TensorSpec(np.dtype(np.float32), (-1, count, *[-1] * len(axes)))])
        for count in (channels, output.shape[1])
    )
    path = folder / "mlflow_model"
    shutil.rmtree(path, ignore_errors=True)  # left by a training that was killed
    mlflow.pytorch.save_model(
        network, path, signature=ModelSignature(inputs=inputs, outputs=outputs), input_example=(probe,)
    )
    return path
