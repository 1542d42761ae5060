"""The SQLite file of a node's queue: its table, how it is opened, and its errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO, ENOSPC
from pathlib import Path

from medseg.errors import MedsegError

_VERSION = 1
_SCHEMA = f"""
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, origin TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    task TEXT NOT NULL DEFAULT '', rule TEXT NOT NULL DEFAULT '', identity TEXT NOT NULL,
    series TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0,
    received REAL NOT NULL, started REAL, finished REAL, settings TEXT NOT NULL DEFAULT '{{}}',
    result TEXT NOT NULL DEFAULT '{{}}', delivered TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX by_state ON jobs (state, next_try);
CREATE INDEX by_series ON jobs (series);
CREATE UNIQUE INDEX once ON jobs (identity) WHERE state NOT IN ('set_aside', 'cancelled');
PRAGMA user_version = {_VERSION};
"""


def opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    elif version != _VERSION:
        db.close()
        raise MedsegError(
            f"a queue of version {_VERSION}",
            got=f"{path.name} of version {version}",
            advice="Use the medseg that wrote it, or another home.",
        )
    return db


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """SQLite's errors of a full or broken disk as the operating system's."""
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(path)) from error
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise OSError(EIO, os.strerror(EIO), str(path)) from error
        raise


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk: a file is safe only when its name is, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
