"""A resumed training goes on in its run, wherever the earlier one was killed; nothing is there twice."""

import os
import shutil
import signal

import numpy as np
import pytest
from fundus_pictures import write_png
from tracked_training import (
    EPOCHS,
    check_complete,
    history,
    in_another_process,
    losses,
    model_in,
    resumable,
    runs,
    train,
    warnings_in,
)

from medseg.tracking.journal import Journal
from medseg.tracking.tracker import (
    Tracker,
    deliver,
    mark_killed_runs,
)

pytestmark = pytest.mark.seconds


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


class Killed(BaseException):
    """What kill -9 does to a process that writes its files without a buffer."""


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
