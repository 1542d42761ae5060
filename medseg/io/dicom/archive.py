"""Read the files of a zip archive in memory, within limits that don't depend on what it declares."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from medseg.errors import UnreadableError

# Deflate compresses by at most 1032 to 1. An empty slice comes near that ratio, a study of hundreds of MB
# does not. So an archive may unpack to FREE_BYTES plus 100 times its own size.
MOST_RATIO, FREE_BYTES = 100, 256 * 2**20
MOST_FILES = 100_000
ENCRYPTED, DAMAGED, TOO_LARGE, FORBIDDEN = "encrypted", "damaged", "too large", "not allowed to be read"


class SkipFile(Exception):
    """Carries the reason why a file is skipped."""


@dataclass(frozen=True)
class Entry:
    """A file on disk or in an archive.

    Attributes:
        name: base name, for messages.
        read: returns the first bytes of the file, at most the given number.
    """

    name: str
    read: Callable[[int], bytes]


def require_few(count: int, name: str) -> None:
    """Raise UnreadableError for more than MOST_FILES files in the source `name`."""
    if count > MOST_FILES:
        raise UnreadableError(
            f"at most {MOST_FILES} files", got=f"{count} in {name}", advice="Name the folder of one study."
        )


def clean_name(name: str) -> str:
    """A file name for messages: printable, at most 80 characters."""
    return "".join(c if c.isprintable() else "?" for c in name)[:80]


def members(path: Path, stack: ExitStack) -> list[Entry]:
    """The files of a zip archive; each is unpacked when it is read.

    Args:
        path: the archive.
        stack: keeps the archive open.

    Raises:
        UnreadableError: the archive is damaged, has too many files, or has file names that leave its folder.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableError(
            "a complete zip archive",
            got=f"{path.name}, which is damaged",
            advice="Copy it again from its source.",
        ) from error
    infos = [member for member in archive.infolist() if not member.is_dir()]
    require_few(len(infos), path.name)
    for member in infos:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if not name.name or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise UnreadableError(
                "a zip archive whose files stay in their folder",
                got=f"{path.name} with a file name that is absolute, is empty or contains ..",
                advice="Don't use this archive; ask its sender.",
            )
    budget = _Budget(path.stat().st_size * MOST_RATIO + FREE_BYTES)
    return [
        Entry(clean_name(PurePosixPath(member.filename).name), partial(_read_member, archive, member, budget))
        for member in infos
    ]


@dataclass
class _Budget:
    """How many bytes an archive may still unpack to."""

    left: int


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget, most: int) -> bytes:
    """Unpack up to `most` bytes, counting them as they come: the declared size may be wrong."""
    if member.flag_bits & 1:
        raise SkipFile(ENCRYPTED)
    chunks: list[bytes] = []
    try:
        with archive.open(member) as stream:
            while most > 0 and (chunk := stream.read(min(most, 2**20))):
                chunks.append(chunk)
                most -= len(chunk)
                budget.left -= len(chunk)
                if budget.left < 0:
                    raise UnreadableError(
                        f"a zip archive that unpacks to at most {MOST_RATIO} times its size",
                        got="one that unpacks to more",
                        advice="Don't use this archive; ask its sender.",
                    )
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise SkipFile(DAMAGED) from error
    return b"".join(chunks)
