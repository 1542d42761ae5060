"""The parts of a multipart/related message (RFC 2387): several DICOM files in one HTTP body."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io.dicom.archive import MOST_FILES, Entry, require_few

MOST_HEADER_BYTES = 16 * 2**10
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HEADER_LINE = re.compile(rb"HTTP/\d[^\r\n]*\r\n|[A-Za-z][A-Za-z0-9-]*:[ \t][^\r\n]*\r\n")
_CONTENT_TYPE = re.compile(
    rb"^content-type:[ \t]*(multipart/related[^\r\n]*)\r\n", re.IGNORECASE | re.MULTILINE
)
# A boundary, and headers of which one says that DICOM follows.
_OPENING = re.compile(
    rb"(?:\r\n)?--(" + _BOUNDARY.pattern + rb") *\r\n"
    rb"(?:[A-Za-z-]+:[^\r\n]*\r\n)*?content-type:[ \t]*application/dicom[^\r\n]*\r\n",
    re.IGNORECASE,
)


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type of multipart/related declares.

    Raises:
        UnreadableError: it is another type, or declares none.
    """
    from email.message import Message

    message = Message()
    message["Content-Type"] = content_type
    boundary = (message.get_boundary() or "").encode("latin-1", "replace")
    if message.get_content_type() != "multipart/related" or not _BOUNDARY.fullmatch(boundary):
        kind = message.get_content_type()
        raise UnreadableError(
            "a multipart/related message with a boundary",
            got=f"{kind}{'' if kind != 'multipart/related' else ' without one'}",
            advice="Check that the address is that of the DICOMweb service.",
        )
    return boundary


def parts_of(chunks: Iterable[bytes], boundary: bytes, most_bytes: int) -> Iterator[bytes]:
    """The contents of the parts, without their headers, one after the other.

    Args:
        chunks: the body, in pieces of any size.
        boundary: as declared, without the hyphens.
        most_bytes: of one part.

    Raises:
        UnreadableError: the message ends before its last boundary, or a part is larger or has no header.
    """
    return (content for _, content in located_parts(chunks, boundary, most_bytes))


def located_parts(chunks: Iterable[bytes], boundary: bytes, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """parts_of with the place of each content in the body, in bytes."""
    delimiter = b"\r\n--" + boundary
    source, buffer = iter(chunks), bytearray(b"\r\n")  # the first boundary may begin the body
    place, is_preamble = -len(buffer), True  # of the buffer in the body
    while True:
        end = _find(buffer, delimiter, source, most_bytes + MOST_HEADER_BYTES)
        if not is_preamble:
            content = _content(bytes(memoryview(buffer)[:end]))
            yield place + end - len(content), content
        is_preamble = False
        place += end + len(delimiter)
        del buffer[: end + len(delimiter)]
        line = _find(buffer, b"\r\n", source, MOST_HEADER_BYTES, or_start=b"--")
        if buffer[:2] == b"--":
            return
        if buffer[:line].strip():
            raise _broken("one with a damaged boundary")
        place += line
        del buffer[:line]  # the line break stays: a part without headers begins with it


def saved_body(path: str | Path) -> tuple[int, bytes] | None:
    """Where the body begins in a file that holds a multipart/related message of DICOM, and its boundary.

    Such a file is what `curl` saves of a DICOMweb service; the headers of HTTP may stand before the body, as
    with `curl -i`. None for any other file, and for one that can't be read.
    """
    if not os.path.isfile(path):  # reading a pipe might never end
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(MOST_HEADER_BYTES)
    except OSError:
        return None
    start, declared = 0, None
    while _HEADER_LINE.match(head, start):
        end = head.find(b"\r\n\r\n", start)
        if end < 0:
            return None
        declared = _CONTENT_TYPE.search(head, start, end + 2) or declared
        start = end + 4
    opening = _OPENING.match(head, start)
    if declared is not None:
        try:
            return start, boundary_of(declared[1].decode("latin-1"))
        except UnreadableError:
            return None
    return (start, opening[1]) if opening else None


def parts_in(path: Path, start: int, boundary: bytes, most_bytes: int) -> list[Entry]:
    """The parts of a saved message as files; each is read again when it is needed.

    Args:
        path: the file.
        start, boundary: as saved_body gives them.
        most_bytes: of one part.

    Raises:
        UnreadableError: as parts_of, or there are too many.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        file.seek(start)
        chunks = iter(partial(file.read, 2**20), b"")
        found = itertools.islice(located_parts(chunks, boundary, most_bytes), MOST_FILES + 1)
        places = [(start + place, len(content)) for place, content in found]
    require_few(len(places), path.name)
    return [
        Entry(f"part {number}", partial(_read_part, path, place, length))
        for number, (place, length) in enumerate(places, start=1)
    ]


def _read_part(path: Path, place: int, length: int, most: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(min(length, most))


def _find(
    buffer: bytearray, wanted: bytes, source: Iterator[bytes], most: int, or_start: bytes | None = None
) -> int:
    """The place of `wanted`, reading on until it comes; 0 when the buffer begins with `or_start`."""
    searched = 0
    while True:
        if or_start is not None and buffer.startswith(or_start):
            return 0
        place = buffer.find(wanted, searched)
        if place >= 0:
            return place
        if len(buffer) > most:
            raise _broken(f"one with a part of more than {most} bytes")
        searched = max(0, len(buffer) - len(wanted) + 1)
        chunk = next(source, None)
        if chunk is None:
            raise _broken("one that ends too early")
        buffer += chunk


def _content(part: bytes) -> bytes:
    """A part without its headers; it begins with the line break of its boundary."""
    end = part.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES)
    if end < 0:
        raise _broken("one with a part without headers")
    return part[end + 4 :]


def _broken(got: str) -> UnreadableError:
    return UnreadableError(
        "a whole multipart/related message", got=got, advice="Get it again from its source."
    )
