"""One worker: a process that segments the jobs that come through its pipe, until the pipe is closed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from queue import SimpleQueue

from medseg.workers.job import CRASHED, TIMED_OUT, Job, Outcome
from medseg.workers.segmenters import Segmenters, run_job, worker_name

READY = "ready"
_END_S = 5.0  # in which a process that closed its pipe is gone


class Worker:
    """A process, and the job it has in hand; for one thread at a time.

    Attributes:
        job: None for a worker that waits.
        is_ready: it has started, and takes jobs.
        pipe: has something to read when an outcome, or the end of the process, is to be seen.
    """

    def __init__(self, context: ForkServerContext, threads: int) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, threads), name="medseg worker", daemon=True)
        self.process.start()
        other.close()  # so that the end of the process closes the pipe
        self.job: Job | None = None
        self.is_ready = False
        self.since = time.monotonic()

    def give(self, job: Job) -> None:
        """Hand over a job; the end of the process meanwhile is seen by `read`."""
        self.job, self.since = job, time.monotonic()
        try:
            self.pipe.send(job)
        except OSError:
            return

    def read(self) -> list[Outcome] | None:
        """The outcome that has come, if any; None where the process has ended."""
        found: list[Outcome] = []
        try:
            while self.pipe.poll():
                message = self.pipe.recv()
                if message == READY:
                    self.is_ready = True
                else:
                    found.append(message)
                    self.job = None
        except (EOFError, OSError):
            return found or None  # what it had done before it ended counts; the end is read next
        return found

    def crashed(self) -> Outcome | None:
        """What became of the job of a process that has ended."""
        self.process.join(_END_S)
        self.kill()
        if self.job is None:
            return None
        kind = _end_of(self.process.exitcode)
        text = f"The process that segmented it ended ({kind})."
        return self._outcome(self.job, CRASHED, kind, text)

    def timed_out(self, timeout_s: float) -> Outcome | None:
        """End a process whose job takes longer; None if it does not."""
        if self.job is None or time.monotonic() - self.since < timeout_s:
            return None
        job = self.job
        self.kill()
        return self._outcome(job, TIMED_OUT, "timeout", f"It took longer than {timeout_s:g} s.")

    def kill(self) -> None:
        """End the process at once; one that hangs in the system, on a drive that is away, is left alone."""
        self.process.kill()
        self.process.join(_END_S)
        self.pipe.close()

    def _outcome(self, job: Job, state: str, kind: str, text: str) -> Outcome:
        host = worker_name().rpartition(":")[0]
        seconds = time.monotonic() - self.since
        return Outcome(job.key, state, kind, text, seconds, worker=f"{host}:{self.process.pid}")


def _end_of(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def serve(pipe: Connection, threads: int) -> None:
    """The main function of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that started this decides
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("medseg").setLevel(logging.ERROR)  # warnings stand in the outcome
    import torch

    from medseg.workers import preload as preload

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    threading.Thread(target=_watch, args=(pipe, jobs), daemon=True).start()
    _tell(pipe, READY)
    segmenters = Segmenters()
    while (job := jobs.get()) is not None:
        _tell(pipe, run_job(job, segmenters))


def _tell(pipe: Connection, what: object) -> None:
    """Send it, or end this process where nobody is left to read it."""
    try:
        pipe.send(what)
    except OSError:
        os._exit(1)


def _watch(pipe: Connection, jobs: SimpleQueue[Job | None]) -> None:
    """Pass jobs on; end this process, in the middle of a job too, when nobody would read the outcome."""
    try:
        while (job := pipe.recv()) is not None:
            jobs.put(job)
    except (EOFError, OSError):
        os._exit(1)
    jobs.put(None)
