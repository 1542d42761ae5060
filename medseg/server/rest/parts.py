"""The parts of an upload's body: files on disk, and fields of a form.

Nothing that a sender calls a file is used: on disk it is a number, and its first bytes choose the suffix, by
which the reader goes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from medseg.errors import UnreadableError
from medseg.server.rest.kinds import HEAD_BYTES, suffix_of
from medseg.server.rest.refusal import Refusal

MOST_FIELDS, MOST_FIELD_BYTES = 32, 1000


class Sink:
    """The files of an upload, one after the other, and its fields."""

    def __init__(self, folder: Path, most: int) -> None:
        self.files: dict[str, str] = {}
        self.fields: dict[str, list[str]] = {}
        self._folder, self._most = folder, most
        self._file: BinaryIO | None = None

    def begin(self) -> None:
        if len(self.files) == self._most:
            raise Refusal(
                f"at most {self._most} files",
                got="more",
                advice="Send one study, or a zip archive of it.",
                status=413,
                reason="files",
            )
        self._number = f"{len(self.files) + 1:05d}"
        self._head, self._hash, self._suffix = b"", hashlib.sha256(), ""
        self._file = (self._folder / self._number).open("xb")

    def write(self, data: bytes) -> None:
        _opened(self._file).write(data)
        self._hash.update(data)
        if not self._suffix:
            self._head += data[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._suffix = suffix_of(self._head)

    def end(self) -> None:
        _opened(self._file).close()
        self._file = None
        if not self._head:
            raise UnreadableError(
                "an image file", got="an empty one (0 bytes)", advice="Copy it again from its source."
            )
        name = f"{self._number}{self._suffix or suffix_of(self._head)}"
        (self._folder / self._number).rename(self._folder / name)
        self.files[name] = self._hash.hexdigest()

    def add_field(self, name: str, value: bytes) -> None:
        self.fields.setdefault(name, []).append(value.decode("utf-8", "replace"))

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()


def _opened(file: BinaryIO | None) -> BinaryIO:
    if file is None:
        raise broken("bytes outside of a file")
    return file


def broken(got: str) -> Refusal:
    return Refusal(
        "a body with whole parts between its boundaries",
        got=got,
        advice="Send it by a library, such as curl -F.",
        status=400,
        reason="broken",
    )


@dataclass
class _Part:
    headers: dict[str, bytes] = field(default_factory=dict)
    field_name: str | None = None  # None: a file
    value: bytearray = field(default_factory=bytearray)


class Parts:
    """The parts of a multipart body, as python_multipart finds them, to a sink."""

    def __init__(self, sink: Sink, boundary: bytes, is_form: bool) -> None:
        from python_multipart import MultipartParser
        from python_multipart.exceptions import FormParserError

        self._sink, self._is_form, self._is_whole = sink, is_form, False
        self._error = FormParserError
        if not boundary:
            raise broken("no boundary in Content-Type")
        names = (
            *("part_begin", "part_data", "part_end", "header_begin", "header_field", "header_value"),
            *("header_end", "headers_finished", "end"),
        )
        calls: Any = {f"on_{name}": getattr(self, f"_{name}") for name in names}
        try:
            self._parser = MultipartParser(boundary, calls, max_header_count=8, max_header_size=4096)
        except FormParserError as error:
            raise broken("a boundary that is too long") from error

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except self._error as error:
            raise broken("other bytes") from error

    def finish(self) -> None:
        if not self._is_whole:
            raise broken("a body that stops before its last boundary")

    def _part_begin(self) -> None:
        self._part = _Part()

    def _header_begin(self) -> None:
        self._name, self._value = b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._name.decode("latin-1").lower()] = self._value

    def _headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        if self._is_form:
            _, options = parse_options_header(self._part.headers.get("content-disposition", b""))
            if b"filename" not in options and b"filename*" not in options:
                self._part.field_name = options.get(b"name", b"").decode("utf-8", "replace")
                return
        self._sink.begin()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.field_name is None:
            return self._sink.write(data[start:end])
        self._part.value += data[start:end]
        if len(self._part.value) > MOST_FIELD_BYTES or len(self._sink.fields) >= MOST_FIELDS:
            raise Refusal(
                f"at most {MOST_FIELDS} fields of {MOST_FIELD_BYTES} bytes",
                got="more",
                advice="Send files as files, with a file name.",
                status=413,
                reason="fields",
            )
        return None

    def _part_end(self) -> None:
        if self._part.field_name is None:
            self._sink.end()
        else:
            self._sink.add_field(self._part.field_name, bytes(self._part.value))

    def _end(self) -> None:
        self._is_whole = True
