"""The files of a bundle, in a folder or in a zip archive, which is never unpacked to disk."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from medseg.bundle.audit.findings import REFUSE, WARN, Finding, printable
from medseg.errors import UsageError

MOST_FILES = 10_000
# What an archive may hold, and how much a file in it may grow: weights hardly do.
MOST_BYTES, MOST_RATIO = 8 * 2**30, 200
# Suffixes of weights: those of pickles, and all.
PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".th", ".pkl", ".pickle", ".model", ".joblib")
WEIGHTS = frozenset((*PICKLED, ".npz", ".npy", ".onnx", ".safetensors", ".ts", ".pt2", ".h5", ".engine"))
_METADATA = "configs/metadata.json"
_LINK = 0o120000


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    Attributes:
        name: path inside the bundle, with slashes.
        size: in bytes.
        open: a new seekable stream of its content.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    def head(self, count: int) -> bytes:
        """The first bytes of the file."""
        with self.open() as stream:
            return stream.read(count)


@dataclass(frozen=True)
class Source:
    """A bundle's name, its files in the order of their names, and what is wrong with the way it is packed."""

    name: str
    files: tuple[File, ...]
    findings: tuple[Finding, ...]


@contextmanager
def open_source(path: str | Path) -> Iterator[Source]:
    """The files of a bundle's folder, or of a zip archive that holds one.

    Raises:
        UsageError: it is neither.
    """
    path = Path(path)
    if path.is_dir():
        yield _folder(path)
    elif path.is_file() and zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise _no_bundle(path, "a damaged archive") from error
        with archive:
            yield _archive(path, archive)
    else:
        raise _no_bundle(path, "neither a folder nor a zip archive" if path.exists() else "nothing there")


def _no_bundle(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"a bundle: a folder, or a zip archive of one, with {_METADATA}",
        got=f"{path} ({reason})",
        advice="Give the folder that has configs/ in it.",
    )


def _folder(root: Path) -> Source:
    root = root.resolve()
    if not (root / _METADATA).is_file():
        raise _no_bundle(root, f"no {_METADATA}")
    files, findings = [], []
    for path in (path for part in sorted(root.iterdir()) if part.name != ".git" for path in _walk(part)):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            # Large files are often kept elsewhere; they are read like those that lie here.
            is_data = path.is_file() and path.suffix.lower() in WEIGHTS
            severity = WARN if is_data else REFUSE
            findings.append(Finding(severity, "link", printable(name), None, "a link that leaves the bundle"))
            if is_data:
                files.append(_file(name, path))
        elif path.is_symlink() and path.is_dir():
            findings.append(
                Finding(WARN, "link", printable(name), None, "a link to a folder, which is read once")
            )
        elif path.is_file():
            files.append(_file(name, path))
        elif not path.is_dir():
            findings.append(
                Finding(
                    REFUSE, "link", printable(name), None, "neither a file nor a folder, or a broken link"
                )
            )
        if len(files) > MOST_FILES:
            raise _no_bundle(root, f"more than {MOST_FILES} files")
    return Source(root.name, tuple(files), tuple(findings))


def _file(name: str, path: Path) -> File:
    return File(name, path.stat().st_size, lambda: path.open("rb"))


def _walk(path: Path) -> Iterator[Path]:
    """A file, or a folder with everything below it, sorted; links are not followed."""
    yield path
    if path.is_dir() and not path.is_symlink():
        for part in sorted(path.iterdir()):
            yield from _walk(part)


def _archive(path: Path, archive: zipfile.ZipFile) -> Source:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
        raise _no_bundle(path, f"more than {MOST_FILES} files or {MOST_BYTES // 2**30} GB")
    prefix = _prefix([member.filename for member in members])
    if prefix is None:
        raise _no_bundle(path, f"no {_METADATA}")
    files, findings = [], []
    seen: set[str] = set()
    for member in sorted(members, key=lambda member: member.filename):
        name = member.filename.removeprefix(prefix)
        if reason := _packing_fault(member, seen):
            findings.append(Finding(REFUSE, "archive", printable(name), None, reason, printable(name)))
        else:
            files.append(File(name, member.file_size, partial(archive.open, member)))
        seen.add(member.filename)
    return Source(path.stem, tuple(files), tuple(findings))


def _prefix(names: list[str]) -> str | None:
    """The folder inside the archive that is the bundle: "" or "name/"."""
    found = [name.removesuffix(_METADATA) for name in names if name.endswith(_METADATA)]
    return min(found, key=len, default=None)


def _packing_fault(member: zipfile.ZipInfo, seen: set[str]) -> str:
    """Why a member of an archive can't be trusted; empty if it can."""
    if leaves(member.filename):
        return "a name that leaves the folder into which it is unpacked (GHSA-9rg3-9pvr-6p27)"
    if member.filename in seen:
        return "two files of one name, of which a reader sees one"
    if (member.external_attr >> 16) & 0o170000 == _LINK:
        return "a symbolic link"
    if member.flag_bits & 1:
        return "encrypted, so that nothing can be said of it"
    if member.file_size > max(2**20, MOST_RATIO * member.compress_size):
        return f"it would unpack to more than {MOST_RATIO} times its size"
    return ""


def leaves(name: str) -> bool:
    """Whether a member's name leads out of the folder into which its archive is unpacked."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name


def digest(files: tuple[File, ...]) -> str:
    """The first 32 hexadecimal digits of a SHA-256 over the names and contents of all files."""
    found = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        with file.open() as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        found.update(f"{len(file.name)} {file.name} {content}\n".encode())
    return found.hexdigest()[:32]
