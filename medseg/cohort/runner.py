"""Give the pending cases of a ledger to an engine, and write down what became of each."""

from __future__ import annotations

import errno
import fcntl
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from medseg.cohort.ledger import PENDING, SET_ASIDE, CaseRow, Ledger
from medseg.cohort.plan import Plan
from medseg.errors import MedsegError
from medseg.workers import Job, Outcome
from medseg.workers.job import CRASHED, DONE, TIMED_OUT

LOCK = ".cohort.lock"
_CRASHES = 2  # after which a case is set aside
_WAIT_S = 1.0
_NEXT = {PENDING: " It is tried again.", SET_ASIDE: " It is set aside."}
# What a process that was killed leaves of a case that was about to appear; see medseg.io.atomic.
_STAGE = re.compile(r"\.medseg-[0-9a-f]{8}")


class Engine(Protocol):
    """What segments: medseg.workers.Pool on this machine, RayEngine on a cluster."""

    @property
    def capacity(self) -> int: ...
    @property
    def in_flight(self) -> tuple[str, ...]: ...
    def submit(self, job: Job) -> None: ...
    def outcomes(self, wait_s: float) -> list[Outcome]: ...
    def close(self, wait: bool = False) -> list[Outcome]: ...


class StoppedError(MedsegError):
    """The settings can't be used by any worker; the text is the worker's."""

    def __init__(self, outcome: Outcome) -> None:
        Exception.__init__(self, outcome.text)
        self.exit_code = 2 if outcome.kind == "UsageError" else 1


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold a lock on a folder of results that the system releases when this process ends.

    Raises:
        MedsegError: another process holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                yield  # a file system without locks
                return
            raise MedsegError(
                "a folder that no other cohort writes to",
                got=f"{out}, which is in use",
                advice="Wait until that cohort ends, or name another folder.",
            ) from error
        yield


def run_cohort(
    ledger: Ledger,
    plan: Plan,
    engine: Engine,
    tell: Callable[[CaseRow, str], None],
    advance: Callable[[], None],
) -> None:
    """Segment all pending cases.

    A case whose process ends is given to another one after all others, once; the second time it is set aside.
    A case that takes too long is set aside at once, for it would take as long again.

    Args:
        ledger: of this folder; see alone_in.
        plan: how.
        engine: closed at the end, whatever ends this; the cases in flight are pending again.
        tell: gets a sentence about each case that is not done, and about one that is tried again.
        advance: called after each case that is.

    Raises:
        MedsegError: the disk can't be written to, no model can be loaded, or the engine can't go on.
    """
    waiting = deque(ledger.cases(PENDING))
    running: dict[str, CaseRow] = {}
    try:
        while waiting or running:
            while waiting and len(running) < engine.capacity:
                row = waiting.popleft()
                running[row.case] = row
                ledger.begin(row.case)
                engine.submit(plan.job(row))
            for outcome in engine.outcomes(_WAIT_S):
                again = _note(ledger, running.pop(outcome.key), outcome, tell)
                if again is None:
                    advance()
                else:
                    waiting.append(again)
    finally:
        engine.close(wait=False)
        _clear(plan.out)
        with suppress(MedsegError):  # on a full disk they stay running, which --resume takes for pending
            ledger.release()


def _note(
    ledger: Ledger, row: CaseRow, outcome: Outcome, tell: Callable[[CaseRow, str], None]
) -> CaseRow | None:
    """Write down what became of a case; the case, if it is tried again."""
    if outcome.is_full:
        raise MedsegError(
            "files that can be written",
            got=outcome.text,
            advice="Make room, or repair the disk, and go on with --resume: what is done stays.",
        )
    if outcome.is_settings:
        raise StoppedError(outcome)
    crashes = row.crashes + (outcome.state == CRASHED)
    state = SET_ASIDE if outcome.state in (CRASHED, TIMED_OUT) else outcome.state
    if outcome.state == CRASHED and crashes < _CRASHES:
        state = PENDING
    ledger.finish(row.case, state, outcome, crashed=outcome.state == CRASHED)
    if state != DONE:
        tell(row, outcome.text + _NEXT.get(state, ""))
    return replace(row, crashes=crashes) if state == PENDING else None


def _clear(out: Path) -> None:
    """Remove what killed processes have left beside the cases' folders."""
    for path in out.glob(".medseg-*"):
        if _STAGE.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
