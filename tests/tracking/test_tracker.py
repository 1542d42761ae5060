"""One training, one MLflow run: what it holds, how it ends, and that nothing is lost or doubled."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from fundus_pictures import write_png
from tracked_training import (
    EPOCHS,
    artifacts,
    history,
    in_another_process,
    losses,
    model_in,
    runs,
    train,
    wait_for,
    warnings_in,
)

from medseg import __version__
from medseg.tracking.journal import Journal
from medseg.tracking.tracker import (
    Tracker,
    deliver,
    tracked,
)

pytestmark = pytest.mark.seconds


def test_what_is_logged(mlflow_client, folder):
    with tracked(Tracker(folder, experiment="vessels", run_name="first")) as tracker:
        tracker.parameters({"epochs": 3, "network": {"channels": [4, 8], "norm": {"kind": "batch"}}})
        tracker.tags({"quality": "good"})
        tracker.metrics({"loss": np.float32(0.5), "val/dice": 1}, np.int64(1))
        tracker.metrics({"loss": 0.25}, 2)
    (run,) = runs(mlflow_client)
    assert run.info.run_id == tracker.run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params == {
        "epochs": "3",
        "network.channels": "[4, 8]",
        "network.norm.kind": "batch",
    }
    assert history(mlflow_client, run.info.run_id) == [(1, 0.5), (2, 0.25)]
    assert history(mlflow_client, run.info.run_id, "val/dice") == [(1, 1.0)]
    tags = run.data.tags
    assert tags["quality"] == "good"
    assert tags["medseg.version"] == __version__
    assert tags["medseg.key"] == tracker.key
    assert tags["medseg.host"] == socket.gethostname()
    assert tags["medseg.process"].startswith(f"{os.getpid()} ")


def test_times_are_those_of_the_training(mlflow_client, folder, away):
    """Not those of the delivery."""
    begin = time.time() * 1000
    train(folder)[0].finish("FINISHED")
    # Events of the same millisecond get times of their own.
    end = time.time() * 1000 + 50
    away()
    time.sleep(0.1)
    assert deliver(folder)
    (run,) = runs(mlflow_client)
    times = [metric.timestamp for metric in mlflow_client.get_metric_history(run.info.run_id, "loss")]
    assert begin - 1 <= run.info.start_time <= min(times) < max(times) <= run.info.end_time <= end


def test_a_run_without_a_name_gets_the_time(mlflow_client, folder):
    Tracker(folder, experiment="vessels").finish("FINISHED")
    (run,) = runs(mlflow_client)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", run.info.run_name)


def test_nothing_that_names_the_user(mlflow_client, folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/dr_no")
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.parameters({"data": "/home/dr_no/images"})
        tracker.tags({"data": "/home/dr_no/images"})
    (run,) = runs(mlflow_client)
    assert run.data.params["data"] == run.data.tags["data"] == "~/images"
    assert "dr_no" not in str(run.data)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a#b", "a_b"),
        ("dice: vessel/left", "dice: vessel/left"),
        ("größe", "größe"),
        ("/a//b/./c/", "a/b/c"),
        ("../a", "_/a"),
        ("..a", "__a"),
        ("a\n", "a_"),
        ("", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_that_mlflow_refuses_become_valid(mlflow_client, folder, name, there):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.parameters({name: 1})
        tracker.tags({name: "1"})
        tracker.metrics({name: 1}, 1)
    (run,) = runs(mlflow_client)
    assert run.data.params == {there: "1"}
    assert run.data.tags[there] == "1"
    assert run.data.metrics == {there: 1}


def test_long_values_are_cut_with_a_mark(mlflow_client, folder):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.parameters({"long": "x" * 7000, "fits": "x" * 6000})
        tracker.tags({"long": "x" * 9000})
    (run,) = runs(mlflow_client)
    assert run.data.params["fits"] == "x" * 6000
    assert run.data.params["long"].endswith("x... (7000 characters)")
    assert run.data.tags["long"].endswith("x... (9000 characters)")


def test_numbers_that_are_none(mlflow_client, folder):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.metrics({"nan": float("nan"), "inf": float("inf"), "loss": 1}, 1)
    (run,) = runs(mlflow_client)
    assert np.isnan(run.data.metrics["nan"])
    # MLflow stores 1.8e308, with which no curve can be read.
    assert np.isnan(run.data.metrics["inf"])
    assert run.data.metrics["loss"] == 1


def test_an_entry_that_is_refused_takes_no_other_with_it(mlflow_client, folder, caplog):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.parameters({"rate": 1, "epochs": 3})
        tracker.commit()
        tracker.parameters({"before": 1, "rate": 2, "after": 1})
        tracker.metrics({"loss": 1}, 1)
    (run,) = runs(mlflow_client)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "1", "epochs": "3", "before": "1", "after": "1"}
    assert run.data.metrics == {"loss": 1}
    (warning,) = warnings_in(caplog)
    assert warning.startswith("MLflow refuses rate, which is left out: ")


def test_more_than_one_request_takes(mlflow_client, folder):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.parameters({f"p{i}": i for i in range(150)})
        tracker.metrics({f"m{i}": i for i in range(1200)}, 1)
        for step in range(5):
            tracker.metrics({f"n{i}": i for i in range(300)}, step)
    (run,) = runs(mlflow_client)
    assert len(run.data.params) == 150
    assert run.data.metrics == {f"m{i}": i for i in range(1200)} | {f"n{i}": i for i in range(300)}
    assert history(mlflow_client, tracker.run_id, "n7") == [(step, 7.0) for step in range(5)]


def test_the_last_value_of_a_tag_counts(mlflow_client, folder):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        tracker.tags({"best": "1"})
        tracker.tags({"best": "2"})
    (run,) = runs(mlflow_client)
    assert run.data.tags["best"] == "2"


def test_data_sets(mlflow_client, folder):
    digest = "0123456789abcdef" * 4
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        # MLflow itself takes the second for the first.
        tracker.dataset("drive", digest, "training")
        tracker.dataset("drive", digest, "validation")
    inputs = mlflow_client.get_run(tracker.run_id).inputs.dataset_inputs
    found = {(i.dataset.name, i.dataset.digest, i.tags[0].key, i.tags[0].value) for i in inputs}
    assert found == {
        (f"drive/{split}", digest[:36], "mlflow.data.context", split) for split in ("training", "validation")
    }
    assert json.loads(inputs[0].dataset.source) == {"name": "drive", "digest": digest}


def test_artifacts_and_pictures(mlflow_client, folder, caplog):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        results = folder.parent
        write_png(results / "a.png", np.zeros((4, 4), np.uint8))
        (results / "cases").mkdir()
        (results / "cases" / "1.csv").write_text("dice")
        (results / "bad.png").write_text("no picture")
        tracker.artifact(results / "cases" / "1.csv", "scores")
        tracker.artifact(results / "cases")
        tracker.artifact(results / "missing.csv")
        # All at the same moment.
        for key in ("worst", "median/left", "best#1"):
            tracker.picture(results / "a.png", key, 7)
        tracker.picture(results / "bad.png", "bad", 7)
    client, run_id = mlflow_client, tracker.run_id
    assert artifacts(client, run_id) == ["cases", "images", "scores"]
    assert artifacts(client, run_id, "scores") == ["scores/1.csv"]
    assert artifacts(client, run_id, "cases") == ["cases/1.csv"]
    pictures = artifacts(client, run_id, "images")
    assert len(pictures) == 6
    assert {name.split("+")[0] for name in pictures} == {
        "images/worst",
        "images/median~left",
        "images/best_1",
    }
    assert all("+step+7+" in name for name in pictures)
    assert warnings_in(caplog) == [
        f"{folder}/../missing.csv was deleted before it could be sent to MLflow.",
        "MLflow refuses picture, which is left out: bad.png is not a picture",
    ]
    assert client.get_run(run_id).info.status == "FINISHED"


def test_models(mlflow_client, folder):
    for name in ("first", "second"):
        with tracked(Tracker(folder / name, experiment="vessels")) as tracker:
            tracker.model(model_in(folder / name / "mlflow"), "vessels/retina")
    versions = mlflow_client.search_model_versions("name = 'vessels_retina'")
    assert sorted(int(version.version) for version in versions) == [1, 2]
    newest = max(versions, key=lambda version: int(version.version))
    assert newest.run_id == tracker.run_id
    assert newest.source == f"runs:/{tracker.run_id}/model"
    digest = subprocess.run(["sha256sum", "data/model.pth"], cwd=folder / "second/mlflow", stdout=-1).stdout
    assert newest.tags["sha256"] == digest.decode().strip()
    assert artifacts(mlflow_client, tracker.run_id, "model") == ["model/MLmodel", "model/data"]


def test_artifacts_are_found_in_a_folder_that_was_moved(mlflow_client, folder, away):
    with tracked(Tracker(folder, experiment="vessels")) as tracker:
        (folder.parent / "scores.csv").write_text("dice")
        tracker.artifact(folder.parent / "scores.csv")
    away()
    moved = folder.parent.rename(folder.parents[1] / "moved")
    assert deliver(moved)
    (run,) = runs(mlflow_client)
    assert artifacts(mlflow_client, run.info.run_id) == ["scores.csv"]


def test_two_trainings_are_two_runs(mlflow_client, tmp_path):
    for seed in (1, 2):
        with tracked(Tracker(tmp_path / str(seed), experiment="vessels", run_name="same")) as tracker:
            tracker.parameters({"seed": seed})
    assert [run.data.params for run in runs(mlflow_client)] == [{"seed": "1"}, {"seed": "2"}]


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_an_earlier_run_is_left_alone(mlflow_client, folder, status):
    experiment = mlflow_client.create_experiment("vessels")
    old = mlflow_client.create_run(experiment, run_name="crashed").info.run_id
    if status != "RUNNING":
        mlflow_client.set_terminated(old, status)
    tracker, _ = train(folder, run_name="crashed")
    tracker.finish("FINISHED")
    left = mlflow_client.get_run(old)
    assert left.info.status == status
    assert left.data.metrics == {}
    assert {run.info.run_id for run in runs(mlflow_client)} == {old, tracker.run_id}


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("broken"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(3), "FAILED")],
)
def test_how_a_broken_training_ends(mlflow_client, folder, error, status):
    def break_down(tracker):
        tracker.metrics({"loss": 1}, 1)
        tracker.commit()
        tracker.metrics({"loss": 2}, 2)
        raise error

    tracker = Tracker(folder, experiment="vessels")
    with pytest.raises(type(error)) as raised, tracked(tracker):
        break_down(tracker)
    assert raised.value is error
    run = mlflow_client.get_run(tracker.run_id)
    assert run.info.status == status
    # What a resumed training does again isn't there.
    assert history(mlflow_client, tracker.run_id) == [(1, 1.0)]


def test_the_error_goes_on_when_the_disk_is_full_too(mlflow_client, folder, monkeypatch):
    def full(*arguments, **content):
        raise OSError("no space left on device")

    def break_down():
        monkeypatch.setattr(Journal, "note", full)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), tracked(Tracker(folder, experiment="vessels")):
        break_down()


def test_ctrl_c_in_the_last_moment_waits(mlflow_client, folder, monkeypatch):
    """The run ends FINISHED, which it is, and then the program ends."""
    tracker = Tracker(folder, experiment="vessels")
    finish = tracker.finish

    def disturbed(status):
        signal.raise_signal(signal.SIGINT)
        finish(status)

    monkeypatch.setattr(tracker, "finish", disturbed)
    # A shell starts what runs in its background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), tracked(tracker):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert mlflow_client.get_run(tracker.run_id).info.status == "FINISHED"


def test_signals_are_as_before(mlflow_client, folder):
    def handler(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with tracked(Tracker(folder, experiment="vessels")):
            assert signal.getsignal(signal.SIGTERM) is not handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


TERMINATED = """
    tracker = Tracker(Path(sys.argv[1]), experiment="vessels")
    finish = tracker.finish

    def slow(status):
        print("ending", flush=True)
        time.sleep(1)
        finish(status)

    tracker.finish = slow
    with tracked(tracker):
        tracker.metrics({"loss": 1}, 1)
        tracker.commit()
        worker = os.fork()
        if not worker:
            print(os.getpid(), flush=True)
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
"""


@pytest.mark.slow
def test_sigterm(mlflow_client, folder):
    process = in_another_process(TERMINATED, folder, stderr=subprocess.PIPE)
    worker = int(process.stdout.readline())
    # A worker dies as if it had no handler, and ends nobody's run.
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z")
    (run,) = runs(mlflow_client)
    assert run.info.status == "RUNNING"
    process.terminate()
    assert process.stdout.readline() == "ending\n"
    # The second one comes while the run is being ended.
    process.terminate()
    process.wait(timeout=60)
    assert process.returncode != 0
    assert "Terminated" in process.stderr.read()
    (run,) = runs(mlflow_client)
    assert run.info.status == "KILLED"
    assert history(mlflow_client, run.info.run_id) == [(1, 1.0)]


def test_a_child_names_its_parent(mlflow_client, tmp_path):
    with tracked(Tracker(tmp_path / "all", experiment="vessels")) as parent:
        child, _ = train(tmp_path / "fold", parent=parent.key)
    assert mlflow_client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_a_child_waits_for_its_parent(mlflow_client, tmp_path, away, caplog):
    parent = Tracker(tmp_path / "out/z_parent", experiment="vessels")
    away()
    child, _ = train(tmp_path / "out/a_child", parent=parent.key)
    assert child.run_id is None
    assert "MLflow does not have the parent run yet" in warnings_in(caplog)[-1]
    child.finish("FINISHED")
    assert deliver(tmp_path / "out")
    first, second = runs(mlflow_client)
    assert second.data.tags["mlflow.parentRunId"] == first.info.run_id
    assert history(mlflow_client, second.info.run_id) == losses(EPOCHS)
