"""The journal: a training's events on disk, before they are sent to MLflow.

journal.jsonl holds one JSON line for each event, in order. Lines become final when a commit, a resume or the
end FINISHED follows them. Lines that are followed only by FAILED or KILLED are never sent, because a resumed
training repeats them. delivered.json names the MLflow run and the number of bytes that it has received.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.atomic import atomic_path

NAME = "journal.jsonl"
_CLOSING = {"start", "resume", "commit", "finish"}
_logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    end: int  # bytes of the journal up to and including this entry
    kind: str
    time_ms: int
    content: dict[str, Any]


class Journal:
    """The journal of one run. It keeps no file open, so that processes can fork while it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_ms = 0

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self, kind: str, **content: Any) -> None:
        """Append an event with a time that no other event has."""
        self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
        line = json.dumps({"kind": kind, "time_ms": self._last_ms, **content})
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")

    def flush(self) -> None:
        """Wait until all events are on the disk."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())

    def final(self, begin: int = 0) -> Iterator[Entry]:
        """The entries that no resumed training will repeat, from an offset at the end of an entry."""
        pending: list[Entry] = []
        for entry in self._lines(begin):
            if entry.kind not in _CLOSING:
                pending.append(entry)
                continue
            if entry.content.get("status", "FINISHED") == "FINISHED":
                yield from pending
            pending.clear()
            yield entry

    def start(self) -> Entry | None:
        """The first entry; None if the journal is missing or its beginning is lost."""
        first = next(self._lines(0), None)
        return first if first and first.kind == "start" else None

    def owner(self) -> dict[str, Any] | None:
        """The process that started or resumed the run; None if the run has ended."""
        last = None
        for entry in self._lines(0):
            if entry.kind in {"start", "resume"}:
                last = entry.content["process"]
            elif entry.kind == "finish":
                last = None
        return last

    def cut(self, position: int) -> dict[str, list[int]]:
        """Delete everything after a position, including a line that the position divides.

        Returns:
            Metric to the steps among the deleted ones that a store may already have.
        """
        redone: dict[str, set[int]] = {}
        kept = 0
        for entry in self.final():
            if entry.end <= position:
                kept = entry.end
                continue
            for name, steps in _steps(entry):
                redone.setdefault(name, set()).update(steps)
        self._truncate(position)
        run_id, delivered = self.delivered()
        if run_id:
            # Lines before the position become final even if they were not, and must still be sent.
            self.set_delivered(run_id, min(delivered, kept))
        return {name: sorted(steps) for name, steps in redone.items()}

    def delivered(self) -> tuple[str | None, int]:
        """The MLflow run and how many bytes of the journal it has."""
        try:
            content = json.loads(self._delivered.read_text())
            return content["run_id"], content["bytes"]
        except (OSError, ValueError, KeyError, TypeError):
            # Sending everything again is harmless.
            return None, 0

    def set_delivered(self, run_id: str, size: int) -> None:
        with atomic_path(self._delivered) as path:
            path.write_text(json.dumps({"run_id": run_id, "bytes": size}))

    def set_aside(self) -> None:
        """Make room for a new run; an old journal is renamed if it has entries that were never sent."""
        start = self.start()
        _, delivered = self.delivered()
        if start is None or all(entry.end <= delivered or entry.kind == "start" for entry in self.final()):
            self.remove()
            return
        aside = Journal(self.path.with_name(f"journal-{start.content['key'][:8]}.jsonl"))
        if self._delivered.exists():
            self._delivered.replace(aside._delivered)
        self.path.replace(aside.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._delivered.unlink(missing_ok=True)

    @property
    def _delivered(self) -> Path:
        name = self.path.stem.replace("journal", "delivered", 1)
        return self.path.with_name(f"{name}.json")

    def _truncate(self, position: int) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            kept = file.read(position)
            file.truncate(kept.rfind(b"\n") + 1)
            os.fsync(file.fileno())

    def _lines(self, begin: int) -> Iterator[Entry]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                begin += len(line)
                if entry := _entry(line, begin):
                    yield entry
                else:
                    _logger.warning(
                        "%s: the damaged line that ends at byte %d is left out.", self.path, begin
                    )


def _entry(line: bytes, end: int) -> Entry | None:
    try:
        content = json.loads(line)
        return Entry(end, content.pop("kind"), content.pop("time_ms"), content)
    except (ValueError, KeyError, AttributeError):
        return None


def _steps(entry: Entry) -> Iterator[tuple[str, list[int]]]:
    if entry.kind == "metrics":
        yield from ((name, [entry.content["step"]]) for name in entry.content["values"])
    elif entry.kind == "resume":
        yield from entry.content["redone"].items()


def this_process() -> dict[str, Any]:
    """What identifies this process, also against a later process with the same number."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "created": psutil.Process().create_time()}


def is_gone(process: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended."""
    import psutil

    try:
        found = psutil.Process(process["pid"])
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        # The clock may have been adjusted, which moves the start of the same process by a moment.
        return abs(found.create_time() - process["created"]) > 2
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
