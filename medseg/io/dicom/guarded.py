"""Streams for pydicom that end where a file holds zeros, which read as millions of elements."""

from __future__ import annotations

from io import BufferedReader, BytesIO, FileIO
from pathlib import Path

from medseg.errors import UnreadableError

# Elements of group 0000 in a row. Files have none: they belong to messages. Zeros read as such elements.
_MOST_OF_GROUP_0 = 1000
_ELEMENT = 8  # bytes of the header of an element


def guarded(source: bytes | Path) -> BufferedReader | BytesIO:
    """The content, or the file, as a stream whose reads end by an UnreadableError after zeros without end.

    Raises:
        OSError: the file can't be read.
    """
    return _Content(source) if isinstance(source, bytes) else _File(FileIO(source))


class _Guard:
    _in_a_row = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content: bytes = super().read(size)  # type: ignore[misc]
        if size == _ELEMENT:
            self._in_a_row = self._in_a_row + 1 if content.startswith(b"\0\0") else 0
            if self._in_a_row > _MOST_OF_GROUP_0:
                raise UnreadableError(
                    "a DICOM file with elements to its end",
                    got="zeros in their place",
                    advice="Copy it again from its source.",
                )
        return content


class _Content(_Guard, BytesIO):
    pass


class _File(_Guard, BufferedReader):
    pass
