"""The result files of a job, and all of them as a zip archive that is made while it is sent."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from medseg.server.queue import DELIVERING, DONE, SET_ASIDE, QueueJob

_CHUNK = 1 << 20


def result_files(job: QueueJob) -> list[Path]:
    """The files of a job's result, by name; none before it is done.

    One that no archive took is set aside, and has its result all the same.
    """
    is_whole = job.state in (DONE, DELIVERING) or (job.state == SET_ASIDE and "verdict" in job.result)
    if not is_whole:  # a worker may be writing
        return []
    found = job.folder.glob("out/*/*")
    return sorted(file for file in found if file.is_file() and not file.is_symlink() and file.name[0] != ".")


def zipped(files: Sequence[Path], folder: str) -> Iterator[bytes]:
    """A zip archive of files in one folder, in parts; no part is larger than one of the files' MB."""
    parts = _Parts()
    with zipfile.ZipFile(cast(IO[bytes], parts), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            member = zipfile.ZipInfo.from_file(file, f"{folder}/{file.name}")
            member.compress_type = zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield parts.taken()
    yield parts.taken()


class _Parts:
    """A file for zipfile that is only written to, and emptied from time to time."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        found = bytes(self._waiting)
        self._waiting.clear()
        return found
