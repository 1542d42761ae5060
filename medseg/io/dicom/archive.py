"""The files of a zip archive, unpacked in memory, within bounds and without trust in what it declares."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from medseg.errors import UnreadableError

# Deflate can't pack tighter than 1032 to 1. An empty slice comes near that, a study of hundreds of MB
# does not: beyond the free allowance, an archive may unpack to 100 times its own size.
MOST_RATIO, FREE_BYTES = 100, 256 * 2**20
MOST_FILES = 100_000
ENCRYPTED, DAMAGED, TOO_LARGE, FORBIDDEN = "encrypted", "damaged", "too large", "not allowed to be read"


class PassOver(Exception):
    """Carries the reason why a file is passed over."""


@dataclass(frozen=True)
class Entry:
    name: str
    read: Callable[[int], bytes]  # at most so many bytes from the start


def require_few(count: int, name: str) -> None:
    if count > MOST_FILES:
        raise UnreadableError(
            f"at most {MOST_FILES} files", got=f"{count} in {name}", advice="Name the folder of one study."
        )


def clean_name(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:80]


def members(path: Path, stack: ExitStack) -> list[Entry]:
    """The files of a zip archive, none of which has been unpacked yet."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableError(
            "a whole zip archive",
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
                got=f"{path.name}, which holds an absolute name, an empty one or one with ..",
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
    """Unpack up to `most` bytes; counted as they come, because what the archive declares may lie."""
    if member.flag_bits & 1:
        raise PassOver(ENCRYPTED)
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
                        got="one that goes on beyond that",
                        advice="Don't use this archive; ask its sender.",
                    )
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise PassOver(DAMAGED) from error
    return b"".join(chunks)
