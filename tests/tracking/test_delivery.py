"""What the journal holds reaches the store once, however often the store is away."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from fundus_pictures import write_png
from tracked_training import (
    CLOSED,
    EPOCHS,
    artifacts,
    check_complete,
    history,
    in_another_process,
    losses,
    model_in,
    resumable,
    runs,
    train,
    wait_for,
    warnings_in,
)

from medseg.errors import UsageError
from medseg.tracking import delivery
from medseg.tracking import tracker as tracking
from medseg.tracking.delivery import Delivery
from medseg.tracking.store import StoreUnavailable
from medseg.tracking.tracker import (
    Tracker,
    deliver,
    tracked,
)

pytestmark = pytest.mark.seconds


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


def test_a_store_that_is_away(mlflow_client, folder, away, caplog):
    tracker, _ = train(folder, epochs=20)
    tracker.finish("FINISHED")
    assert tracker.run_id is None
    first, last = warnings_in(caplog)
    assert f"MLflow at {CLOSED}" in first
    assert "Connection refused" in first
    assert f"{folder / 'journal.jsonl'} keeps the run" in first
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
    assert "MLflow responds again" in caplog.text


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


def test_nothing_to_deliver(tmp_path):
    with pytest.raises(UsageError, match=r"journal\.jsonl"):
        deliver(tmp_path)


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
