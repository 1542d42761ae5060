"""Write a file, or the files of a folder, in full or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
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


@contextmanager
def atomic_files(folder: Path, earlier: Iterable[Path], last: str) -> Iterator[Path]:
    """A hidden folder whose files take the place of earlier ones when the block ends without an error.

    Whatever goes wrong, `folder` stays as it was, and what is nobody's in it stays in any case. A folder that
    was missing appears with all its files at once. In one that exists the files are renamed, `last` leaving
    first and coming last, so that a kill within these few renames leaves files without it and no mixture.

    Args:
        folder: made when it is missing.
        earlier: files in it that leave.
        last: the name of the file that vouches for the others.

    Yields:
        An empty folder in the same file system, for files only.

    Raises:
        OSError: the files can't be written or moved; it names the file in `folder`.
    """
    is_new = not os.path.lexists(folder)
    home = folder.parent if is_new else folder
    home.mkdir(parents=True, exist_ok=True)
    stage = home / f".medseg-{secrets.token_hex(4)}"
    stage.mkdir()
    try:
        yield stage
        if is_new:
            stage.rename(folder)
        else:
            _swap(stage, folder, earlier, last)
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)).parent == stage:
            error.filename = str(folder / Path(os.fsdecode(error.filename)).name)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(stage: Path, folder: Path, earlier: Iterable[Path], last: str) -> None:
    """Exchange the earlier files for those of `stage`, all or none."""
    written = sorted(stage.iterdir(), key=lambda path: path.name == last)
    old = dict.fromkeys([folder / last, *earlier, *(folder / path.name for path in written)])
    away = stage / "earlier"
    away.mkdir()
    leaving = [(path, away / path.name) for path in old if path.is_file() or path.is_symlink()]
    _rename_all([*leaving, *((path, folder / path.name) for path in written)])


def _rename_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename each first path to its second; after an error all are called as before."""
    try:
        for source, target in moves:
            source.rename(target)
    except BaseException:
        for source, target in reversed(moves):
            if not os.path.lexists(source):
                target.rename(source)
        raise


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
            "a folder for the results", got=f"{there}, which is a file", advice="Name another folder."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise MedsegError(
            "a folder for the results that may be written",
            got=f"{there}, which may not",
            advice="Ask for the right to write there, or name another folder.",
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
