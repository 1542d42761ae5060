"""One MLflow run for one training: medseg starts it, fills it and ends it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from medseg import __version__
from medseg.errors import MedsegError

DEFAULT_STORE = Path("experiments") / "mlflow.db"


def tracking_uri() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, else experiments/mlflow.db under the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_STORE}"


def run_tracked(
    trainer: Engine,
    validator: Engine,
    *,
    experiment: str,
    parameters: Mapping[str, Any],
    run_name: str | None = None,
) -> None:
    """Train inside an MLflow run of its own.

    Losses and validation scores are logged against the epoch. The run ends FINISHED, FAILED on an
    exception, KILLED on Ctrl-C; the exception goes on.

    Args:
        trainer: MONAI's, with its learning rate in `optimizer`.
        validator: MONAI's, run by the trainer's ValidationHandler.
        experiment: MLflow experiment, made when it is new.
        parameters: what to compare runs by; nested names are joined by a dot.
        run_name: shown by MLflow; None takes the time.

    Raises:
        MedsegError: the loss is infinite or no number.
    """
    with _mlflow_run(experiment, run_name, _flatten(parameters)) as log_metric:
        losses: list[float] = []

        # Any: MONAI's engines carry more than ignite's types know.
        def on_start_of_epoch(engine: Any) -> None:
            # At its end the schedule has already set the next epoch's.
            log_metric("learning_rate", engine.optimizer.param_groups[0]["lr"], engine.state.epoch)

        def on_iteration(engine: Any) -> None:
            losses.append(_finite(float(engine.state.output[0]["loss"]), engine.state.epoch))

        def on_epoch(engine: Engine) -> None:
            epoch = engine.state.epoch
            log_metric("train_loss", sum(losses) / len(losses), epoch)
            losses.clear()
            for name, value in engine.state.metrics.items():
                log_metric(name, float(value), epoch)

        def on_validation(engine: Engine) -> None:
            for name, value in engine.state.metrics.items():
                log_metric(name, float(value), trainer.state.epoch)

        trainer.add_event_handler(Events.EPOCH_STARTED, on_start_of_epoch)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, on_iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, on_epoch)
        validator.add_event_handler(Events.COMPLETED, on_validation)
        trainer.run()


@contextmanager
def _mlflow_run(experiment: str, run_name: str | None, parameters: dict[str, str]) -> Iterator[Any]:
    """Own one run through the client: nothing global, no other run is ever joined."""
    from mlflow import MlflowClient

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        DEFAULT_STORE.parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri())
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    name = run_name or datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    run_id = client.create_run(experiment_id, run_name=name, tags={"medseg.version": __version__}).info.run_id

    def log_metric(key: str, value: float, step: int) -> None:
        client.log_metric(run_id, key, value, step=step)

    status = "FAILED"
    try:
        for key, value in parameters.items():
            client.log_param(run_id, key, value)
        yield log_metric
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def _finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise MedsegError(
            "a training loss that is a number",
            came=f"{loss} in epoch {epoch}",
            do="Lower learning_rate, or switch autocast off.",
        )
    return loss


def _flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = str(value)
    return flat
