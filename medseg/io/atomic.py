"""Write a file in full or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.errors import MedsegError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The block creates the file itself, so its mode follows the umask. Whatever goes wrong, the
    temporary file is removed and a file that already stood at `path` stays as it was.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        A path in the same folder that ends in the same name, so that writers which choose the
        format by the suffix (.nii.gz too) choose the same one.

    Raises:
        OSError: the disk is full or broken, whatever the writer made of it; it names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        cause = _cause(error)
        if cause is None or cause.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder for results that can't be made or written, before there is work to lose.

    Nothing is made.

    Raises:
        MedsegError: a file stands in its way, or the rights are missing.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(there):
        raise MedsegError(
            "a folder for the results", came=f"{there}, which is a file", do="Name another folder."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise MedsegError(
            "a folder for the results that may be written",
            came=f"{there}, which may not",
            do="Ask for the right to write there, or name another folder.",
        )


def _cause(error: BaseException | None) -> OSError | None:
    """The system's own error, which pydicom wraps in one whose text is a traceback."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _flush(path: Path) -> None:
    """Wait until the disk holds the file: a rename may otherwise outlive a power cut, its content not."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
