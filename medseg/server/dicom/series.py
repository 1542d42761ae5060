"""Series that are being received, on disk: instances arrive one by one, and at some time no more do.

    HOME/receiving/.tmp/                    objects that are not received to their end
    HOME/receiving/<series>/<object>.dcm    what was confirmed to the sender
    HOME/receiving/<series>.ready-<hex>/    a series that is complete and becomes a job next

<series> is a digest of the UIDs of study and series, <object> one of the object's UID and one of its pixels.
So the same object is one file, and the same UID with other pixels is seen by the names alone. Pauses are
measured by a clock that nobody can set.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medseg.errors import MedsegError
from medseg.io.dicom.instance import Instance
from medseg.server.database import sync_folder

SENDER = "sender"  # the file that holds the AE title of the sender
_READY = ".ready-"
_DIGITS = 32


class TooManyError(MedsegError):
    """A sender sends more than the configuration allows."""


@dataclass
class _Open:
    """A series that is being received: names of its objects, when the last one came, what its sender told."""

    names: set[str] = field(default_factory=set)
    last: float = 0.0
    study: str = ""
    told_series: int | None = None
    told_study: int | None = None
    size: int = 0


class Incoming:
    """The series that are being received; every method may be called from several threads.

    Args:
        home: HOME of the node. What an earlier process has received is found there.
        quiet_s: a series is complete when nothing has come for so long.
        most: instances of one series.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, home: Path, quiet_s: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = home / "receiving"
        self.temporary = self.folder / ".tmp"
        self._quiet_s, self._most, self._clock = quiet_s, most, clock
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self._find()

    def put(self, path: Path, instance: Instance, sender: str) -> bool:
        """Keep an object; when this returns, it is on disk with its name.

        Args:
            path: a file in `temporary`, which is moved away or removed.
            instance: what stands in it.
            sender: its AE title.

        Returns:
            False for an object that is already there.

        Raises:
            TooManyError: its series has too many instances.
            OSError: the disk is full or broken.
        """
        with path.open("rb") as file:
            os.fsync(file.fileno())
        key, name = series_key(instance), object_name(instance)
        with self._lock:
            found = self._open.setdefault(key, _Open(last=self._clock()))
            found.last, found.study = self._clock(), _digest(instance.study)
            found.told_series = instance.told[0] or found.told_series
            found.told_study = instance.told[1] or found.told_study
            if name in found.names:
                path.unlink()
                return False
            if len(found.names) >= self._most:
                raise TooManyError(
                    f"at most {self._most} instances of a series", got="more", advice="Raise dicom.limits."
                )
            self._place(path, self.folder / key, name, sender)
            found.names.add(name)
            found.size += (self.folder / key / name).stat().st_size
            return True

    def complete(self) -> list[Path]:
        """Take out the series that are complete: folders that only the caller uses from now on.

        Such as an earlier process, or an earlier call, has taken out and not used are among them.
        """
        now = self._clock()
        with self._lock:
            counts: dict[str, int] = {}
            for found in self._open.values():
                counts[found.study] = counts.get(found.study, 0) + _distinct(found.names)
            for key, found in [*self._open.items()]:
                told = found.told_series is not None and _distinct(found.names) >= found.told_series
                all_told = found.told_study is not None and counts[found.study] >= found.told_study
                if not (told or all_told or now - found.last >= self._quiet_s):
                    continue
                if found.names:
                    (self.folder / key).rename(self.folder / f"{key}{_READY}{secrets.token_hex(4)}")
                else:  # its only object could not be written
                    shutil.rmtree(self.folder / key, ignore_errors=True)
                del self._open[key]
            return sorted(path for path in self.folder.iterdir() if _READY in path.name)

    def next_s(self) -> float:
        """Seconds until a series may be complete; infinite where none is being received."""
        now = self._clock()
        with self._lock:
            pauses = [self._quiet_s - (now - found.last) for found in self._open.values()]
        return max(0.0, min(pauses, default=float("inf")))

    def size(self) -> int:
        """Bytes of the series that are being received."""
        with self._lock:
            return sum(found.size for found in self._open.values())

    def sweep(self, older_s: float) -> int:
        """Remove what senders have left half sent so long ago; returns how many files."""
        removed = 0
        for path in self.temporary.iterdir():
            try:
                if time.time() - path.stat().st_mtime > older_s:
                    path.unlink()
                    removed += 1
            except OSError:  # it was finished meanwhile
                continue
        return removed

    def _place(self, path: Path, folder: Path, name: str, sender: str) -> None:
        if not folder.exists():
            new = self.temporary / f"new-{secrets.token_hex(8)}"
            new.mkdir()
            with (new / SENDER).open("w", encoding="ascii", errors="replace") as file:
                file.write(sender)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(new)
            new.rename(folder)
            sync_folder(self.folder)
        path.rename(folder / name)
        sync_folder(folder)

    def _find(self) -> None:
        """What an earlier process has received; it is complete after a pause."""
        for folder in self.folder.iterdir():
            if folder == self.temporary or _READY in folder.name or not folder.is_dir():
                continue
            files = [path for path in folder.iterdir() if path.name != SENDER]
            size = sum(path.stat().st_size for path in files)
            names = {path.name for path in files}
            self._open[folder.name] = _Open(names, self._clock(), size=size)


def series_key(instance: Instance) -> str:
    """The name of the folder of an instance's series."""
    return _digest(f"{instance.study}|{instance.series}")


def object_name(instance: Instance) -> str:
    """The name of an instance's file."""
    return f"{_digest(instance.uid)}-{instance.pixels[:_DIGITS]}.dcm"


def has_two_versions(names: set[str]) -> bool:
    """Whether an object is among these files with two kinds of pixels."""
    return _distinct(names) < len(names)


def _distinct(names: set[str]) -> int:
    return len({name[:_DIGITS] for name in names})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
