"""A search from the command line to the exported method, on phantoms."""

import csv

import pytest
import yaml
from ladder_bundle import FIELD_PX, copy_bundle

from medseg.bundle import inference_files, open_bundle, parse, read_method, training_files
from medseg.evaluation.past_runs import load_run
from medseg.io.atomic import atomic_path

SMALL = {
    "epochs": 2,
    "patches_per_image": 2,
    "batch_size": 2,
    "num_workers": 0,
    "autocast": "false",
    "field_diameter_px": FIELD_PX,
    "validate::inferer::inferer::roi_size": f"[{FIELD_PX}, {FIELD_PX}]",
}
UNET = """\
parameters:
  width: {choices: [4, 16], default: 16}
  learning_rate: {low: 0.001, high: 0.01, log: true, default: 0.004}
set:
  network_def::channels: "$[@width] + [width * @width // 16 for width in [32, 64, 96, 128]]"
  learning_rate: "@learning_rate"
  patch_px: $256 - 12 * (16 - @width)
"""


@pytest.fixture
def tune(run_medseg, phantom_data, mlflow_client, tmp_path, monkeypatch, capsys):
    """`medseg tune` in a folder with a bundle that it may write; what it prints."""
    root = copy_bundle(tmp_path)
    with atomic_path(root / "configs" / "search" / "residual_unet.yaml") as file:
        file.write_text(UNET)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0, **settings):
        pairs = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        manifest = ("--manifest", phantom_data.manifest)
        assert run_medseg("tune", "retinal_vessel", *manifest, *arguments, *pairs) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


@pytest.mark.seconds
def test_a_method_that_is_not_trained(tune, mlflow_client, tmp_path, run_medseg, phantom_data):
    arguments = ("--method", "threshold", "--trials", 3)
    printed = tune(*arguments, field_diameter_px=FIELD_PX)
    assert "study retinal_vessel/threshold: 3 complete" in printed
    folder = tmp_path / "out" / "tuning" / "retinal_vessel" / "threshold"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete"] * 3
    assert rows[0]["default"] == "yes"
    best = max(rows, key=lambda row: float(row["dice"]))

    (parent, *children) = _runs(mlflow_client)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert len(children) == 3
    assert parent.data.tags["medseg.best_trial"] == best["trial"]
    assert parent.data.metrics["best/dice"] == pytest.approx(float(best["dice"]))
    history = mlflow_client.get_metric_history(parent.info.run_id, "dice")
    assert {str(point.step): pytest.approx(point.value) for point in history} == {
        row["trial"]: float(row["dice"]) for row in rows
    }
    names = {file.path for file in mlflow_client.list_artifacts(parent.info.run_id)}
    assert {"history.png", "slices.png", "pareto_front.png", "trials.csv"} <= names

    # What is gone comes again from the store, without a trial.
    (folder / "trials.csv").unlink()
    (folder / "slices.png").unlink()
    tune("--method", "threshold", "--trials", 0, "--export", "other", field_diameter_px=FIELD_PX)
    assert {file.name for file in folder.iterdir()} >= {"trials.csv", "slices.png"}

    # The same command has nothing left to run, and makes a method whose scores are those of the trial.
    printed = tune(*arguments, "--export", "tuned", field_diameter_px=FIELD_PX)
    assert "tuned.yaml" in printed
    assert len(_runs(mlflow_client)) == 4
    bundle = open_bundle("retinal_vessel")
    assert read_method(bundle, "tuned").kind == "rule"
    assert f"study retinal_vessel/threshold, trial {best['trial']}" in read_method(bundle, "tuned").summary
    assert parse(bundle, *inference_files(bundle, "tuned"))["network_def::divide::sigma"] == int(
        best["sigma"]
    )
    evaluated = ("evaluate", "retinal_vessel", "--manifest", phantom_data.manifest, "--split", "validation")
    assert run_medseg(*evaluated, "--method", "tuned", "--output_dir", "again") == 0
    again, trial = (load_run(str(path)) for path in ("again", folder / f"trial_{int(best['trial']):03}"))
    assert [row.scores["dice"] for row in again.rows] == [row.scores["dice"] for row in trial.rows]

    message = tune("--method", "threshold", "--trials", 0, "--export", "tuned", code=2)
    assert "a name that no method of retinal_vessel has" in message
    message = tune("--method", "threshold", "--trials", 0, "--export", "again", code=2)
    assert "another settings. Choose another --study" in message


def _runs(client):
    experiment = client.get_experiment_by_name("retinal_vessel")
    return client.search_runs([experiment.experiment_id], order_by=["start_time"])


@pytest.mark.slow
def test_a_network(tune, mlflow_client, tmp_path, run_medseg, phantom_data):
    printed = tune("--trials", 2, "--export", "tuned_unet", **SMALL)
    assert "2 complete" in printed
    (parent, *children) = _runs(mlflow_client)
    assert [run.data.tags["mlflow.parentRunId"] for run in children] == [parent.info.run_id] * 2
    assert children[0].info.run_name == "trial 0 (default)"
    points = mlflow_client.get_metric_history(children[0].info.run_id, "val_dice")
    assert [point.step for point in points] == [1, 2]  # it is validated often enough to be pruned

    bundle = open_bundle("retinal_vessel")
    assert training_files(bundle, "tuned_unet") == ["train.yaml", "methods/tuned_unet.train.yaml"]
    overlay = yaml.safe_load(bundle.config("methods/tuned_unet.train.yaml").read_text())
    assert "epochs" not in overlay
    assert "manifests" not in overlay
    trained, used = (
        parse(bundle, *files(bundle, "tuned_unet")) for files in (training_files, inference_files)
    )
    best = parent.data.tags["medseg.best_trial"]
    own = children[int(best)].data.params
    assert str(trained["learning_rate"]) == own["learning_rate"]
    assert trained["network_def"] == used["network_def"]
    assert used["field_diameter_px"] == FIELD_PX
    data = ("--manifest", phantom_data.manifest)
    pairs = [word for key in ("epochs", "num_workers") for word in ("--set", f"{key}={SMALL[key]}")]
    roi = ("--set", f"validate::inferer::inferer::roi_size=[{FIELD_PX}, {FIELD_PX}]")
    train = ("train", "retinal_vessel", "--method", "tuned_unet", *data, *pairs, *roi)
    assert run_medseg(*train, "--output_dir", "trained") == 0
    weights = tmp_path / "trained" / "models" / "model.pt"
    picture = phantom_data.folder / "3.png"
    segment = ("segment", "retinal_vessel", picture, "--method", "tuned_unet", "--weights", weights)
    assert run_medseg(*segment, "-o", "masks") == 0
    assert list((tmp_path / "masks").rglob("*.png"))
