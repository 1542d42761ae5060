"""Write a file in full or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until the disk holds the file: a rename may otherwise outlive a power cut, its content not."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
