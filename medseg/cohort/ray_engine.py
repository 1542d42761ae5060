"""Workers on the machines of a Ray cluster that runs already, in the place of medseg.workers.Pool."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from medseg.errors import MedsegError
from medseg.sources import RECORD
from medseg.workers import Job, Outcome, Segmenters, run_job
from medseg.workers.job import CRASHED, DONE, FAILED, TIMED_OUT

_STARTS = 3  # of actors that end before they are ready, one after the other
_CONNECT_S = 10.0
_PAUSE_S = 0.5  # after which timeouts are looked at
_TELL_S = 60.0  # between two sentences on a cluster that has no room

logger = logging.getLogger(__name__)


class RayEngine:
    """Actors of a Ray cluster that segment jobs, with the methods of medseg.workers.Pool; for one thread.

    An actor has one processor, and one graphics card where the cluster has any and the device is not cpu. One
    that ends, with its machine or alone, gives its job the outcome "crashed", and another is asked for, which
    starts where the cluster has room. Inputs and results must lie where all machines of the cluster see them
    under the same path.

    Args:
        workers: how many; None for as many as the cluster has processors now.
        timeout_s: after which a case is given up, its actor ended; None for never.
        log: gets a sentence when a worker is replaced, and while the cluster has no room.
        device: as for medseg.Segmenter.

    Raises:
        MedsegError: Ray is not installed, no cluster can be reached, or fewer than one worker is asked for.
    """

    def __init__(
        self,
        workers: int | None = None,
        timeout_s: float | None = None,
        log: Callable[[str], None] = logger.info,
        device: str = "auto",
    ) -> None:
        if workers is not None and workers < 1:
            raise MedsegError(
                "one worker or more", got=str(workers), advice="Leave the number out for all processors."
            )
        self._ray = _connected()
        found = self._ray.cluster_resources()
        cards = 1 if device != "cpu" and found.get("GPU") else 0
        self._actor = self._ray.remote(num_cpus=1, num_gpus=cards, max_restarts=0, max_task_retries=0)(Actor)
        self._timeout_s, self._log = timeout_s, log
        self._waiting: deque[Job] = deque()
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}  # what an actor answers when it is ready, to the actor
        self._running: dict[Any, tuple[Any, Job, float]] = {}  # an outcome to come, to actor, job, start
        self._failed_starts, self._told = 0, time.monotonic()
        self._workers = workers or max(1, int(found.get("CPU", 1)))
        for _ in range(self._workers):
            self._start()

    @property
    def capacity(self) -> int:
        """How many jobs may be in flight so that no worker waits."""
        return 2 * self._workers

    @property
    def in_flight(self) -> tuple[str, ...]:
        """The keys of the jobs that wait or run."""
        return (*(job.key for _, job, _ in self._running.values()), *(job.key for job in self._waiting))

    def submit(self, job: Job) -> None:
        """Add a job; it starts when a worker is free."""
        self._waiting.append(job)
        self._hand_out()

    def outcomes(self, wait_s: float) -> list[Outcome]:
        """Those that have come; waits for the first one, but no longer than `wait_s`.

        Raises:
            MedsegError: the cluster is gone, its machines have another medseg, or actors end before they can
                segment anything.
        """
        deadline = time.monotonic() + wait_s
        while True:
            found = self._collect(0)
            left = deadline - time.monotonic()
            if found or left <= 0 or not (self._starting or self._running):
                return found
            self._wait(min(left, _PAUSE_S), 1)

    def cancel(self, key: str) -> None:
        """Forget a job, and end the actor that has it in hand: it gets no outcome."""
        self._waiting = deque(job for job in self._waiting if job.key != key)
        for ref, (actor, job, _) in list(self._running.items()):
            if job.key == key:
                del self._running[ref]
                self._replace(actor)

    def close(self, wait: bool = False) -> list[Outcome]:
        """End the actors and leave the cluster, which runs on; jobs that wait are forgotten.

        Args:
            wait: let each actor end the job that it has in hand.

        Returns:
            The outcomes that came meanwhile.
        """
        found: list[Outcome] = []
        self._waiting.clear()
        while wait and self._running:
            found += self.outcomes(_PAUSE_S)
        self._ray.shutdown()  # the actors are this driver's, and end with it
        self._idle, self._starting, self._running = [], {}, {}
        return found

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(wait=False)

    def _start(self) -> None:
        actor = self._actor.remote()
        self._starting[actor.versions.remote()] = actor

    def _replace(self, actor: Any) -> None:
        self._ray.kill(actor)
        self._start()

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            actor, job = self._idle.pop(), self._waiting.popleft()
            self._running[actor.run.remote(job)] = (actor, job, time.monotonic())

    def _wait(self, wait_s: float, count: int) -> list[Any]:
        """What has come of all that was asked for."""
        refs = [*self._starting, *self._running]
        if not refs:
            return []
        try:
            return self._ray.wait(refs, num_returns=min(count, len(refs)), timeout=wait_s)[0]
        except (self._ray.exceptions.RaySystemError, ConnectionError) as error:
            raise MedsegError(
                "a Ray cluster that runs on",
                got=f"one that can't be reached any more ({type(error).__name__})",
                advice="Start the cluster again, and go on with --resume.",
            ) from error

    def _collect(self, wait_s: float) -> list[Outcome]:
        found: list[Outcome] = []
        for ref in self._wait(wait_s, len(self._starting) + len(self._running)):
            if ref in self._starting:
                self._greet(ref)
            else:
                found.append(self._end(ref))
        found += self._late()
        self._hand_out()
        self._tell_of_no_room()
        return found

    def _greet(self, ref: Any) -> None:
        """Take an actor that is ready among the idle ones."""
        actor = self._starting.pop(ref)
        try:
            versions = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise MedsegError(
                    "actors of Ray that segment",
                    got=f"{_STARTS} in a row that ended before they could ({type(error).__name__})",
                    advice="medseg must be installed on each machine of the cluster; see Ray's own logs.",
                ) from error
            self._replace(actor)
            return
        if versions != (here := _versions()):
            raise MedsegError(
                f"{here} on each machine of the cluster",
                got=versions,
                advice="Install the same versions everywhere: others may give other masks.",
            )
        self._failed_starts = 0
        self._idle.append(actor)

    def _end(self, ref: Any) -> Outcome:
        """The outcome of a job that has ended, or whose actor has."""
        actor, job, start = self._running.pop(ref)
        try:
            outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._replace(actor)
            kind = type(error).__name__
            text = f"The Ray actor that segmented it ended ({kind})."
            self._log(text)
            return Outcome(job.key, CRASHED, kind, text, time.monotonic() - start)
        self._idle.append(actor)
        return _seen_here(outcome, job)

    def _late(self) -> list[Outcome]:
        if not self._timeout_s:
            return []
        found, now = [], time.monotonic()
        for ref, (actor, job, start) in list(self._running.items()):
            if now - start >= self._timeout_s:
                del self._running[ref]
                self._replace(actor)
                text = f"It took longer than {self._timeout_s:g} s."
                self._log(text)
                found.append(Outcome(job.key, TIMED_OUT, "timeout", text, now - start))
        return found

    def _tell_of_no_room(self) -> None:
        if self._idle or self._running or not self._waiting:
            self._told = time.monotonic()
        elif time.monotonic() - self._told > _TELL_S:
            self._told = time.monotonic()
            self._log("Waiting for room in the Ray cluster: `ray status` shows what it has.")


class Actor:
    """What runs on a machine of the cluster: a process that keeps its models."""

    def __init__(self) -> None:
        import torch

        from medseg.workers import preload as preload

        logging.getLogger("medseg").setLevel(logging.ERROR)  # warnings stand in the outcome
        torch.set_num_threads(1)  # it has one processor
        self._segmenters = Segmenters()

    def versions(self) -> str:
        return _versions()

    def run(self, job: Job) -> Outcome:
        return run_job(job, self._segmenters)


def _versions() -> str:
    """What must be the same everywhere."""
    import torch

    from medseg import __version__

    return f"medseg {__version__} with torch {torch.__version__}"


def _connected() -> ModuleType:
    """Ray, connected to the cluster that RAY_ADDRESS names or that runs on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send statistics over the network
    try:
        import ray
    except ImportError as error:
        raise MedsegError(
            "Ray for --engine ray", got="none", advice="Run pip install 'medseg[ray]', or leave --engine out."
        ) from error
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _require_listener(os.environ.get("RAY_ADDRESS", ""))
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise MedsegError(
            "a Ray cluster that runs, with the versions of Ray and Python that are here",
            got=f"none ({type(error).__name__})",
            advice="Start one with `ray start --head`, add machines with `ray start --address=HOST:6379`; "
            "on a machine that is none of it, set RAY_ADDRESS=HOST:6379.",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would leave tables unwritten
    return ray


def _require_listener(address: str) -> None:
    """Raise an OSError if nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _seen_here(outcome: Outcome, job: Job) -> Outcome:
    """The outcome, unless its result lies on a disk of another machine alone."""
    folder = Path(job.output)
    if outcome.state != DONE or (folder / RECORD).is_file():
        return outcome
    if folder.parent.is_dir():
        os.listdir(folder.parent)  # a shared file system may have remembered that there was nothing
    if (folder / RECORD).is_file():
        return outcome
    text = "Its result is not on this machine: the folder for results must be one that all machines share."
    return Outcome(job.key, FAILED, "NotSharedError", text, outcome.seconds, worker=outcome.worker)
