"""OUT/cohort.sqlite: what is known of each case, on disk before anything else happens.

Each change is a transaction that is on the disk when it returns, so a process that is killed leaves the
ledger as it was after the last one. It is one file with a rollback journal, not a write-ahead log, which
network drives, where clusters keep their results, do not bear.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError
from medseg.workers.job import DONE, FAILED, REFUSED, Outcome

NAME = "cohort.sqlite"
PENDING, RUNNING, SET_ASIDE = "pending", "running", "set_aside"
STATES = (DONE, REFUSED, FAILED, SET_ASIDE, RUNNING, PENDING)
_BUSY_S = 60.0  # that a writer waits for others who read
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cases (
    number INTEGER PRIMARY KEY,
    "case" TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    pixel_spacing_mm REAL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    seconds REAL NOT NULL,
    verdict TEXT NOT NULL,
    input_sha256 TEXT NOT NULL,
    outputs TEXT NOT NULL,
    worker TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class CaseRow:
    """What the ledger knows of a case; texts are empty where nothing is known yet.

    Attributes:
        case: the name of its folder in OUT.
        source: the absolute path of a file, a folder or an archive; or those of the files of one series.
        subject: the person, where the source of the cohort tells.
        pixel_spacing_mm: of this picture, where the source of the cohort tells.
        state: pending; running; done; refused (no input for this task); failed (an error); set_aside (its
            process ended twice, or it took too long).
        attempts: how often something became of it; an attempt that was broken off from outside counts not.
        crashes: how often its process ended since it was last pending by a user's wish.
        kind, text, seconds, verdict, input_sha256, worker: see medseg.workers.Outcome; of the last attempt.
        outputs: the names of the files in its folder, and their SHA-256.
        started, finished: of the last attempt, in ISO 8601, UTC; started is when it was given to a worker.
        number: its place in the cohort; those of a part count on without gaps.
    """

    case: str
    source: tuple[str, ...]
    subject: str = ""
    pixel_spacing_mm: float | None = None
    state: str = PENDING
    attempts: int = 0
    crashes: int = 0
    kind: str = ""
    text: str = ""
    seconds: float = 0.0
    verdict: str = ""
    input_sha256: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    worker: str = ""
    started: str = ""
    finished: str = ""
    number: int = 0


_NUMBERS = {"pixel_spacing_mm", "attempts", "crashes", "seconds"}
_COLUMNS = [column.name for column in fields(CaseRow) if column.name != "number"]


class Ledger:
    """The ledger of one OUT folder; for the thread that made it.

    Args:
        path: the file. It is created if it is missing; its folder must exist.

    Raises:
        MedsegError: it can't be opened, or it is no ledger; methods raise it, too, when it can't be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._reported():
            self._base = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            # File names may hold bytes that are no UTF-8; Python's own text would refuse them.
            self._base.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
            self._base.execute("PRAGMA synchronous = EXTRA")
            self._base.executescript(_SCHEMA)

    def close(self) -> None:
        self._base.close()

    def discard_if_untouched(self) -> None:
        """Remove the file if no case was tried yet."""
        if not any(row.attempts for row in self.cases()):
            self.close()
            self.path.unlink()

    def settings(self) -> dict[str, Any]:
        """What the cases are segmented with, by name; empty for a ledger that is new."""
        with self._reported():
            rows = self._base.execute("SELECT name, value FROM settings ORDER BY rowid").fetchall()
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def start(self, settings: Mapping[str, Any], rows: Iterable[CaseRow]) -> None:
        """Write the settings and the first cases, both or none."""
        pairs = [(name, json.dumps(value)) for name, value in settings.items()]
        with self._transaction():
            self._base.executemany("INSERT INTO settings VALUES (?, ?)", pairs)
            self._insert(rows)

    def add(self, rows: Iterable[CaseRow]) -> None:
        """Add cases after those that are there, in the state that they have; all or none."""
        with self._transaction():
            self._insert(rows)

    def cases(self, *states: str) -> list[CaseRow]:
        """The cases in some states, by default all, in their order."""
        with self._reported():
            rows = self._base.execute("SELECT * FROM cases ORDER BY number").fetchall()
        return [_case_of(row) for row in rows if not states or row["state"] in states]

    def counts(self) -> dict[str, int]:
        """How many cases are in each state; every state is named."""
        with self._reported():
            rows = self._base.execute("SELECT state, count(*) FROM cases GROUP BY state").fetchall()
        return {**dict.fromkeys(STATES, 0), **dict(map(tuple, rows))}

    def begin(self, case: str) -> None:
        """A case is given to a worker."""
        self._change(case, state=RUNNING, started=_now())

    def finish(self, case: str, state: str, outcome: Outcome, crashed: bool = False) -> None:
        """Write what became of a case.

        Args:
            case: its name.
            state: what it is in now; pending for one that is tried again.
            outcome: of this attempt.
            crashed: whether its process ended.
        """
        self._change(
            case,
            state=state,
            kind=outcome.kind,
            text=outcome.text,
            seconds=outcome.seconds,
            verdict=outcome.verdict,
            input_sha256=outcome.input_sha256,
            outputs=json.dumps(dict(outcome.outputs)),
            worker=outcome.worker,
            finished=_now(),
            counted=(1, int(crashed)),
        )

    def release(self, *cases: str, states: Iterable[str] = (RUNNING,), forgive: bool = False) -> list[str]:
        """Make cases pending again.

        Args:
            cases: their names; none for all.
            states: only cases in these.
            forgive: forget how often their processes have ended.

        Returns:
            The names of the cases that were made so.
        """
        found = [row.case for row in self.cases(*states) if not cases or row.case in cases]
        crashes = ", crashes = 0" if forgive else ""
        with self._transaction():
            self._base.executemany(
                f'UPDATE cases SET state = ?{crashes} WHERE "case" = CAST(? AS TEXT)',
                [(PENDING, _stored(name)) for name in found],
            )
        return found

    def _insert(self, rows: Iterable[CaseRow]) -> None:
        names = ", ".join(f'"{name}"' for name in _COLUMNS)
        marks = ", ".join(map(_mark, _COLUMNS))
        self._base.executemany(f"INSERT INTO cases ({names}) VALUES ({marks})", map(_values_of, rows))

    def _change(self, case: str, counted: tuple[int, int] = (0, 0), **values: Any) -> None:
        names = ", ".join(f"{name} = {_mark(name)}" for name in values)
        more = "attempts = attempts + ?, crashes = crashes + ?"
        with self._transaction():
            self._base.execute(
                f'UPDATE cases SET {names}, {more} WHERE "case" = CAST(? AS TEXT)',
                [*map(_stored, values.values()), *counted, _stored(case)],
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reported():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise MedsegError(
                "a ledger that can be read and written",
                got=f"{self.path} ({error})",
                advice="Check the rights and the free space, and go on with --resume.",
            ) from error


def _values_of(row: CaseRow) -> list[Any]:
    texts = {"source": json.dumps(row.source), "outputs": json.dumps(dict(row.outputs))}
    return [_stored(texts.get(name, getattr(row, name))) for name in _COLUMNS]


def _mark(column: str) -> str:
    """The place of a value in a statement; see _stored."""
    return "?" if column in _NUMBERS else "CAST(? AS TEXT)"


def _stored(value: Any) -> Any:
    """A text as its bytes, which SQLite takes as they are."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _case_of(row: sqlite3.Row) -> CaseRow:
    values = dict(row)
    values["source"] = tuple(json.loads(values["source"]))
    values["outputs"] = json.loads(values["outputs"])
    return CaseRow(**values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
