"""The progress of a training: seconds by stage, a progress bar, a log line for each epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from medseg.console import progress_bar

logger = logging.getLogger(__name__)


class Stages:
    """Seconds of the current epoch by stage.

    load and transform: time spent on the samples, summed over workers. wait: time that the network waited for
    samples. step: forward and backward pass, loss and training scores. validate: validation.
    """

    def __init__(self, trainer: Engine, validator: Engine) -> None:
        self.seconds = dict.fromkeys(("load", "transform", "wait", "step", "validate"), 0.0)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._clear)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._note_samples)
        for engine, stage, start, end in (
            (trainer, "wait", Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED),
            (trainer, "step", Events.ITERATION_STARTED, Events.ITERATION_COMPLETED),
            (validator, "validate", Events.STARTED, Events.COMPLETED),
        ):
            self._measure(engine, stage, start, end)

    def _measure(self, engine: Engine, stage: str, start: Events, end: Events) -> None:
        begun = [0.0]

        def on_start() -> None:
            begun[0] = time.perf_counter()

        def on_end() -> None:
            self.seconds[stage] += time.perf_counter() - begun[0]

        engine.add_event_handler(start, on_start)
        engine.add_event_handler(end, on_end)

    def _clear(self) -> None:
        self.seconds = dict.fromkeys(self.seconds, 0.0)

    def _note_samples(self, engine: Any) -> None:
        load, transform = engine.state.batch["seconds"].sum(dim=0).tolist()
        self.seconds["load"] += load
        self.seconds["transform"] += transform


@contextmanager
def bar(trainer: Any) -> Iterator[None]:
    """Show a progress bar over the whole training with the time left, in a terminal only.

    Only the first of several processes draws it. A resumed training starts it at the resumed epoch, so that
    the estimate of the time left is right from the start.
    """
    state = trainer.state
    total, done = state.max_epochs * state.epoch_length, state.epoch * state.epoch_length
    with (
        progress_bar("training", "batches", total, done, disable=idist.get_rank() > 0) as advance,
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: advance()),
    ):
        yield


def log_epoch(epoch: int, epochs: int, values: Mapping[str, float], seconds: Mapping[str, float]) -> None:
    """Log one line with losses, scores and the seconds of each stage."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if value)
    logger.info("epoch %d of %d: %s | seconds: %s", epoch, epochs, figures, stages)
