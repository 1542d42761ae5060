"""From the queue to the workers and back: jobs are claimed, run, and their outcomes written down."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medseg.server.dicom.series import SENDER
from medseg.server.metrics import Metrics
from medseg.server.queue import LONGEST_PAUSE_S, RUNNING, Queue, QueueJob
from medseg.workers.job import CRASHED, DONE, Job, Outcome, Settings

LOG = logging.getLogger("medseg.server")

CASE = "case"  # the folder of the result in out/
_FIRST_PAUSE_S = 5.0
# A job that was begun so often, and never ended, may be what ends the node.
MOST_ATTEMPTS = 30


class Workers(Protocol):
    """What a dispatcher needs of a medseg.workers.Pool."""

    @property
    def in_flight(self) -> tuple[str, ...]: ...
    def submit(self, job: Job) -> None: ...
    def outcomes(self, wait_s: float) -> list[Outcome]: ...
    def cancel(self, key: str) -> None: ...


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a job after an outcome: finish, retry after a pause, or set_aside."""

    action: str
    reason: str = ""
    pause_s: float = 0.0


def judge(outcome: Outcome, attempts: int, crashes: int) -> Verdict:
    """What becomes of a job.

    Args:
        outcome: of the latest attempt.
        attempts: how often the job was begun, this time included.
        crashes: how often its worker has died, this time included.
    """
    if outcome.state == DONE:
        return Verdict("finish")
    if outcome.is_full:
        return Verdict("retry", f"the disk: {outcome.text}", pause_s(attempts))
    if outcome.state == CRASHED and crashes < 2:
        return Verdict("retry", f"its worker ended ({outcome.kind}); it is tried once more")
    words = {CRASHED: "its worker ended twice", "timed_out": "it took longer than timeout_s"}
    text = words.get(outcome.state) or outcome.text or outcome.state
    return Verdict("set_aside", f"{text} ({outcome.kind})" if outcome.state in words else text)


def pause_s(attempts: int) -> float:
    """The pause before the next attempt: 5 s after the first, twice as long after each further one."""
    return float(min(LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(max(attempts - 1, 0), 20)))


class Dispatcher:
    """Keeps the workers busy; `step` is called again and again by one thread.

    Args:
        queue, pool, metrics: of the node.
        workers: how many jobs run at the same time.
        device: for jobs that don't name one.
    """

    def __init__(
        self, queue: Queue, pool: Workers, metrics: Metrics, workers: int = 1, device: str = "auto"
    ) -> None:
        self.queue, self.pool = queue, pool
        self._metrics, self._workers, self._device = metrics, workers, device
        self._running: dict[str, QueueJob] = {}
        self._unsettled: list[Outcome] = []
        self._crashes: Counter[str] = Counter()

    @property
    def is_busy(self) -> bool:
        return bool(self._running or self._unsettled)

    def step(self, wait_s: float) -> int:
        """Collect outcomes, stop what was cancelled, begin what waits; returns how many outcomes came.

        Raises:
            OSError: the disk is full or broken; nothing is lost, and the next step goes on.
            MedsegError: workers can't be started.
        """
        self._unsettled += self.pool.outcomes(wait_s)
        count = len(self._unsettled)
        while self._unsettled:
            self._settle(self._unsettled[0])
            del self._unsettled[0]
        for key in [*self._running]:
            found = self.queue.get(key)
            if found is None or found.state != RUNNING:
                self.cancel(key)
        while len(self._running) < self._workers and (job := self.queue.take()):
            self._begin(job)
        return count

    def cancel(self, key: str) -> None:
        """Stop a job that was cancelled in the queue."""
        self.pool.cancel(key)
        if job := self._running.pop(key, None):
            self._metrics.ended(job.origin, "cancelled")

    def release(self) -> None:
        """Give back what is running, because the node stops or its workers have to be made anew."""
        for key in [*self._running]:
            self.queue.release(key)
            del self._running[key]

    def _begin(self, job: QueueJob) -> None:
        if job.attempts > MOST_ATTEMPTS:
            self.queue.set_aside(job.id, f"it was begun {job.attempts - 1} times and never ended")
            self._metrics.ended(job.origin, "set_aside")
            return
        shutil.rmtree(job.folder / "out", ignore_errors=True)  # of an attempt that was killed
        self._running[job.id] = job
        LOG.info("job %s: %s begins", job.id, job.task)
        self.pool.submit(worker_job(job, self._device))

    def _settle(self, outcome: Outcome) -> None:
        job = self._running.get(outcome.key)
        if job is None:
            return  # cancelled meanwhile
        self._crashes[job.id] += outcome.state == CRASHED
        verdict = judge(outcome, job.attempts, self._crashes[job.id])
        try:
            self._write_down(job, outcome, verdict)
        except OSError:
            self._crashes[job.id] -= outcome.state == CRASHED
            raise
        del self._running[job.id]
        if verdict.action != "retry":
            del self._crashes[job.id]
        LOG.info("job %s: %s", job.id, _told(verdict, outcome))

    def _write_down(self, job: QueueJob, outcome: Outcome, verdict: Verdict) -> None:
        now = self.queue.now()
        if verdict.action == "finish":
            self.queue.finish(job.id, result_of(outcome), deliver=bool(job.settings.get("send_to")))
            self._metrics.ended(job.origin, "done", outcome.seconds, max(0.0, now - job.received))
        elif verdict.action == "retry":
            self.queue.retry(job.id, now + verdict.pause_s, verdict.reason)
            self._metrics.ended(job.origin, "retried")
        else:
            self.queue.set_aside(job.id, verdict.reason, {"kind": outcome.kind, "seconds": outcome.seconds})
            self._metrics.ended(job.origin, "set_aside", delay=max(0.0, now - job.received))


def worker_job(job: QueueJob, device: str = "auto") -> Job:
    """A job of the queue as the workers take it."""
    told: Mapping[str, Any] = job.settings
    settings = Settings(
        job.task,
        method=told.get("method"),
        device=told.get("device") or device,
        mode=told.get("mode") or "semantic",
    )
    return Job(
        job.id,
        source=tuple(map(str, sources(job))),
        output=str(job.folder / "out" / CASE),
        settings=settings,
        formats=tuple(told.get("formats") or ()),
        pixel_spacing_mm=told.get("pixel_spacing_mm"),
    )


def sources(job: QueueJob) -> list[Path]:
    """The files of a job's image, by name."""
    return sorted(path for path in (job.folder / "in").iterdir() if path.name != SENDER)


def result_of(outcome: Outcome) -> dict[str, Any]:
    """What the queue keeps of an outcome that is done."""
    return {
        "verdict": outcome.verdict,
        "warnings": list(outcome.warnings),
        "seconds": outcome.seconds,
        "input_sha256": outcome.input_sha256,
        "outputs": dict(outcome.outputs),
    }


def _told(verdict: Verdict, outcome: Outcome) -> str:
    if verdict.action == "finish":
        return f"done in {outcome.seconds:.1f} s"
    return f"{verdict.action.replace('_', ' ')}: {verdict.reason}"
