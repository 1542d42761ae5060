"""Where the seconds of an epoch go, the bar in a terminal, and the line in the log."""

import io
import logging
import re
from contextlib import redirect_stderr

import ignite.distributed as idist
import pytest
import torch
from ignite.engine import Engine, Events

from medseg import console
from medseg.training import progress
from medseg.training.progress import Stages, bar, log_epoch

BATCHES = 4


class Clock:
    """Time passes only where a test lets it."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)

    def take(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Batches:
    """Two samples a batch, of 0.5 s of loading and 0.25 s of transforms; a batch comes after 2 s."""

    def __init__(self, clock):
        self.clock = clock

    def __len__(self):
        return BATCHES

    def __iter__(self):
        for _ in range(BATCHES):
            self.clock.take(2)
            yield {"seconds": torch.tensor([[0.5, 0.25]] * 2)}


@pytest.fixture
def engines(clock):
    """A step takes 3 s in the first epoch, 4 s in the second; every second epoch is validated in 7 s."""
    trainer = Engine(lambda engine, batch: clock.take(2 + engine.state.epoch))
    validator = Engine(lambda engine, batch: clock.take(7))

    @trainer.on(Events.EPOCH_COMPLETED(every=2))
    def _():
        validator.run([None])

    return trainer, validator


def run(trainer, clock, epochs):
    return trainer.run(Batches(clock), max_epochs=epochs)


# --- seconds ---


def test_seconds_by_stage_of_each_epoch(engines, clock):
    trainer, validator = engines
    stages, seen = Stages(trainer, validator), []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(dict(stages.seconds)))
    run(trainer, clock, epochs=3)
    shared = {"load": 4.0, "transform": 2.0, "wait": 8.0}
    assert seen == [
        {**shared, "step": 12.0, "validate": 0.0},
        {**shared, "step": 16.0, "validate": 7.0},
        {**shared, "step": 20.0, "validate": 0.0},
    ]


def test_scores_of_the_training_are_a_part_of_the_step(engines, clock):
    """MONAI's metrics are handlers of the trainer, attached before."""
    trainer, validator = engines
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: clock.take(10))
    stages = Stages(trainer, validator)
    run(trainer, clock, epochs=1)
    assert stages.seconds["step"] == BATCHES * (3 + 10)


def test_validations_of_one_epoch_add_up(engines, clock):
    trainer, validator = engines
    stages = Stages(trainer, validator)
    run(trainer, clock, epochs=2)
    validator.run([None, None])
    assert stages.seconds["validate"] == 7 + 14


# --- the bar ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _draws_every_step(monkeypatch):
    monkeypatch.setattr(console, "_REFRESH_S", 0)
    monkeypatch.setenv("COLUMNS", "100")


def trainer_at(epoch, epochs=5):
    trainer = Engine(lambda engine, batch: None)
    trainer.state.max_epochs, trainer.state.epoch_length = epochs, BATCHES
    trainer.state.epoch, trainer.state.iteration = epoch, epoch * BATCHES
    return trainer


def plain(text):
    """Without what moves the cursor, erases or colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def counts(shown):
    """What stood behind the bar, drawing by drawing."""
    drawn = re.findall(r"(\d+)/(\d+) batches", plain(shown.getvalue()))
    return [int(done) for done, _ in drawn], {int(total) for _, total in drawn}


def is_gone(shown):
    """Whether the line of the bar was erased last, and the cursor is shown again."""
    after = shown.getvalue().rpartition("batches")[2]
    return "\x1b[2K" in after and "\x1b[?25h" in after and plain(after.rpartition("\x1b[2K")[2]).strip() == ""


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_bar_counts_from_where_the_training_stands(epoch):
    trainer = trainer_at(epoch)
    with redirect_stderr(Terminal()) as terminal, bar(trainer):
        trainer.run(range(BATCHES))
    done, totals = counts(terminal)
    assert sorted(set(done)) == list(range(epoch * BATCHES, 5 * BATCHES + 1))
    assert totals == {5 * BATCHES}
    assert "training" in terminal.getvalue()


def test_nothing_is_left_of_the_bar():
    trainer = trainer_at(4)
    with redirect_stderr(Terminal()) as terminal:
        with bar(trainer):
            trainer.run(range(BATCHES))
        shown = terminal.getvalue()
        trainer.run(range(BATCHES), max_epochs=6)
    assert is_gone(terminal)
    assert terminal.getvalue() == shown


def test_no_bar_where_nobody_watches(capsys):
    trainer = trainer_at(0)
    with bar(trainer):
        trainer.run(range(BATCHES))
    assert trainer.state.epoch == 5
    captured = capsys.readouterr()
    # Other tests may have set up the log of the engine.
    assert "batch" not in captured.out + captured.err


def test_one_bar_of_several_processes(monkeypatch):
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    with redirect_stderr(Terminal()) as terminal, bar(trainer_at(0)):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_an_error_goes_through_and_ends_the_bar(error):
    trainer, terminal = trainer_at(0), Terminal()

    @trainer.on(Events.ITERATION_COMPLETED(once=3))
    def _():
        raise error("broken on purpose")

    with pytest.raises(error, match="broken"), redirect_stderr(terminal), bar(trainer):
        trainer.run(range(BATCHES))
    assert max(counts(terminal)[0]) >= 2
    assert is_gone(terminal)


def test_a_log_line_does_not_run_into_the_bar(monkeypatch):
    """Lines get one of their own above the bar; handlers are as before afterwards."""
    root = logging.getLogger()
    with redirect_stderr(Terminal()) as terminal:
        handler = logging.StreamHandler()
        monkeypatch.setattr(root, "handlers", [handler])
        with bar(trainer_at(1)):
            logging.getLogger("medseg").warning("epoch 1 of 5")
        assert root.handlers == [handler]
        assert handler.stream is terminal
    assert "epoch 1 of 5" in [line.strip() for line in re.split("[\r\n]", plain(terminal.getvalue()))]


# --- the line ---


def test_the_line_of_an_epoch(caplog):
    caplog.set_level(logging.INFO, "medseg.training.progress")
    seconds = {"load": 0.04, "transform": 12.345, "wait": 0.0, "step": 8.0, "validate": 0.0}
    log_epoch(3, 10, {"train_loss": 0.123456, "val_dice": 1.0, "learning_rate": 4e-6}, seconds)
    assert caplog.messages == [
        "epoch 3 of 10: train_loss 0.1235, val_dice 1, learning_rate 4e-06"
        " | seconds: load 0.0, transform 12.3, step 8.0"
    ]
