"""A fixed number of workers that are replaced when they end; see medseg.workers.process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from types import TracebackType

from medseg.errors import MedsegError
from medseg.workers.job import Job, Outcome
from medseg.workers.process import Worker

_STARTS = 3  # of processes that end before they are ready, one after the other
_PAUSE_S = 0.5  # after which timeouts, and what other threads have changed, are looked at

logger = logging.getLogger(__name__)


class Pool:
    """Worker processes that segment jobs; its methods may be called from several threads.

    The processes are forked from one that has imported what they need, so a new one starts in a moment. They
    end with the process that made the Pool, whatever ends it. They import the program that made it, as those
    of multiprocessing do, so a script makes one under `if __name__ == "__main__":`.

    Args:
        workers: how many.
        timeout_s: after which a case is given up, its process ended; None for never.
        log: gets a sentence when a worker is replaced.

    Raises:
        MedsegError: fewer than one worker is asked for.
    """

    def __init__(
        self, workers: int, timeout_s: float | None = None, log: Callable[[str], None] = logger.info
    ) -> None:
        if workers < 1:
            raise MedsegError("one worker or more", got=str(workers), advice="Leave the number out for one.")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["medseg.workers.preload"])
        _start_forkserver()
        self._threads = max(1, _cores() // workers)
        self._timeout_s, self._log = timeout_s, log
        self._lock = threading.RLock()
        self._waiting: deque[Job] = deque()
        self._failed_starts = 0
        self._is_closed = False
        self._workers = [self._start() for _ in range(workers)]

    @property
    def capacity(self) -> int:
        """How many jobs may be in flight so that no worker waits."""
        return 2 * len(self._workers)

    @property
    def in_flight(self) -> tuple[str, ...]:
        """The keys of the jobs that wait or run."""
        with self._lock:
            running = [worker.job.key for worker in self._workers if worker.job is not None]
            return (*running, *(job.key for job in self._waiting))

    def submit(self, job: Job) -> None:
        """Add a job; it starts when a worker is free."""
        with self._lock:
            self._waiting.append(job)
            self._hand_out()

    def outcomes(self, wait_s: float) -> list[Outcome]:
        """Those that have come; waits for the first one, but no longer than `wait_s`.

        Raises:
            MedsegError: processes end before they can segment anything.
        """
        deadline = time.monotonic() + wait_s
        while True:
            with self._lock:
                found = self._collect()
                pipes = [worker.pipe for worker in self._workers]
            left = deadline - time.monotonic()
            if found or left <= 0 or not pipes:
                return found
            try:
                wait(pipes, min(left, _PAUSE_S))
            except OSError:  # another thread has ended a worker
                continue

    def cancel(self, key: str) -> None:
        """Forget a job, and end the worker that has it in hand: it gets no outcome."""
        with self._lock:
            self._waiting = deque(job for job in self._waiting if job.key != key)
            for worker in list(self._workers):
                if worker.job is not None and worker.job.key == key:
                    worker.kill()
                    self._workers.remove(worker)
                    self._workers.append(self._start())
            self._hand_out()

    def close(self, wait: bool = False) -> list[Outcome]:
        """End the processes; jobs that wait are forgotten.

        Args:
            wait: let each worker end the job that it has in hand. False ends it in the middle, which leaves
                no half a result.

        Returns:
            The outcomes that came meanwhile.
        """
        found: list[Outcome] = []
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
        while wait and self.in_flight:
            found += self.outcomes(_PAUSE_S)
        with self._lock:
            for worker in self._workers:
                worker.kill()
            self._workers = []
        return found

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(wait=False)

    def _start(self) -> Worker:
        return Worker(self._context, self._threads)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.is_ready and worker.job is None:
                worker.give(self._waiting.popleft())

    def _collect(self) -> list[Outcome]:
        found: list[Outcome] = []
        for worker in list(self._workers):
            outcomes = worker.read()
            late = None if outcomes is None or not self._timeout_s else worker.timed_out(self._timeout_s)
            found += outcomes or []
            if outcomes is None or late is not None:
                lost = late or worker.crashed()
                found += [lost] if lost else []
                self._replace(worker)
        self._hand_out()
        return found

    def _replace(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._failed_starts = 0 if worker.is_ready else self._failed_starts + 1
        if self._failed_starts >= _STARTS:
            raise MedsegError(
                "processes that segment",
                got=f"{_STARTS} in a row that ended before they could",
                advice="See the messages above; the memory may not suffice for so many workers.",
            )
        if not self._is_closed:
            self._log("A worker has ended; another takes its place.")
            self._workers.append(self._start())


def _start_forkserver() -> None:
    """Start the process that workers are forked from, deaf to Ctrl-C.

    A terminal sends Ctrl-C to all, and the imports of that process would end in a traceback.
    """
    resource_tracker.ensure_running()  # else forkserver would, and take the block away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
