"""A training that is killed at random moments and resumed is the training that was never interrupted."""

import multiprocessing
import random
import shutil
import time

import pytest
import torch
from forked_training import train
from mlflow import MlflowClient

KILLS = 5


@pytest.fixture(scope="module")
def start(phantom_folder):
    """Start a training in a process forked from one that has imported all it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medseg.training.folds", "medseg.training.run", "monai.bundle", "mlflow"])

    warm_up = context.Process(target=time.sleep, args=(0,))
    warm_up.start()
    warm_up.join()

    def run(folder, *arguments):
        process = context.Process(target=train, args=(folder, phantom_folder, *arguments))
        process.start()
        return process

    return run


def wait_for_start(process, folder):
    """Until the training, new or resumed, has noted that it is under way."""
    journal = folder / "out" / "tracking" / "journal.jsonl"
    before = journal.stat().st_size if journal.exists() else 0
    while process.is_alive() and not (journal.exists() and journal.stat().st_size != before):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(start, empty_store, tmp_path_factory):
    """The folder of a training, and how many seconds it trained."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    shutil.copy(empty_store, folder / "mlflow.db")
    process = start(folder)
    wait_for_start(process, folder)
    begun = time.monotonic()
    process.join()
    assert process.exitcode == 0
    return folder, time.monotonic() - begun


def outcome(folder):
    saved = torch.load(folder / "out" / "models" / "checkpoint.pt", weights_only=True)
    return {part: saved[part] for part in ("network", "best_model", "standing", "lr_scheduler")}


def runs(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client, client.search_runs([client.get_experiment_by_name("retinal_vessel").experiment_id])


def curves(folder):
    """Every point of every curve but the durations, in the one run that there must be."""
    client, (run,) = runs(folder)
    assert run.info.status == "FINISHED"
    names = [name for name in run.data.metrics if not name.startswith(("seconds/", "system/"))]
    points = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: sorted((point.step, point.value) for point in found) for name, found in points.items()}


@pytest.mark.slow
def test_five_kills_change_nothing(start, uninterrupted, empty_store, tmp_path):
    whole, seconds = uninterrupted
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    moments = random.Random(0)
    killed, epochs = 0, []
    for _ in range(KILLS):
        process = start(tmp_path, "--resume")
        wait_for_start(process, tmp_path)
        process.join(moments.uniform(0, 0.3) * seconds)
        killed += process.is_alive()
        process.kill()
        process.join()
        checkpoint = tmp_path / "out" / "models" / "checkpoint.pt"
        if checkpoint.exists():
            epochs.append(torch.load(checkpoint, weights_only=True)["standing"]["epoch"])
    assert killed >= 3, f"the kills came too late, after epochs {epochs}"
    process = start(tmp_path, "--resume")
    process.join()
    assert process.exitcode == 0
    expected, found = outcome(whole), outcome(tmp_path)
    for part in ("network", "best_model"):
        for name, tensor in expected[part].items():
            assert torch.equal(tensor, found[part][name]), f"{part} {name}"
    assert found["standing"] == expected["standing"]
    assert found["lr_scheduler"] == expected["lr_scheduler"]
    assert curves(tmp_path) == curves(whole)
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (whole / "out" / "scores.csv").read_bytes()


@pytest.mark.slow
def test_a_killed_run_is_marked_by_the_next_command(start, uninterrupted, empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    process = start(tmp_path)
    while not (tmp_path / "out" / "tracking" / "delivered.json").exists():
        time.sleep(0.01)
        assert process.is_alive()
    process.kill()
    process.join()
    _, (run,) = runs(tmp_path)
    assert run.info.status == "RUNNING"
    other = start(tmp_path, "--output_dir", "other", "--epochs", "1")
    other.join()
    assert other.exitcode == 0
    states = {run.info.run_id: run.info.status for run in runs(tmp_path)[1]}
    assert states.pop(run.info.run_id) == "KILLED"
    assert list(states.values()) == ["FINISHED"]


@pytest.mark.slow
def test_two_trainings_in_one_folder(start, uninterrupted, empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    first = start(tmp_path)
    wait_for_start(first, tmp_path)
    second = start(tmp_path, "--resume")
    second.join()
    assert second.exitcode == 1
    assert first.is_alive()
    first.kill()
    first.join()
