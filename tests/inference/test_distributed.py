"""Two processes train what one does, and only the first of them writes."""

import csv
import functools
import json
import operator
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from medseg.bundle import open_bundle
from medseg.errors import UsageError
from medseg.inference import distributed

CONFIGS = open_bundle("retinal_vessel").root / "configs"
NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 2,
    "in_channels": 3,
    "out_channels": 1,
    "channels": [4, 8],
    "strides": [1],
    "num_res_units": 1,
}
SETTINGS = {
    "epochs": 3,
    "val_interval": 2,
    "patches_per_image": 8,
    "patch_px": 64,
    "batch_size": 4,
    "num_workers": 0,
    "autocast": False,
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": [128, 128],
    # Without anything that joins the samples of a batch, the mean gradient of the shares is the batch's.
    "network_def": {**NETWORK, "norm": "instance"},
    "loss": {"_target_": "DiceCELoss", "sigmoid": True},
    # Adam divides by the gradient: where it is almost 0, rounding decides.
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1},
}


# Registered before all else, so it runs after all else that a program does at its end.
LAST_WORDS = """
import atexit, os, pathlib
def say():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    threads = [task.joinpath("comm").read_text().strip() for task in tasks]
    pathlib.Path(f"threads_{os.environ['RANK']}").write_text(" ".join(threads))
if "RANK" in os.environ:
    atexit.register(say)
"""


def command(processes, *files):
    names = str([str(CONFIGS / name) for name in files])
    pairs = [part for key, value in SETTINGS.items() for part in (f"--{key}", str(value))]
    starter = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [
        sys.executable, *(starter if processes > 1 else []), "-m", "monai.bundle", "run",
        "--config_file", names, *pairs,
    ]  # fmt: skip


def run(folder, data, processes, files, *more):
    content = json.loads((data / "phantoms.json").read_text())
    # A second validation case: each process needs one.
    content["validation"].append(content["test"].pop())
    (folder / "manifest.json").write_text(json.dumps(content))
    (folder / "sitecustomize.py").write_text(LAST_WORDS)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "MEDSEG_DATA": str(data),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "OMP_NUM_THREADS": "1",
    }
    arguments = ["--manifests", f"['{folder}/manifest.json']", "--output_dir", "out", *more]
    done = subprocess.run(
        [*command(processes, *files), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(phantom_folder, empty_store, tmp_path_factory):
    """The folders of the same training by one process and by two."""
    folders = {}
    for processes, files in ((1, ["train.yaml"]), (2, ["train.yaml", "multi_gpu_train.yaml"])):
        folder = tmp_path_factory.mktemp(f"by_{processes}")
        shutil.copy(empty_store, folder / "mlflow.db")
        run(folder, phantom_folder, processes, files)
        folders[processes] = folder
    return folders


def checkpoint(folder):
    return torch.load(folder / "out" / "models" / "checkpoint.pt", weights_only=True)


@pytest.mark.slow
def test_the_same_weights(trained):
    one, two = checkpoint(trained[1]), checkpoint(trained[2])
    assert set(one["network"]) == set(two["network"])
    for name, tensor in one["network"].items():
        # Wrongly averaged gradients would be off by the learning rate, 0.004; another order of sums is less.
        assert torch.allclose(tensor, two["network"][name], atol=1e-4), name
    for curve in ("train_loss", "train_dice", "val_dice"):
        expected = [value for _, value in one["standing"]["history"][curve]]
        assert [value for _, value in two["standing"]["history"][curve]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed on Linux alone")
def test_no_thread_outlives_the_interpreter(trained):
    for rank in (0, 1):
        threads = (trained[2] / f"threads_{rank}").read_text()
        assert "python" in threads
        assert "gloo" not in threads


@pytest.mark.slow
def test_only_the_first_process_writes(trained):
    client = MlflowClient(f"sqlite:///{trained[2]}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("retinal_vessel").experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 3
    lines = {n: (trained[n] / "out" / "scores.csv").read_text().splitlines() for n in (1, 2)}
    assert [line.split(",")[0] for line in lines[2]] == ["case", "3", "5"]
    assert [line.split(",")[0] for line in lines[1]] == ["case", "3", "5"]
    assert {file.name for file in (trained[2] / "out" / "cases").iterdir()} == {"3.jpg", "5.jpg"}


@pytest.mark.slow
def test_the_scores_are_those_of_the_weights(phantom_folder, empty_store, run_medseg, tmp_path, monkeypatch):
    """With batch norm, whose running statistics differ from process to process."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    batch_norm = ["--network_def", str({**NETWORK, "norm": "batch"})]
    run(tmp_path, phantom_folder, 2, ["train.yaml", "multi_gpu_train.yaml"], *batch_norm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSEG_DATA", str(phantom_folder))
    options = ["--weights", "out/models/model.pt", "--split", "validation", "--output_dir", "again"]
    pairs = {"field_diameter_px": SETTINGS["field_diameter_px"], "network_def": {**NETWORK, "norm": "batch"}}
    sets = [part for key, value in pairs.items() for part in ("--set", f"{key}={value}")]
    assert run_medseg("evaluate", "retinal_vessel", "--manifest", "manifest.json", *options, *sets) == 0
    for case, again in zip(rows(tmp_path / "out"), rows(tmp_path / "again"), strict=True):
        assert case["case"] == again["case"]
        assert float(case["roc_auc"]) == pytest.approx(float(again["roc_auc"]), abs=1e-6)


def rows(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UsageError, match="torchrun"):
        distributed.start_processes()


def test_shares(monkeypatch):
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed.idist, "get_rank", lambda rank=rank: rank)
        shares.append(distributed.share(range(7)))
    assert sorted(functools.reduce(operator.iadd, shares, [])) == list(range(7))
    assert {len(part) for part in shares} == {2, 3}
    with pytest.raises(UsageError, match="2 items for 3 processes"):
        distributed.share([1, 2])
