"""The parts of a multipart/related message (RFC 2387): several DICOM files in one HTTP body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from medseg.errors import UnreadableError

MOST_HEADER_BYTES = 16 * 2**10
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


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
    delimiter = b"\r\n--" + boundary
    source, buffer = iter(chunks), bytearray(b"\r\n")  # the first boundary may begin the body
    is_preamble = True
    while True:
        end = _find(buffer, delimiter, source, most_bytes + MOST_HEADER_BYTES)
        if not is_preamble:
            yield _content(bytes(memoryview(buffer)[:end]))
        is_preamble = False
        del buffer[: end + len(delimiter)]
        line = _find(buffer, b"\r\n", source, MOST_HEADER_BYTES, or_start=b"--")
        if buffer[:2] == b"--":
            return
        if buffer[:line].strip():
            raise _broken("one with a damaged boundary")
        del buffer[:line]  # the line break stays: a part without headers begins with it


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
