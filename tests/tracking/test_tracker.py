"""One training, one MLflow run: what it holds, how it ends, and that nothing is lost or doubled."""

import json
import logging
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from fundus_pictures import write_png

from medseg import __version__
from medseg.errors import MedsegError, UsageError
from medseg.tracking import delivery
from medseg.tracking import tracker as tracking
from medseg.tracking.delivery import Delivery
from medseg.tracking.journal import Journal
from medseg.tracking.store import StoreUnavailable
from medseg.tracking.tracker import (
    Tracker,
    deliver,
    experiment_pages,
    mark_killed_runs,
    tracked,
    tracking_uri,
)

EPOCHS = 3
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out" / "tracking"


@pytest.fixture
def away(monkeypatch):
    """MLflow doesn't answer; called, it does again, at what MLFLOW_TRACKING_URI named before."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def back():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    return back


@pytest.fixture(autouse=True)
def _log_level(caplog):
    caplog.set_level(logging.INFO, logger="medseg")


def warnings_in(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name[:6] == "medseg"]


def runs(client, experiment="vessels"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["start_time"]) if found else []


def history(client, run_id, key="loss"):
    """Every point of a metric, so that one that is there twice shows."""
    points = client.get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def losses(epochs):
    return [(epoch, 1 / epoch) for epoch in range(1, epochs + 1)]


def artifacts(client, run_id, path=None):
    return [file.path for file in client.list_artifacts(run_id, path)]


def train(folder, epochs=EPOCHS, first=1, **options):
    """A tracked training, which stays RUNNING; its position after each epoch, the 0th included."""
    tracker = Tracker(folder, experiment="vessels", **options)
    positions = {}
    for epoch in range(first, epochs + 1):
        positions[epoch - 1] = tracker.position
        tracker.commit()
        tracker.metrics({"loss": 1 / epoch}, epoch)
    positions[epochs] = tracker.position
    tracker.commit()
    return tracker, positions


def in_another_process(code, *arguments, **options):
    """Start Python code that has the tracker at hand."""
    header = """
        import os, signal, sys, time
        from pathlib import Path
        from medseg.tracking.tracker import Tracker, tracked
    """
    script = textwrap.dedent(header) + textwrap.dedent(code)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


# ----- what is logged


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
        f"{folder}/../missing.csv was gone before MLflow got it.",
        "MLflow refuses picture, which is left out: bad.png is no picture",
    ]
    assert client.get_run(run_id).info.status == "FINISHED"


def model_in(folder):
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "model.pth").write_text("weights")
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


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


# ----- whose run it is, and how it ends


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


# ----- a resumed training


def test_a_killed_training_goes_on_in_its_run(mlflow_client, folder):
    tracker, positions = train(folder, epochs=2)
    tracker.metrics({"loss": 99}, 3)
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    resumed, _ = train(folder, first=3, resume_at=positions[2])
    assert (resumed.key, resumed.run_id) == (tracker.key, tracker.run_id)
    assert [run.info.status for run in runs(mlflow_client)] == ["RUNNING"]
    resumed.finish("FINISHED")
    (run,) = runs(mlflow_client)
    assert run.info.status == "FINISHED"
    assert history(mlflow_client, run.info.run_id) == losses(EPOCHS)


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "FINISHED"])
def test_a_training_that_has_ended_goes_on_in_its_run(mlflow_client, folder, status):
    tracker, positions = train(folder, epochs=2)
    tracker.finish(status)
    mlflow_client.set_tag(tracker.run_id, "medseg.process", "1 1.0")
    resumed = Tracker(folder, experiment="vessels", resume_at=positions[2])
    run = mlflow_client.get_run(tracker.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["medseg.process"].startswith(f"{os.getpid()} ")
    resumed.metrics({"loss": 1 / 3}, 3)
    resumed.finish("FINISHED")
    (run,) = runs(mlflow_client)
    assert run.info.status == "FINISHED"
    assert history(mlflow_client, run.info.run_id) == losses(3)


def test_killed_between_checkpoint_and_commit(mlflow_client, folder):
    """The checkpoint holds the epoch, so nobody trains it again."""
    tracker = Tracker(folder, experiment="vessels")
    tracker.metrics({"loss": 1}, 1)
    position = tracker.position
    tracker.finish("KILLED")
    assert history(mlflow_client, tracker.run_id) == []
    resumed, _ = train(folder, first=2, resume_at=position)
    resumed.finish("FINISHED")
    assert history(mlflow_client, tracker.run_id) == losses(EPOCHS)


@pytest.mark.parametrize("ended", [True, False])
def test_an_older_checkpoint(mlflow_client, folder, ended):
    """MLflow can't take back what it has; what it has isn't sent again."""
    tracker, positions = train(folder, epochs=3)
    if ended:
        tracker.finish("FINISHED")
    _, positions = train(folder, first=2, epochs=2, resume_at=positions[1])
    resumed, _ = train(folder, first=3, epochs=5, resume_at=positions[2])
    resumed.finish("FINISHED")
    (run,) = runs(mlflow_client)
    assert history(mlflow_client, run.info.run_id) == losses(5)


def test_an_older_checkpoint_twice(mlflow_client, folder):
    """The second kill comes before anything is noted, so the first resume is forgotten."""
    _, positions = train(folder, epochs=3)
    Tracker(folder, experiment="vessels", resume_at=positions[1])
    resumed, _ = train(folder, first=2, epochs=4, resume_at=positions[1])
    assert history(mlflow_client, resumed.run_id) == losses(4)


def test_a_journal_that_a_power_cut_has_shortened(mlflow_client, folder, caplog):
    tracker, positions = train(folder, epochs=2)
    file = folder / "journal.jsonl"
    os.truncate(file, positions[1] + 20)
    resumed, _ = train(folder, first=3, resume_at=positions[2])
    assert resumed.run_id == tracker.run_id
    assert history(mlflow_client, tracker.run_id) == losses(EPOCHS)
    assert warnings_in(caplog) == []


def test_an_older_checkpoint_of_what_no_store_has(mlflow_client, folder, away):
    _, positions = train(folder, epochs=3)
    train(folder, first=2, epochs=5, resume_at=positions[1])[0].finish("FINISHED")
    away()
    assert deliver(folder)
    (run,) = runs(mlflow_client)
    assert history(mlflow_client, run.info.run_id) == losses(5)


def test_the_disk_holds_what_a_checkpoint_counts_on(mlflow_client, folder, monkeypatch):
    """A power cut takes what is in memory alone."""
    tracker = Tracker(folder, experiment="vessels")
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(os.fstat(number).st_size), fsync(number)))
    tracker.metrics({"loss": 1}, 1)
    assert tracker.position == flushed[-1]


def test_a_lost_journal_is_a_new_run(mlflow_client, folder, caplog):
    tracker, positions = train(folder, epochs=2)
    shutil.rmtree(folder)
    resumed, _ = train(folder, first=3, resume_at=positions[2])
    assert resumed.run_id != tracker.run_id
    assert history(mlflow_client, resumed.run_id) == [(3, 1 / 3)]
    assert [warning for warning in warnings_in(caplog) if "is lost" in warning]


def test_without_resume_it_is_a_new_run(mlflow_client, folder):
    tracker, _ = train(folder)
    again, _ = train(folder)
    assert again.run_id != tracker.run_id
    assert history(mlflow_client, again.run_id) == losses(EPOCHS)
    assert sorted(path.name for path in folder.iterdir()) == ["delivered.json", "journal.jsonl"]


def test_a_new_run_keeps_what_the_old_one_has_not_delivered(mlflow_client, folder, away):
    train(folder, run_name="old")[0].finish("FINISHED")
    train(folder, run_name="new")[0].finish("FINISHED")
    away()
    assert deliver(folder)
    found = runs(mlflow_client)
    assert [run.info.run_name for run in found] == ["old", "new"]
    assert [history(mlflow_client, run.info.run_id) for run in found] == [losses(EPOCHS)] * 2


@pytest.mark.seconds
def test_the_folder_of_a_running_training(mlflow_client, folder, caplog):
    code = """
        tracker = Tracker(Path(sys.argv[1]), experiment="vessels")
        print("ready", flush=True)
        time.sleep(60)
    """
    process = in_another_process(code, folder)
    process.stdout.readline()
    with pytest.raises(UsageError, match="no other process"):
        Tracker(folder, experiment="vessels")
    assert not deliver(folder)
    assert "is in use" in warnings_in(caplog)[-1]
    process.kill()
    process.wait()
    assert deliver(folder)


def test_the_folder_of_a_training_that_has_ended(mlflow_client, folder, monkeypatch):
    """Its process may live on, as a notebook's does."""
    tracker, _ = train(folder)
    other = tracking.this_process() | {"pid": os.getpid() + 1}
    monkeypatch.setattr(tracking, "this_process", lambda: other)
    assert not deliver(folder)
    tracker.finish("FINISHED")
    assert deliver(folder)


# ----- killed at any moment


class Killed(BaseException):
    """What kill -9 does to a process that writes its files without a buffer."""


def resumable(folder):
    """A training as the real one: its checkpoint holds the epoch and the position."""
    checkpoint = folder / "checkpoint.json"
    saved = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0, "position": None}
    tracker = Tracker(folder, experiment="vessels", resume_at=saved["position"])

    def save(epoch):
        checkpoint.write_text(json.dumps({"epoch": epoch, "position": tracker.position}))
        tracker.commit()

    if not saved["epoch"]:
        tracker.parameters({"rate": 1})
        tracker.dataset("drive", "abc", "training")
    for epoch in range(saved["epoch"] + 1, 3):
        tracker.metrics({"loss": 1 / epoch}, epoch)
        tracker.picture(folder / "a.png", "worst", epoch)
        save(epoch)
    tracker.artifact(folder / "a.png")
    tracker.model(folder / "mlflow", "retina")
    tracker.finish("FINISHED")
    return tracker


@pytest.fixture
def kill_at(monkeypatch):
    """Kill before or after the n-th call that changes a file or the store."""
    from mlflow import MlflowClient

    count = {"left": 0}

    def counted(function):
        def call(*arguments, **options):
            for done in (False, True):
                result = function(*arguments, **options) if done else None
                count["left"] -= 1
                if count["left"] == 0:
                    raise Killed
            return result

        return call

    calls = [(Journal, "note"), (Journal, "set_delivered")]
    writing = "create_run log_batch log_inputs log_artifact log_artifacts log_image create_model_version"
    calls += [(MlflowClient, name) for name in [*writing.split(), "set_terminated", "update_run"]]
    for owner, name in calls:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))

    def set_count(number):
        count["left"] = number

    return set_count


@pytest.mark.slow
def test_killed_at_any_moment(mlflow_client, tmp_path, kill_at):
    moment = 0
    while True:
        moment += 1
        folder = tmp_path / str(moment)
        model_in(folder / "mlflow")
        write_png(folder / "a.png", np.zeros((4, 4), np.uint8))
        kill_at(moment)
        try:
            resumable(folder)
        except Killed:
            # The second kill hits what is sent again.
            kill_at(moment // 2)
            try:
                resumable(folder)
            except Killed:
                kill_at(0)
                resumable(folder)
        else:
            break
        kill_at(0)
        check_complete(mlflow_client, folder)
    assert moment > 50


def check_complete(client, folder):
    """The run that the journal is of holds everything once."""
    key = Journal(folder / "journal.jsonl").start().content["key"]
    (run,) = [run for run in runs(client) if run.data.tags["medseg.key"] == key]
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "1"}
    assert history(client, run_id) == losses(2)
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1
    assert artifacts(client, run_id) == ["a.png", "images", "model"]
    pictures = artifacts(client, run_id, "images")
    # A kill between the two files of a picture leaves the first of them twice.
    assert sorted(name.split("+")[2] for name in pictures if name.endswith(".webp")) == ["1", "2"]
    assert len({name.split("+")[4] for name in pictures}) == 2
    assert len(client.search_model_versions(f"run_id = '{run_id}'")) == 1


EXIT = """
    from medseg.tracking.journal import Journal

    def die(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    tracker = Tracker(Path(sys.argv[1]), experiment="vessels")
    for epoch in (1, 2):
        tracker.metrics({"loss": 1 / epoch}, epoch)
        if epoch == 2:
            # MLflow has it, and delivered.json doesn't say so.
            Journal.set_delivered = die
        print(tracker.position, flush=True)
        tracker.commit()
"""


@pytest.mark.slow
def test_kill_9(mlflow_client, folder):
    process = in_another_process(EXIT, folder)
    positions = process.stdout.read().split()
    assert process.wait() == -signal.SIGKILL
    (run,) = runs(mlflow_client)
    assert run.info.status == "RUNNING"
    assert history(mlflow_client, run.info.run_id) == losses(2)
    assert mark_killed_runs() == [run.info.run_id]
    assert mlflow_client.get_run(run.info.run_id).info.status == "KILLED"
    resumed, _ = train(folder, first=3, resume_at=int(positions[1]))
    resumed.finish("FINISHED")
    assert [run.info.status for run in runs(mlflow_client)] == ["FINISHED"]
    assert history(mlflow_client, run.info.run_id) == losses(EPOCHS)


def test_everything_sent_twice_is_there_once(mlflow_client, folder):
    model_in(folder / "mlflow")
    write_png(folder / "a.png", np.zeros((4, 4), np.uint8))
    resumable(folder)
    (folder / "delivered.json").unlink()
    assert deliver(folder)
    check_complete(mlflow_client, folder)
    assert len(runs(mlflow_client)) == 1


def test_what_is_delivered_is_not_sent_again(mlflow_client, folder, monkeypatch):
    sent = []
    log = Delivery._log

    def counted(self, items):
        sent.append([item.key for item in items])
        log(self, items)

    monkeypatch.setattr(Delivery, "_log", counted)
    tracker = Tracker(folder, experiment="vessels")
    for epoch in (1, 2):
        tracker.metrics({f"dice{epoch}": 1}, epoch)
        position = tracker.position
        tracker.commit()
    resumed = Tracker(folder, experiment="vessels", resume_at=position)
    resumed.tags({"best": "2"})
    resumed.finish("FINISHED")
    assert deliver(folder)
    assert [keys for keys in sent if keys] == [["dice1"], ["dice2"], ["best"]]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"run_id": "0123456789abcdef0123456789abcdef", "bytes": 9999}']
)
def test_a_damaged_note_of_what_is_delivered(mlflow_client, folder, content):
    tracker, _ = train(folder)
    (folder / "delivered.json").write_text(content)
    assert deliver(folder)
    assert [run.info.run_id for run in runs(mlflow_client)] == [tracker.run_id]
    assert history(mlflow_client, tracker.run_id) == losses(EPOCHS)


def test_a_damaged_line_costs_one_line(mlflow_client, folder, away, caplog):
    train(folder)[0].finish("FINISHED")
    file = folder / "journal.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    bad = next(i for i, line in enumerate(lines) if b'"step": 2' in line)
    lines[bad] = b"\0" * 20 + b"\n"
    file.write_bytes(b"".join(lines))
    away()
    assert deliver(folder)
    (run,) = runs(mlflow_client)
    assert history(mlflow_client, run.info.run_id) == [(1, 1.0), (3, 1 / 3)]
    assert "damaged line" in warnings_in(caplog)[-1]


# ----- a store that doesn't answer


def test_a_store_that_is_away(mlflow_client, folder, away, caplog):
    tracker, _ = train(folder, epochs=20)
    tracker.finish("FINISHED")
    assert tracker.run_id is None
    first, last = warnings_in(caplog)
    assert f"MLflow at {CLOSED}" in first
    assert "Connection refused" in first
    assert f"{folder / 'journal.jsonl'} keeps it" in first
    assert f"`medseg sync {folder.parent}`" in last
    assert not deliver(folder)
    away()
    assert deliver(folder)
    (run,) = runs(mlflow_client)
    assert run.info.status == "FINISHED"
    assert history(mlflow_client, run.info.run_id) == losses(20)


def test_a_store_that_comes_back(mlflow_client, folder, away, caplog, monkeypatch):
    monkeypatch.setattr(tracking, "_FIRST_PAUSE_SECONDS", 0.0)
    tracker = Tracker(folder, experiment="vessels")
    tracker.metrics({"loss": 1}, 1)
    tracker.commit()
    away()
    tracker.metrics({"loss": 1 / 2}, 2)
    tracker.commit()
    assert history(mlflow_client, tracker.run_id) == losses(2)
    tracker.finish("FINISHED")
    assert len(warnings_in(caplog)) == 1
    assert "MLflow answers again" in caplog.text


def test_when_it_tries_again(mlflow_client, folder, monkeypatch):
    now, tried = [0.0], []

    def fail(self):
        tried.append(now[0])
        raise StoreUnavailable("away")

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tracker = Tracker(folder, experiment="vessels")
    monkeypatch.setattr(Delivery, "deliver", fail)
    for second in range(1200):
        now[0] = second
        tracker.commit()
    assert tried == [0, 5, 15, 35, 75, 155, 315, 615, 915]


@pytest.mark.parametrize(
    "code",
    [
        *("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"),
        *("UNAUTHENTICATED", "PERMISSION_DENIED"),
    ],
)
def test_errors_that_may_pass(mlflow_client, folder, monkeypatch, caplog, code):
    """They cost no data, as a refusal would."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    def fail(self, items):
        raise MlflowException("not now", ErrorCode.Value(code))

    tracker = Tracker(folder, experiment="vessels")
    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "_log", fail)
        tracker.metrics({"loss": 1}, 1)
        tracker.commit()
    tracker.finish("FINISHED")
    assert history(mlflow_client, tracker.run_id) == losses(1)
    (warning,) = warnings_in(caplog)
    assert "not now" in warning


def test_a_connection_that_was_idle_for_too_long(mlflow_client, folder, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "_AT_ONCE_SECONDS", 60.0)
    tracker = Tracker(folder, experiment="vessels")
    log, failures = Delivery._log, [ConnectionError("closed by the other end")]

    def stale(self, items):
        if failures:
            raise failures.pop()
        log(self, items)

    monkeypatch.setattr(Delivery, "_log", stale)
    tracker.metrics({"loss": 1}, 1)
    tracker.commit()
    assert history(mlflow_client, tracker.run_id) == losses(1)
    assert warnings_in(caplog) == []


@pytest.fixture
def hung_server():
    """Takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_hangs(folder, hung_server, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hung_server)
    # What the user sets counts, and everything is as before afterwards.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    before = dict(os.environ)
    begin = time.monotonic()
    train(folder, epochs=20)
    assert 1 <= time.monotonic() - begin < 10
    assert dict(os.environ) == before
    assert len(warnings_in(caplog)) == 1


@pytest.mark.slow
def test_how_long_a_server_that_hangs_is_waited_for(folder, hung_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hung_server)
    begin = time.monotonic()
    Tracker(folder, experiment="vessels")
    assert 9 < time.monotonic() - begin < 30
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_database_that_is_locked(mlflow_client, folder, tmp_path, caplog):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        tracker, _ = train(folder)
        assert "locked" in warnings_in(caplog)[0]
        other.rollback()
    tracker.finish("FINISHED")
    assert history(mlflow_client, tracker.run_id) == losses(EPOCHS)


def test_a_password_stays_secret(folder, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pa55@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    train(folder)[0].finish("FAILED")
    assert "http://127.0.0.1:9" in caplog.text
    assert "pa55" not in "\n".join(warnings_in(caplog))
    assert "pa55" not in (folder / "journal.jsonl").read_text()


def test_a_run_that_was_deleted_waits(mlflow_client, folder, caplog):
    tracker, _ = train(folder, epochs=1)
    mlflow_client.delete_run(tracker.run_id)
    tracker.metrics({"loss": 1 / 2}, 2)
    tracker.finish("FINISHED")
    assert f"mlflow runs restore --run-id {tracker.run_id}" in warnings_in(caplog)[0]
    mlflow_client.restore_run(tracker.run_id)
    assert deliver(folder)
    assert history(mlflow_client, tracker.run_id) == losses(2)


def test_another_store_gets_everything(mlflow_client, empty_store, folder, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    _, positions = train(folder, epochs=2)
    shutil.copy(empty_store, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    train(folder, first=3, resume_at=positions[2])[0].finish("FINISHED")
    other = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    (run,) = runs(other)
    assert history(other, run.info.run_id) == losses(EPOCHS)


def test_a_store_that_comes_back_empty_gets_everything(
    mlflow_client, empty_store, folder, tmp_path, monkeypatch
):
    from mlflow import MlflowClient

    monkeypatch.setattr(delivery, "_AT_ONCE_SECONDS", 60.0)
    tracker, _ = train(folder, epochs=2)
    shutil.copy(empty_store, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    mlflow_client.delete_run(tracker.run_id)
    tracker.metrics({"loss": 1 / 3}, 3)
    tracker.finish("FINISHED")
    other = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    (run,) = runs(other)
    assert history(other, run.info.run_id) == losses(EPOCHS)


# ----- parents


def test_a_child_names_its_parent(mlflow_client, tmp_path):
    with tracked(Tracker(tmp_path / "all", experiment="vessels")) as parent:
        child, _ = train(tmp_path / "fold", parent=parent.key)
    assert mlflow_client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_a_child_waits_for_its_parent(mlflow_client, tmp_path, away, caplog):
    parent = Tracker(tmp_path / "out/z_parent", experiment="vessels")
    away()
    child, _ = train(tmp_path / "out/a_child", parent=parent.key)
    assert child.run_id is None
    assert "part of" in warnings_in(caplog)[-1]
    child.finish("FINISHED")
    assert deliver(tmp_path / "out")
    first, second = runs(mlflow_client)
    assert second.data.tags["mlflow.parentRunId"] == first.info.run_id
    assert history(mlflow_client, second.info.run_id) == losses(EPOCHS)


# ----- where runs go


def test_where_runs_go(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/shared.db")
    assert tracking_uri() == "sqlite:////srv/shared.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri() == "sqlite:///experiments/mlflow.db"


@pytest.mark.parametrize(
    "uri",
    [
        *("./mlruns", "file:///tmp/mlruns", "htp://localhost:5000", "localhost:5000", "http:/localhost:5000"),
        *("sqlite:////proc/none/mlflow.db", "sqlite:///{tmp}/text.db"),
    ],
)
def test_a_store_that_mlflow_cannot_use(folder, monkeypatch, tmp_path, uri):
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(tmp=tmp_path))
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI"):
        Tracker(folder, experiment="vessels")
    assert list(folder.iterdir()) == []


def test_an_experiment_that_was_deleted(mlflow_client, folder):
    number = mlflow_client.create_experiment("vessels")
    mlflow_client.delete_experiment(number)
    with pytest.raises(MedsegError, match=f"mlflow experiments restore --experiment-id {number}"):
        Tracker(folder, experiment="vessels")
    assert list(folder.iterdir()) == []


def test_an_experiment_that_another_process_makes_at_the_moment(mlflow_client, folder, monkeypatch, caplog):
    """On a server, where no lock helps."""
    mlflow_client.create_experiment("vessels")
    get, answers = type(mlflow_client).get_experiment_by_name, [None]

    def late(self, name):
        return answers.pop() if answers else get(self, name)

    monkeypatch.setattr(type(mlflow_client), "get_experiment_by_name", late)
    Tracker(folder, experiment="vessels").finish("FINISHED")
    assert answers == []
    assert warnings_in(caplog) == []
    assert [run.info.status for run in runs(mlflow_client)] == ["FINISHED"]


@pytest.mark.parametrize("name", ["", "x" * 501])
def test_an_experiment_that_mlflow_does_not_take(mlflow_client, folder, name):
    with pytest.raises(UsageError, match="a name of an experiment"):
        Tracker(folder, experiment=name)
    assert list(folder.iterdir()) == []


def test_artifacts_lie_beside_the_database(mlflow_client, folder, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with tracked(Tracker(folder, experiment="größe 100%/a")) as tracker:
        (folder / "scores.csv").write_text("dice")
        tracker.artifact(folder / "scores.csv")
    assert artifacts(mlflow_client, tracker.run_id) == ["scores.csv"]
    (file,) = (tmp_path / "artifacts").rglob("scores.csv")
    assert file.parts[len(tmp_path.parts) :][:2] == ("artifacts", "größe 100__a")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_working_directory_may_change(empty_store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(empty_store, tmp_path / "experiments" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    tracker = Tracker(Path("out"), experiment="vessels")
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracker.metrics({"loss": 1}, 1)
    tracker.finish("FINISHED")
    client = MlflowClient(f"sqlite:///{tmp_path / 'experiments' / 'mlflow.db'}")
    assert [run.info.status for run in runs(client)] == ["FINISHED"]


@pytest.mark.slow
def test_two_processes_make_the_default_store(tmp_path):
    """At the same moment, which MLflow alone doesn't survive; each by another way to the same file."""
    from mlflow import MlflowClient

    code = """
        import mlflow

        Path(sys.argv[1]).touch()
        while len(list(Path().glob("ready*"))) < 2:
            time.sleep(0.001)
        with tracked(Tracker(Path(sys.argv[1] + "_out"), experiment="vessels")) as tracker:
            tracker.metrics({"loss": 1}, 1)
        print(tracker.run_id)
    """
    file = tmp_path / "experiments" / "mlflow.db"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    other = environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    processes = [
        in_another_process(code, "ready1", cwd=tmp_path, env=environment),
        in_another_process(code, "ready2", cwd=tmp_path, env=other),
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    run_ids = {process.stdout.read().strip() for process in processes}
    found = runs(MlflowClient(f"sqlite:///{file}"))
    assert {run.info.run_id for run in found} == run_ids
    assert [run.info.status for run in found] == ["FINISHED"] * 2
    assert [history(MlflowClient(f"sqlite:///{file}"), run_id) for run_id in run_ids] == [[(1, 1.0)]] * 2
    assert {path.name for path in tmp_path.iterdir()} == {
        *("experiments", "ready1", "ready2", "ready1_out", "ready2_out")
    }


def test_nothing_to_deliver(tmp_path):
    with pytest.raises(UsageError, match=r"journal\.jsonl"):
        deliver(tmp_path)


# ----- runs of dead processes


def test_runs_of_dead_processes_are_killed(mlflow_client, tmp_path):
    mine, _ = train(tmp_path / "mine")
    dead, zombie, other_time, other_host, ended, untagged = (
        train(tmp_path / name)[0].run_id for name in "abcdef"
    )
    with subprocess.Popen(["true"]) as process:
        process.wait()
    unburied = subprocess.Popen(["true"])
    wait_for(lambda: Path(f"/proc/{unburied.pid}/stat").read_text().split()[2] == "Z")
    created_then = psutil.Process(unburied.pid).create_time()
    mlflow_client.set_tag(zombie, "medseg.process", f"{unburied.pid} {created_then}")
    created = mlflow_client.get_run(mine.run_id).data.tags["medseg.process"].split()[1]
    mlflow_client.set_tag(dead, "medseg.process", f"{process.pid} {created}")
    mlflow_client.set_tag(other_time, "medseg.process", f"{os.getpid()} {float(created) - 1000}")
    mlflow_client.set_tag(other_host, "medseg.process", f"{process.pid} {created}")
    mlflow_client.set_tag(other_host, "medseg.host", "elsewhere")
    mlflow_client.set_tag(ended, "medseg.process", f"{process.pid} {created}")
    mlflow_client.set_terminated(ended, "FAILED")
    mlflow_client.delete_tag(untagged, "medseg.process")
    assert set(mark_killed_runs()) == {dead, zombie, other_time}
    unburied.wait()
    statuses = {run.info.run_id: run.info.status for run in runs(mlflow_client)}
    assert statuses == {
        mine.run_id: "RUNNING",
        dead: "KILLED",
        zombie: "KILLED",
        other_time: "KILLED",
        other_host: "RUNNING",
        ended: "FAILED",
        untagged: "RUNNING",
    }
    assert mark_killed_runs() == []


def test_a_run_that_ends_while_the_dead_are_counted(mlflow_client, folder, monkeypatch):
    tracker, _ = train(folder)

    def is_gone(process):
        tracker.finish("FINISHED")
        return True

    monkeypatch.setattr(tracking, "is_gone", is_gone)
    assert mark_killed_runs() == []
    assert mlflow_client.get_run(tracker.run_id).info.status == "FINISHED"


def test_no_store_no_killed_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}")
    assert mark_killed_runs() == []
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert mark_killed_runs() == []


# ----- a real server


class Server:
    """`mlflow server` on the loopback interface; it can be killed and started again on its store."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        options = {
            "--backend-store-uri": f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination": self.folder / "artifacts",
            "--host": "127.0.0.1",
            "--port": self.port,
            "--workers": 1,
        }
        words = [str(word) for option in options.items() for word in option]
        command = [sys.executable, "-m", "mlflow", "server", *words]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self.answers)

    def answers(self):
        from urllib.request import urlopen

        try:
            return urlopen(f"{self.uri}/health", timeout=1).status == 200
        except OSError:
            return False

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not self.answers())


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    server = Server(folder)
    yield server
    server.kill()


@pytest.fixture
def server_client(server, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    # A machine may be busy; a dead server refuses at once.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    return MlflowClient(server.uri)


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back(server, server_client, folder, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "_FIRST_PAUSE_SECONDS", 0.01)
    model_in(folder / "mlflow")
    write_png(folder / "a.png", np.zeros((4, 4), np.uint8))
    with tracked(Tracker(folder, experiment="killed")) as tracker:
        tracker.parameters({"rate": 1, "rate#": 2})
        tracker.dataset("drive", "abc", "training")
        for epoch in range(1, 7):
            if epoch == 3:
                server.kill()
            if epoch == 5:
                server.start()
            tracker.metrics({"loss": 1 / epoch, "nan": float("nan")}, epoch)
            tracker.picture(folder / "a.png", "worst", epoch)
            tracker.commit()
        tracker.parameters({"rate": 3, "late": 1})
        tracker.artifact(folder / "mlflow", "weights")
        tracker.model(folder / "mlflow", "server")
    run = server_client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert history(server_client, tracker.run_id) == losses(6)
    assert len(server_client.get_metric_history(tracker.run_id, "nan")) == 6
    assert run.data.params == {"rate": "1", "rate_": "2", "late": "1"}
    assert len(run.inputs.dataset_inputs) == 1
    assert len(artifacts(server_client, tracker.run_id, "images")) == 12
    assert artifacts(server_client, tracker.run_id, "weights/mlflow/data") == [
        "weights/mlflow/data/model.pth"
    ]
    assert len(server_client.search_model_versions("name = 'server'")) == 1
    away, refused = warnings_in(caplog)
    assert f"MLflow at {server.uri}" in away
    assert "refuses rate" in refused
    # Again, over what is there already.
    (folder / "delivered.json").unlink()
    assert deliver(folder)
    assert history(server_client, tracker.run_id) == losses(6)
    assert len(server_client.get_metric_history(tracker.run_id, "nan")) == 6
    assert len(artifacts(server_client, tracker.run_id, "images")) == 12


@pytest.mark.slow
def test_a_server_that_stays_away(server, server_client, folder, caplog):
    with tracked(Tracker(folder, experiment="away")) as tracker:
        tracker.metrics({"loss": 1}, 1)
        tracker.commit()
        server.kill()
        tracker.metrics({"loss": 1 / 2}, 2)
        tracker.commit()
        (folder / "scores.csv").write_text("dice")
        tracker.artifact(folder / "scores.csv")
    assert not deliver(folder)
    server.start()
    assert server_client.get_run(tracker.run_id).info.status == "RUNNING"
    assert deliver(folder)
    assert server_client.get_run(tracker.run_id).info.status == "FINISHED"
    assert history(server_client, tracker.run_id) == losses(2)
    assert artifacts(server_client, tracker.run_id) == ["scores.csv"]


def test_pages_of_the_experiments(mlflow_client, tmp_path):
    train(tmp_path / "tracking")[0].finish("FINISHED")
    number = mlflow_client.get_experiment_by_name("vessels").experiment_id
    assert experiment_pages("http://127.0.0.1:5000") == {
        "vessels": f"http://127.0.0.1:5000/#/experiments/{number}?workflowType=machine_learning"
    }


def test_somebodys_kind_of_an_experiment_stays(mlflow_client, tmp_path):
    number = mlflow_client.create_experiment("vessels", tags={"mlflow.experimentKind": "genai_development"})
    train(tmp_path / "tracking")[0].finish("FINISHED")
    assert mlflow_client.get_experiment(number).tags["mlflow.experimentKind"] == "genai_development"


def test_an_earlier_experiment_gets_its_kind(mlflow_client, tmp_path):
    number = mlflow_client.create_experiment("vessels")
    train(tmp_path / "tracking")[0].finish("FINISHED")
    assert mlflow_client.get_experiment(number).tags["mlflow.experimentKind"] == "custom_model_development"
