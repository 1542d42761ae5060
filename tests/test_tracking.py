"""One training, one MLflow run: what it holds, how it ends, and that it is never another's."""

import math

import pytest
from ignite.engine import Engine, Events

from medseg import __version__
from medseg.errors import MedsegError
from medseg.training.tracking import run_tracked, tracking_uri

EPOCHS = 3


class Optimizer:
    def __init__(self):
        self.param_groups = [{"lr": 0.1}]


def engines(losses=(1.0, 0.5), validate_every=2):
    """A trainer whose loss falls each epoch and whose schedule halves the rate after it; its validator."""

    def step(engine, loss):
        return [{"loss": loss / engine.state.epoch}, {"loss": -1.0}]

    trainer = Engine(step)
    trainer.optimizer = Optimizer()

    def schedule():
        trainer.optimizer.param_groups[0]["lr"] /= 2

    def train_score(engine):
        engine.state.metrics["train_dice"] = engine.state.epoch / 10

    validator = Engine(lambda engine, batch: None)

    @validator.on(Events.EPOCH_COMPLETED)
    def val_score(engine):
        engine.state.metrics["val_dice"] = 0.7

    trainer.add_event_handler(Events.EPOCH_COMPLETED, schedule)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, train_score)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=validate_every), lambda: validator.run([0]))
    run = trainer.run
    trainer.run = lambda: run(losses, max_epochs=EPOCHS)
    return trainer, validator


def runs(client, experiment="vessels"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def history(client, run, key):
    return {
        metric.step: pytest.approx(metric.value) for metric in client.get_metric_history(run.info.run_id, key)
    }


def test_what_is_logged(mlflow_client):
    parameters = {
        "epochs": 3,
        "manifests": ["a", "b"],
        "network": {"channels": [4, 8], "norm": {"kind": "batch"}},
    }
    run_tracked(*engines(), experiment="vessels", parameters=parameters, run_name="first")
    (run,) = runs(mlflow_client)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.tags["medseg.version"] == __version__
    assert run.data.params == {
        "epochs": "3",
        "manifests": "['a', 'b']",
        "network.channels": "[4, 8]",
        "network.norm.kind": "batch",
    }
    assert set(run.data.metrics) == {"train_loss", "learning_rate", "train_dice", "val_dice"}
    # The mean of the epoch's batches alone, against the epoch.
    assert history(mlflow_client, run, "train_loss") == {1: 0.75, 2: 0.375, 3: 0.25}
    # The rate that the epoch was trained with, not the next one's.
    assert history(mlflow_client, run, "learning_rate") == {1: 0.1, 2: 0.05, 3: 0.025}
    assert history(mlflow_client, run, "train_dice") == {1: 0.1, 2: 0.2, 3: 0.3}
    assert history(mlflow_client, run, "val_dice") == {2: 0.7}


def test_two_trainings_are_two_runs(mlflow_client):
    for seed in (1, 2):
        run_tracked(*engines(), experiment="vessels", parameters={"seed": seed}, run_name="same name")
    found = runs(mlflow_client)
    assert {run.data.params["seed"] for run in found} == {"1", "2"}
    assert len({run.info.run_id for run in found}) == 2
    for run in found:
        assert len(history(mlflow_client, run, "train_loss")) == EPOCHS


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_an_earlier_run_is_left_alone(mlflow_client, status):
    experiment = mlflow_client.create_experiment("vessels")
    old = mlflow_client.create_run(experiment, run_name="crashed").info.run_id
    if status != "RUNNING":
        mlflow_client.set_terminated(old, status)
    run_tracked(*engines(), experiment="vessels", parameters={}, run_name="crashed")
    by_id = {run.info.run_id: run for run in runs(mlflow_client)}
    left = by_id.pop(old)
    assert left.info.status == status
    assert left.data.metrics == {}
    (new,) = by_id.values()
    assert new.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("broken"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(3), "FAILED")],
)
def test_how_a_broken_training_ends(mlflow_client, error, status):
    trainer, validator = engines()

    @trainer.on(Events.ITERATION_COMPLETED(once=3))
    def break_down():
        raise error

    with pytest.raises(type(error)) as raised:
        run_tracked(trainer, validator, experiment="vessels", parameters={})
    assert raised.value is error
    (run,) = runs(mlflow_client)
    assert run.info.status == status
    assert history(mlflow_client, run, "train_loss") == {1: 0.75}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_training(mlflow_client, loss):
    trainer, validator = engines(losses=(1.0, loss))
    with pytest.raises(MedsegError, match=rf"came: {loss} in epoch 1\. Lower learning_rate"):
        run_tracked(trainer, validator, experiment="vessels", parameters={})
    assert trainer.state.iteration == 2
    (run,) = runs(mlflow_client)
    assert run.info.status == "FAILED"


def test_a_parameter_that_mlflow_refuses(mlflow_client):
    with pytest.raises(Exception, match="Invalid"):
        run_tracked(*engines(), experiment="vessels", parameters={"a#b": 1})
    (run,) = runs(mlflow_client)
    assert run.info.status == "FAILED"


def test_a_run_without_a_name_gets_the_time(mlflow_client):
    run_tracked(*engines(), experiment="vessels", parameters={})
    (run,) = runs(mlflow_client)
    assert run.info.run_name.startswith("20")
    assert len(run.info.run_name) == len("2026-01-31 12:00:00")


def test_where_runs_go(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/shared.db")
    assert tracking_uri() == "sqlite:////srv/shared.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri() == "sqlite:///experiments/mlflow.db"


@pytest.mark.slow
def test_the_default_store_is_made(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    run_tracked(*engines(), experiment="vessels", parameters={})
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"]
    client = MlflowClient(f"sqlite:///{tmp_path / 'experiments' / 'mlflow.db'}")
    assert [run.info.status for run in runs(client)] == ["FINISHED"]
