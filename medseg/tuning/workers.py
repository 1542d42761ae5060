"""Processes that run a study's trials until it has all of them."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from medseg.errors import MedsegError, UsageError, error_text
from medseg.tracking.signals import terminable, undisturbed
from medseg.tuning.plan import Plan
from medseg.tuning.store import HEARTBEAT_S, is_outage, require_optuna
from medseg.tuning.study import REASON, Claim, Result, SharedStudy
from medseg.tuning.trial import run_trial

POLL_S = 2.0
_RETRY_S = 5.0  # between heartbeats while the store is down
_END_S = 60.0  # in which a process ends its trial
_logger = logging.getLogger(__name__)


def require_workers(workers: int) -> None:
    """Check the number of processes.

    Raises:
        UsageError: it is less than 1.
    """
    if workers < 1:
        raise UsageError("--workers of 1 or more", got=str(workers), advice="Leave it out for one process.")


def run_trials(plan: Plan, study: SharedStudy, workers: int) -> None:
    """Run trials until the study has all of them, and no process runs one.

    Args:
        plan: the search.
        study: the plan's.
        workers: how many processes of this machine; with 1 it is this one.

    Raises:
        MedsegError: the store stays down, or the default trial failed; trials of a process that has ended
            run again in another one, and if none is left, with the next command.
    """
    if workers == 1:
        work(study)
        return
    context = multiprocessing.get_context("spawn")
    level = logging.getLogger("medseg").getEffectiveLevel()
    threads = max(1, (os.cpu_count() or 1) // workers)
    started = [
        context.Process(target=_in_process, args=(plan, level, threads), name=f"medseg tune {number}")
        for number in range(workers)
    ]
    with terminable(), _ended(started):
        for process in started:
            process.start()
        for process in started:
            process.join()
    died = [process for process in started if process.exitcode]
    for process in died:
        _logger.warning("%s ended with exit code %s", process.name, process.exitcode)
    if len(died) == len(started):
        raise MedsegError(
            "a process that runs trials to the end",
            got=f"{len(died)} of {len(started)} that failed",
            advice="See the messages above; the same command goes on.",
        )


def work(study: SharedStudy) -> None:
    """Run one trial after the other in this process; see run_trials."""
    store = study.store
    with terminable():
        while True:
            claim = store.patiently(lambda: _claimed(study))
            if claim is not None:
                _run(study, claim)
                _collect()
            elif store.patiently(study.is_running):
                time.sleep(POLL_S)  # if the process of such a trial ends, the trial is for this one
            else:
                return


def _collect() -> None:
    """End the training's workers, which a reference cycle keeps alive.

    Signals wait meanwhile: Python ignores what a signal raises in a callback of the collection.
    """
    with undisturbed() as signals:
        gc.collect()
    if signals:
        raise KeyboardInterrupt


def _claimed(study: SharedStudy) -> Claim | None:
    """The next trial; signals wait meanwhile, because nobody would end a trial that is claimed in part."""
    claim = None
    with undisturbed() as signals:
        try:
            claim = study.claim()
        except Exception:
            if not signals:
                raise
        if claim is not None and signals:
            _stop(study, claim.number)
    if signals:
        raise KeyboardInterrupt
    return claim


def _run(study: SharedStudy, claim: Claim) -> None:
    try:
        _logger.info("trial %d: %s", claim.number, claim.values)
        with _beating(study, claim.number):
            result = run_trial(study.plan, claim, study.run_key, _watch(study, claim.number))
    except KeyboardInterrupt:
        with undisturbed():
            _stop(study, claim.number)
        raise
    except Exception as error:
        _logger.warning("trial %d failed: %s", claim.number, error_text(error))
        study.tell(Result(claim.number, "FAIL", entries={REASON: error_text(error)}))
        if claim.is_default:
            raise _default_failed(error) from error
        return
    study.tell(result)
    ended = f"{result.score:.4f}" if result.score is not None else result.state.lower()
    _logger.info("trial %d: %s", claim.number, ended)


def _default_failed(error: Exception) -> MedsegError:
    if isinstance(error, MedsegError):
        return error
    return MedsegError(
        "a default trial that can be run",
        got=error_text(error),
        advice="Run `medseg train` or `medseg evaluate` with the same options first.",
    )


def _stop(study: SharedStudy, number: int) -> None:
    try:
        study.stop(number)
    except Exception as error:
        if not is_outage(error):
            raise
        _logger.warning(
            "%s does not respond: the next command finds that trial %d ended", study.store, number
        )


def _watch(study: SharedStudy, number: int) -> Callable[[int, float], bool]:
    """A function that reports each validation; what a store that is down misses comes with the next one."""
    waiting: dict[int, float] = {}

    def watch(epoch: int, score: float) -> bool:
        waiting[epoch] = score
        try:
            goes_on = study.report(number, waiting)
        except Exception as error:
            if not is_outage(error):
                raise
            _logger.warning("%s does not respond. The training goes on.", study.store)
            return True
        waiting.clear()
        return goes_on

    return watch


@contextmanager
def _beating(study: SharedStudy, number: int) -> Iterator[None]:
    """Send heartbeats of a trial, so that others see when this process has ended."""
    over = threading.Event()
    parent = multiprocessing.parent_process()

    def beat() -> None:
        pause = float(HEARTBEAT_S)
        while not over.wait(pause):
            pause = HEARTBEAT_S
            if parent is not None and not parent.is_alive():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            try:
                study.beat(number)
            except Exception as error:
                pause = _RETRY_S
                _logger.debug("no heartbeat: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _in_process(plan: Plan, level: int, threads: int) -> None:
    import torch

    require_optuna()
    # Ctrl-C reaches all processes of a terminal; the one that started this passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(processName)s: %(message)s")
    logging.getLogger("medseg").setLevel(level)
    torch.set_num_threads(threads)
    try:
        work(SharedStudy(plan))
    except MedsegError as error:
        _logger.error("%s", error)  # noqa: TRY400
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        raise SystemExit(1) from error


@contextmanager
def _ended(processes: list[Any]) -> Iterator[None]:
    """End the processes with the block: they are asked to, and killed only if they don't."""
    try:
        yield
    finally:
        alive = [process for process in processes if process.pid is not None and process.is_alive()]
        for process in alive:
            process.terminate()
        for process in alive:
            process.join(_END_S)
            process.kill()
            process.join()
