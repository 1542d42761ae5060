"""The queue of a node, on disk: a row for each job in SQLite, a folder for its files.

    HOME/queue.sqlite           the rows
    HOME/jobs/<id>/in/          what was received, under names of ours
    HOME/jobs/<id>/out/case/    the result

A job is `received` while its files are moved in, then `waiting`, `running`, `delivering` (its result goes to
archives) and `done`. `set_aside` is a job that was not done, with the reason; `cancelled` one that nobody
wants any more. Every change is one transaction that is on disk before the method returns, so a process that
is killed at any moment leaves a queue from which recover() goes on. No row names a patient.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError
from medseg.server.database import disk_errors, opened, sync_folder

RECEIVED, WAITING, RUNNING, DELIVERING = "received", "waiting", "running", "delivering"
DONE, SET_ASIDE, CANCELLED = "done", "set_aside", "cancelled"
STATES = (RECEIVED, WAITING, RUNNING, DELIVERING, DONE, SET_ASIDE, CANCELLED)
LIVE = (RECEIVED, WAITING, RUNNING, DELIVERING)
ENDED = (DONE, SET_ASIDE, CANCELLED)

_ASIDE = "aside "  # before the identity of what was never to be done
# The longest pause before another attempt. A time of the next attempt that lies further off is one that the
# computer's clock has jumped away from.
LONGEST_PAUSE_S = 600.0


@dataclass(frozen=True)
class QueueJob:
    """A row of the queue.

    Attributes:
        id: 32 hexadecimal digits.
        origin: dicom or rest.
        state: one of STATES.
        reason: why it waits for another attempt, was set aside or cancelled; never names a patient.
        task: the bundle; empty where no rule told one.
        rule: the name of the rule that matched; empty for REST.
        identity: SHA-256 of what makes it the same work; unique but for jobs set aside or cancelled.
        series: SHA-256 of the series' identifiers, so that late slices find the earlier ones; empty for REST.
        attempts: how often it was begun, or since its result is there, how often a delivery was tried.
        next_try: not before this time, in seconds since 1970, as all times here.
        received, started, finished: times; finished is also when it was set aside or cancelled.
        folder: of its files: in/ and out/.
        settings: method, mode, formats, send_to and what else the dispatcher reads.
        result: what is told of the result: verdict, warnings, seconds, files.
        delivered: the archives that have the result.
    """

    id: str
    origin: str
    state: str
    reason: str
    task: str
    rule: str
    identity: str
    series: str
    attempts: int
    next_try: float
    received: float
    started: float | None
    finished: float | None
    folder: Path
    settings: Mapping[str, Any]
    result: Mapping[str, Any]
    delivered: tuple[str, ...]


class Queue:
    """The jobs of a node. Every method may be called from several threads.

    Args:
        path: HOME/queue.sqlite; created with its folder where it is missing.
        now: the time, in seconds since 1970.

    Raises:
        MedsegError: the file is no queue of this version.
        OSError: the disk is full or broken; every method may raise it, and has then changed nothing.
    """

    def __init__(self, path: str | os.PathLike[str], now: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.home = self.path.parent
        self.now = now
        self._lock = threading.RLock()
        (self.home / "jobs").mkdir(parents=True, exist_ok=True)
        try:
            with disk_errors(self.path):
                self._db = opened(self.path)
        except sqlite3.DatabaseError as error:
            raise MedsegError(
                "a queue that medseg has written",
                got=f"{self.path.name}, which is none",
                advice="Move the file away; the files of its jobs stay in jobs/.",
            ) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def add(
        self,
        content: Path,
        *,
        origin: str,
        identity: str,
        task: str = "",
        rule: str = "",
        series: str = "",
        settings: Mapping[str, Any] | None = None,
        set_aside: str = "",
    ) -> tuple[str, bool]:
        """Take over a folder as the input of a job.

        The folder becomes HOME/jobs/<id>/in. Where the same work is waiting, running or done, the folder is
        removed and no job added.

        Args:
            content: a folder in HOME's file system, whose files are on disk (fsync).
            origin, identity, task, rule, series, settings: see QueueJob.
            set_aside: a reason why it is not to be done.

        Returns:
            The job's id, and whether it is a new job.
        """
        job = secrets.token_hex(16)
        # what is set aside never stands in the way of the same work
        identity = _ASIDE + identity if set_aside else identity
        with self._transaction() as db:
            found = _row_of(db, identity, (CANCELLED,) if set_aside else (CANCELLED, SET_ASIDE))
            if found is None:
                told = json.dumps(dict(settings or {}))
                values = (job, origin, RECEIVED, set_aside, task, rule, identity, series, self.now(), told)
                db.execute(
                    "INSERT INTO jobs (id, origin, state, reason, task, rule, identity, series, received, "
                    "settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        if found is not None:
            shutil.rmtree(content, ignore_errors=True)
            return found, False
        self._move_in(content, job)
        self._begin(job, set_aside)
        return job, True

    def get(self, job: str) -> QueueJob | None:
        """The job of an id; None where there is none."""
        found = self._select("WHERE id = ?", (job,))
        return found[0] if found else None

    def jobs(self, states: Sequence[str] = STATES, limit: int = 1000) -> list[QueueJob]:
        """The jobs in these states, the latest first."""
        marks = ", ".join("?" * len(states))
        return self._select(
            f"WHERE state IN ({marks}) ORDER BY received DESC, id LIMIT ?", (*states, int(limit))
        )

    def of_series(self, series: str) -> list[QueueJob]:
        """The jobs of a DICOM series, the latest first."""
        return self._select("WHERE series = ? ORDER BY received DESC, rowid DESC", (series,))

    def counts(self) -> dict[str, int]:
        """State to the number of jobs in it, all states named."""
        with self._transaction() as db:
            found = dict(db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def take(self, now: float | None = None) -> QueueJob | None:
        """Claim the job that has waited longest and is due: it is running now. None where none is due."""
        now = self.now() if now is None else now
        with self._transaction() as db:
            row = db.execute(
                "UPDATE jobs SET state = ?, attempts = attempts + 1, started = ? WHERE id = (SELECT id FROM "
                "jobs WHERE state = ? AND (next_try <= ? OR next_try > ?) ORDER BY received, rowid LIMIT 1) "
                "RETURNING *",
                (RUNNING, now, WAITING, now, now + LONGEST_PAUSE_S),
            ).fetchone()
        return None if row is None else self._job(row)

    def due_deliveries(self, now: float | None = None) -> list[QueueJob]:
        """The jobs whose result is to be sent now, the longest waiting first."""
        now = self.now() if now is None else now
        return self._select(
            "WHERE state = ? AND (next_try <= ? OR next_try > ?) ORDER BY received, rowid",
            (DELIVERING, now, now + LONGEST_PAUSE_S),
        )

    def finish(self, job: str, result: Mapping[str, Any], deliver: bool = False) -> bool:
        """Note the result of a running job, which is done then, or delivering.

        Returns:
            False where the job is not running: someone has cancelled it.
        """
        text = json.dumps(dict(result))
        if deliver:
            return self._change(job, (RUNNING,), state=DELIVERING, result=text, attempts=0, next_try=0.0)
        return self._change(job, (RUNNING,), state=DONE, result=text, reason="", finished=self.now())

    def delivered(self, job: str, archive: str) -> bool:
        """Note that an archive has the result of a delivering job."""
        with self._lock:
            found = self.get(job)
            if found is None:
                return False
            names = json.dumps([*dict.fromkeys([*found.delivered, archive])])
            return self._change(job, (DELIVERING,), delivered=names)

    def done(self, job: str) -> bool:
        """All archives have the result of a delivering job."""
        return self._change(job, (DELIVERING,), state=DONE, reason="", finished=self.now())

    def set_aside(self, job: str, reason: str, result: Mapping[str, Any] | None = None) -> bool:
        """Give up a job that has not ended, for a reason that names no patient."""
        more = {} if result is None else {"result": json.dumps(dict(result))}
        return self._change(job, LIVE, state=SET_ASIDE, reason=reason, finished=self.now(), **more)

    def retry(self, job: str, next_try: float, reason: str) -> bool:
        """Let a running job wait, or a delivering one go on delivering, until `next_try`."""
        with self._lock:
            found = self.get(job)
            if found is None or found.state not in (RUNNING, DELIVERING):
                return False
            tries = found.attempts + (found.state == DELIVERING)
            state = WAITING if found.state == RUNNING else DELIVERING
            return self._change(
                job, (found.state,), state=state, next_try=next_try, reason=reason, attempts=tries
            )

    def release(self, job: str) -> bool:
        """Let a running job wait again as if it had not been begun, because the node stops."""
        with self._lock:
            found = self.get(job)
            tries = 0 if found is None else max(found.attempts - 1, 0)
            return self._change(job, (RUNNING,), state=WAITING, attempts=tries)

    def cancel(self, job: str, reason: str = "cancelled") -> bool:
        """Cancel a job that has not ended; whoever runs it finds its state changed.

        Returns:
            False where there is no such job, or it has ended.
        """
        return self._change(job, LIVE, state=CANCELLED, reason=reason, finished=self.now())

    def again(self, job: str) -> bool:
        """Let a job that was set aside wait once more; one with a result is only delivered.

        Returns:
            False where there is no such job, it never was to be done, or the same work is there already.
        """
        with self._lock:
            found = self.get(job)
            if found is None or found.identity.startswith(_ASIDE):
                return False
            state = DELIVERING if found.result.get("outputs") else WAITING
            values = {"state": state, "reason": "", "attempts": 0, "next_try": 0.0, "finished": None}
            try:
                return self._change(job, (SET_ASIDE,), **values)
            except sqlite3.IntegrityError:  # another job of the same identity waits, runs or is done
                return False

    def recover(self) -> list[str]:
        """Go on after a process that was killed; to be called once, before anything else uses the queue.

        Running jobs wait again, with their attempts kept. A job whose files were not yet moved in is dropped:
        they lie where they were received, and are found there. A folder without a row is set aside.

        Returns:
            The ids of the jobs that were running.
        """
        running = [job.id for job in self.jobs((RUNNING,), limit=-1)]
        for job in running:
            self._change(job, (RUNNING,), state=WAITING)
        for found in self.jobs((RECEIVED,), limit=-1):
            if (found.folder / "in").is_dir():
                self._begin(found.id, found.reason)
            else:
                self._drop(found.id)
        known = {job.id for job in self.jobs(limit=-1)}
        for folder in sorted((self.home / "jobs").iterdir()):
            if folder.name.startswith(".old-"):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name not in known:
                self._adopt(folder.name)
        return running

    def forget(self, older_than: float) -> list[str]:
        """Remove the jobs that ended before a time, with their files.

        Returns:
            Their ids.
        """
        marks = ", ".join("?" * len(ENDED))
        found = self._select(f"WHERE state IN ({marks}) AND finished < ?", (*ENDED, older_than))
        for job in found:
            self._drop(job.id)
        return [job.id for job in found]

    def _drop(self, job: str) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job,))
        folder = self.home / "jobs" / job
        old = folder.with_name(f".old-{job}")
        if folder.exists():
            folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)

    def _adopt(self, job: str) -> None:
        with self._transaction() as db:
            now = self.now()
            db.execute(
                "INSERT INTO jobs (id, origin, state, reason, identity, received, finished) "
                "VALUES (?, '', ?, ?, ?, ?, ?)",
                (job, SET_ASIDE, "its row in the queue was lost", f"lost {job}", now, now),
            )

    def _begin(self, job: str, set_aside: str) -> None:
        """The files of a job are where they belong."""
        if set_aside:
            self._change(job, (RECEIVED,), state=SET_ASIDE, finished=self.now())
        else:
            self._change(job, (RECEIVED,), state=WAITING)

    def _move_in(self, content: Path, job: str) -> None:
        folder = self.home / "jobs" / job
        try:
            folder.mkdir()
            content.rename(folder / "in")
        except OSError:
            self._drop(job)
            raise
        for changed in (folder, folder.parent, content.parent):
            sync_folder(changed)

    def _change(self, job: str, states: Sequence[str], **values: Any) -> bool:
        """Set columns of a job that is in one of the states; whether there was one."""
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" * len(states))
        with self._transaction() as db:
            done = db.execute(
                f"UPDATE jobs SET {columns} WHERE id = ? AND state IN ({marks})",
                (*values.values(), job, *states),
            )
        return done.rowcount == 1

    def _select(self, where: str, values: Sequence[Any]) -> list[QueueJob]:
        with self._transaction() as db:
            rows = db.execute(f"SELECT * FROM jobs {where}", values).fetchall()
        return [self._job(row) for row in rows]

    def _job(self, row: sqlite3.Row) -> QueueJob:
        values = dict(row)
        for name in ("settings", "result", "delivered"):
            values[name] = json.loads(values[name])
        job = QueueJob(folder=self.home / "jobs" / values["id"], **values)
        return replace(job, delivered=tuple(job.delivered))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, disk_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _row_of(db: sqlite3.Connection, identity: str, but: Sequence[str]) -> str | None:
    marks = ", ".join("?" * len(but))
    row = db.execute(
        f"SELECT id FROM jobs WHERE identity = ? AND state NOT IN ({marks})", (identity, *but)
    ).fetchone()
    return None if row is None else str(row["id"])
