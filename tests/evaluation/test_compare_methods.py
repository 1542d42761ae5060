"""`medseg compare` on small phantoms: processes, files, MLflow, and methods that fail."""

import csv
import json
import multiprocessing
import signal
import sys

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from ladder_bundle import DYING, FIELD_PX, GREEN, HUNGRY, REFUSING, SLEEPING, copy_bundle
from tracked_training import artifacts, runs, wait_for

from medseg.bundle import Lineage, open_bundle, parse, write_lineage
from medseg.evaluation import ladder as module
from medseg.evaluation.past_runs import load_run, read_rows
from medseg.tracking.tracker import mark_killed_runs

pytestmark = pytest.mark.seconds

# Whatever is dark is the first label.
AIR = "$lambda x: __import__('torch').cat([x * 0, -500 - x, x * 0 - 1e9, x * 0 - 1e9], 1)"
NETWORK = {
    "network_def::channels": [4, 8],
    "network_def::strides": [1],
    "network_def::num_res_units": 0,
    "inferer::inferer::inferer::roi_size": [FIELD_PX, FIELD_PX],
}


@pytest.fixture
def place(phantom_data, mlflow_client, tmp_path, monkeypatch):
    """A working folder with a bundle of small methods, data and an MLflow store."""
    methods = {"hungry": HUNGRY, "green": GREEN.format(1), "greener": GREEN.format(0.5)}
    bundle = copy_bundle(tmp_path, **methods, refusing=REFUSING, dying=DYING, sleeping=SLEEPING)
    # An audit refuses what sleeps and dies; the lungs of some tests lie beside.
    monkeypatch.setenv("MEDSEG_TRUSTED_BUNDLES", f"{bundle},{bundle.with_name('lung_ct')}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compare(run_medseg, place, phantom_data):
    def run(methods, *arguments):
        words = ["compare", "retinal_vessel", "--methods", methods, "--manifest", phantom_data.manifest]
        return run_medseg(*words, "--set", f"field_diameter_px={FIELD_PX}", *arguments)

    return run


@pytest.fixture
def network(place):
    """Weights of an untrained network, which has seen no case, and how many numbers it has."""
    overrides = {key: value for key, value in NETWORK.items() if key.startswith("network_def")}
    built = parse(open_bundle("retinal_vessel"), "train.yaml", overrides=overrides).get_parsed_content(
        "network_def"
    )
    path = place / "weights.pt"
    torch.save(built.state_dict(), path)
    write_lineage(path, Lineage())
    return path, sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.slow
def test_three_methods(compare, network, place, mlflow_client, capsys):
    weights, parameters = network
    keys = [word for key, value in NETWORK.items() for word in ("--set", f"{key}={value}")]
    methods = ["hungry", "green", "residual_unet"]
    assert compare(",".join(methods), "--weights", f"residual_unet={weights}", *keys) == 0
    said = capsys.readouterr().out
    assert "retinal_vessel phantoms test: 2 cases, 2 subjects" in said
    assert "no difference can be shown" in said
    assert multiprocessing.active_children() == []

    folder = place / "out/compare/retinal_vessel/phantoms_test"
    record = json.loads((folder / "comparison.json").read_text())
    costs = {rung["method"]: rung["cost"] for rung in record["rungs"]}
    assert list(costs) == methods
    assert [costs[name]["parameters"] for name in methods] == [0, 0, parameters]
    # A method's memory is its own: the second does not inherit the peak of the first.
    assert costs["hungry"]["peak_memory_mb"] - costs["green"]["peak_memory_mb"] > 300
    assert all(0 < cost["seconds_per_case"] < 60 for cost in costs.values())

    for name in methods:
        assert [row.case for row in read_rows(folder / name / "scores.csv")] == ["4", "5"]
        assert {file.name for file in (folder / name / "masks").iterdir()} == {"4.png", "5.png"}
    assert_same_means(folder, record)
    assert_page(folder / "comparison.html", methods)
    assert_runs(mlflow_client, methods, record)


def assert_same_means(folder, record):
    """The table's means are those of the rows in comparison.csv."""
    with (folder / "comparison.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    for rung in record["rungs"]:
        own = [float(line["dice"]) for line in lines if line["method"] == rung["method"]]
        assert rung["scores"]["dice"]["mean"] == pytest.approx(np.mean(own))


def assert_page(path, methods):
    page = path.read_text()
    assert page.count("data:image/jpeg") == 2 * (2 + len(methods))  # two cases: image, truth, methods
    assert page.count("data:image/png") == 1
    for name in methods:
        assert name in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def assert_runs(client, methods, record):
    parent, *children = runs(client, "retinal_vessel")
    assert parent.info.run_name == "compare retinal_vessel phantoms test"
    assert [run.info.run_name for run in children] == methods
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    for run, rung in zip(children, record["rungs"], strict=True):
        assert run.data.metrics["dice"] == pytest.approx(rung["scores"]["dice"]["mean"])
        assert parent.data.metrics[f"dice/{run.info.run_name}"] == pytest.approx(run.data.metrics["dice"])
        assert run.data.metrics["seconds_per_case"] == rung["cost"]["seconds_per_case"]
        assert run.data.metrics["parameters"] == rung["cost"]["parameters"]
        assert run.data.params["method"] == rung["method"]
        assert run.data.params["split"] == "test"
        held = artifacts(client, run.info.run_id)
        assert {"cases", "parameters.json", "scores", "case_1.jpg", "case_2.jpg"} <= {*held}
        assert len(load_run(run.info.run_id).rows) == 2  # compare-runs takes it
    assert "comparison.html" in artifacts(client, parent.info.run_id)


@pytest.mark.slow
def test_methods_that_fail(compare, place, mlflow_client, capsys):
    """The others are compared; the failed ones are named with case and reason."""
    assert compare("refusing,green,dying", "--output_dir", "here") == 1
    out, said = capsys.readouterr()
    assert "phantoms test: 2 cases" in out
    assert "refusing failed on 4: medseg could not process it (AttributeError in" in said
    assert "dying failed on 4: its process ended with exit code 3" in said
    record = json.loads((place / "here/comparison.json").read_text())
    assert [rung["method"] for rung in record["rungs"]] == ["green"]
    assert record["tests"] == []
    assert any("refusing failed on 4" in warning for warning in record["warnings"])
    assert "dying failed on 4" in (place / "here/comparison.html").read_text()
    parent, *children = runs(mlflow_client, "retinal_vessel")
    status = {run.info.run_name: run.info.status for run in children}
    assert status == {"refusing": "FAILED", "dying": "FAILED", "green": "FINISHED"}
    assert parent.info.status == "FAILED"
    assert "comparison.html" in artifacts(mlflow_client, parent.info.run_id)
    assert "failed on 4" in children[0].data.tags["mlflow.note.content"]


def test_all_methods_fail(compare, place, monkeypatch, capsys):
    monkeypatch.setattr(module, "run_alone", lambda plan, entry, folder: module.Failure("4", "too dark."))
    assert compare("green,greener", "--output_dir", "here") == 1
    assert "green failed on 4: too dark; greener failed on 4: too dark. here has" in capsys.readouterr().err
    assert not (place / "here/comparison.html").exists()


def test_ctrl_c_ends_all_runs(compare, mlflow_client, monkeypatch):
    def interrupted(plan, entry, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_alone", interrupted)
    assert compare("green,greener") == 1
    found = runs(mlflow_client, "retinal_vessel")
    assert [run.info.run_name for run in found] == ["compare retinal_vessel phantoms test", "green"]
    assert {run.info.status for run in found} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left(place, phantom_data, mlflow_client, number):
    """However the command ends, the process of its method ends with it."""
    words = ["compare", "retinal_vessel", "--methods", "sleeping,green", "--manifest", phantom_data.manifest]
    command = [sys.executable, "-m", "medseg.cli", *words, "--output_dir", "here"]
    started = psutil.Popen([str(word) for word in command], cwd=place)
    try:
        wait_for((place / "here/sleeping/masks").is_dir, 300)
        children = started.children(recursive=True)
        started.send_signal(number)
        assert started.wait(300) == (1 if number == signal.SIGTERM else -number)
        _, alive = psutil.wait_procs(children, timeout=300)
        assert alive == []
    finally:
        if started.is_running():
            started.terminate()
    mark_killed_runs()
    found = {run.info.run_name: run.info.status for run in runs(mlflow_client, "retinal_vessel")}
    assert found == {"compare retinal_vessel phantoms test": "KILLED", "sleeping": "KILLED"}


@pytest.mark.parametrize(
    ("methods", "arguments", "message"),
    [
        ("green,gren", [], "Did you mean green"),
        ("green,greener", ["--weights", "green"], "--weights NAME=FILE"),
        ("green,greener", ["--weights", "green=a", "--weights", "green=b"], "green twice"),
        ("green,greener", ["--set", "treshold=1"], "Did you mean threshold"),
    ],
)
def test_wrong_usage_starts_nothing(compare, place, mlflow_client, capsys, methods, arguments, message):
    assert compare(methods, *arguments) == 2
    assert message in capsys.readouterr().err
    assert runs(mlflow_client, "retinal_vessel") == []
    assert not (place / "out").exists()


@pytest.mark.slow
def test_volumes(run_medseg, lung_data, mlflow_client, tmp_path, monkeypatch):
    """Scores of several labels: `dice` is that of the mean label."""
    monkeypatch.chdir(tmp_path)
    bundle = copy_bundle(tmp_path, task="lung_ct", air=AIR)
    words = ["compare", str(bundle), "--methods", "classical,air", "--manifest", lung_data]
    assert run_medseg(*words, "--output_dir", "out") == 0
    mask = nib.load(tmp_path / "out/classical/masks/3.nii.gz")
    assert mask.shape == (64, 64, 48)
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    assert record["scores"] == ["dice", "surface_dice"]
    _, child, _ = runs(mlflow_client, "lung_ct")
    labels = [child.data.metrics[f"dice_{name}"] for name in ("left_lung", "right_lung", "airway")]
    assert child.data.metrics["dice"] == pytest.approx(np.mean(labels))
    assert (tmp_path / "out/comparison.html").read_text().count("data:image/jpeg") == 4
