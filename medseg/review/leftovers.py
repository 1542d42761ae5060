"""What a killed process left in the folders of cases: undone or removed before decisions are applied.

See medseg.io.atomic.atomic_files: files are written into a hidden folder, the earlier ones go to `earlier` in
it, measurements.json first, and the new ones take their places, measurements.json last.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.errors import UnsuitableError
from medseg.review.cases import RECORD

_STAGE = re.compile(r"\.medseg-[0-9a-f]{8}")
_FILE = re.compile(r"\.[0-9a-f]{8}\.segmentation\..+")
_EARLIER = "earlier"


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Let no other process apply decisions to a folder of results; nothing is left of the lock.

    Where the file system has no locks, there is none.

    Raises:
        UnsuitableError: another process does so now.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UnsuitableError(
                    "a folder to which no other process applies decisions",
                    got=f"{out}, to which one does now",
                    advice="Wait until it has ended.",
                ) from error
        yield
    finally:
        os.close(folder)


def clear_leftovers(out: Path) -> None:
    """Bring each case back to how it was before a process was killed while writing it.

    A case without measurements.json gets its earlier files back. Hidden folders in which nothing but new or
    replaced files are left are removed. Those that belong to no case stay: they may be in use.

    Args:
        out: the folder of results; no other process may apply decisions to it now.

    Raises:
        OSError: a file can't be moved.
    """
    for folder in (*out.glob("*/"), *out.glob("*/*/")):
        if folder.name.startswith(".") or folder.parent.name.startswith("."):
            continue
        # Folders first: one may hold measurements.json.
        for path in sorted(folder.glob(".*"), key=lambda path: path.is_file()):
            if _STAGE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                _end(path, folder)
            elif _FILE.fullmatch(path.name) and (folder / RECORD).is_file():
                path.unlink(missing_ok=True)


def _end(stage: Path, folder: Path) -> None:
    earlier = stage / _EARLIER
    if not (folder / RECORD).is_file():
        if not (earlier / RECORD).is_file():
            return
        for path in sorted(earlier.iterdir(), key=lambda path: path.name == RECORD):
            path.replace(folder / path.name)
    shutil.rmtree(stage, ignore_errors=True)
