"""Where runs go, what a store refuses, and runs whose process is dead."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
from tracked_training import (
    CLOSED,
    artifacts,
    history,
    in_another_process,
    runs,
    train,
    wait_for,
    warnings_in,
)

from medseg.errors import MedsegError, UsageError
from medseg.tracking import tracker as tracking
from medseg.tracking.tracker import (
    Tracker,
    experiment_pages,
    mark_killed_runs,
    tracked,
    tracking_uri,
)


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


@pytest.mark.seconds
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
