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
    """A temporary path that is renamed to `path` when the block ends without an error.

    The block creates the file itself, so its mode follows the umask. After an error the temporary file is
    removed, and a file that was already at `path` stays as it was.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        A path in the same folder with the same suffixes, .nii.gz too, so that a writer that goes by the
        suffix chooses the same format.

    Raises:
        OSError: the disk is full or broken, also where the writer hid that in an error of its own; it names
            `path`.
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
    """A hidden folder whose files replace earlier ones when the block ends without an error.

    After an error `folder` is as it was. Files in it that are neither in `earlier` nor written by the block
    always stay. A missing folder appears with all its files at once. In an existing folder the files are
    renamed one by one; `last` is removed first and added last. So a process that is killed in between leaves
    files without `last`, never `last` beside a mixture of old and new files.

    Args:
        folder: created when it is missing.
        earlier: files in `folder` to remove.
        last: the name of the file that marks the others as complete.

    Yields:
        An empty folder in the same file system, for files without subfolders.

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
    """Replace the earlier files by those of `stage`, all or none."""
    written = sorted(stage.iterdir(), key=lambda path: path.name == last)
    old = dict.fromkeys([folder / last, *earlier, *(folder / path.name for path in written)])
    away = stage / "earlier"
    away.mkdir()
    leaving = [(path, away / path.name) for path in old if path.is_file() or path.is_symlink()]
    _rename_all([*leaving, *((path, folder / path.name) for path in written)])


def _rename_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename the first path of each pair to the second; an error undoes all renames."""
    try:
        for source, target in moves:
            source.rename(target)
    except BaseException:
        for source, target in reversed(moves):
            if not os.path.lexists(source):
                target.rename(source)
        raise


def require_folder(folder: str | os.PathLike[str]) -> None:
    """Check that a folder for results can be created and written to, before any work is done.

    Creates nothing.

    Raises:
        MedsegError: a file is in the way, or the rights are missing.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(there):
        raise MedsegError(
            "a folder for the results", got=f"{there}, which is a file", advice="Name another folder."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise MedsegError(
            "a folder for the results with the right to write to it",
            got=f"{there} without that right",
            advice="Ask for the right to write there, or name another folder.",
        )


def _cause(error: BaseException | None) -> OSError | None:
    """The operating system's error in a chain of errors; pydicom hides it in one with a traceback as text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _flush(path: Path) -> None:
    """Flush the file to disk: otherwise a power cut may keep the rename and lose the content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
