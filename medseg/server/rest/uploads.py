"""The body of an upload, streamed to disk within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.server.queue import sync_folder
from medseg.server.rest.parts import Parts, Sink
from medseg.server.rest.refusal import Refusal

IDLE_S = 30.0  # a sender may be silent for so long
_TOGETHER = 1 << 18  # bytes that are parsed and written by one call in a thread
_RAW = ("application/dicom", "application/zip", "application/octet-stream", "application/x-zip-compressed")


@dataclass(frozen=True)
class UploadLimits:
    """What one upload may have: bytes of its body, files, seconds in all, and seconds of silence."""

    body_bytes: int
    files: int
    upload_s: float
    idle_s: float = IDLE_S


@dataclass(frozen=True)
class Upload:
    """What came: the files' SHA-256 by their name on disk, the fields of the form, and the bytes."""

    files: dict[str, str]
    fields: dict[str, list[str]]
    size: int


async def receive(
    body: AsyncIterator[bytes], content_type: str, folder: Path, limits: UploadLimits
) -> Upload:
    """Write the files of a body into a folder, whose files and names are on disk afterwards.

    Args:
        body: its bytes as they come.
        content_type: multipart/form-data, multipart/related, or the type of one file.
        folder: an empty folder; after an error the caller removes it.
        limits: beyond which the upload is refused.

    Raises:
        Refusal: it is too large, too slow, broken, or of a type that is not read.
        UnreadableError: a file in it is no image.
        OSError: the disk is full or broken.
    """
    sink = Sink(folder, limits.files)
    try:
        write, finish = _writer(content_type, sink)
        size = await _pump(body, write, limits)
        await asyncio.to_thread(finish)
        await asyncio.to_thread(_sync, folder)
    finally:
        sink.abandon()
    return Upload(sink.files, sink.fields, size)


async def _pump(body: AsyncIterator[bytes], write: Any, limits: UploadLimits) -> int:
    """Hand the body on in large parts; the number of its bytes."""
    size, waiting = 0, bytearray()
    chunks = aiter(body)
    try:
        async with asyncio.timeout(limits.upload_s):
            while (chunk := await asyncio.wait_for(anext(chunks, None), limits.idle_s)) is not None:
                size += len(chunk)
                if size > limits.body_bytes:
                    raise too_large(limits)
                waiting += chunk
                if len(waiting) >= _TOGETHER:
                    await asyncio.to_thread(write, bytes(waiting))
                    waiting.clear()
    except TimeoutError as error:
        raise Refusal(
            f"a body within {limits.upload_s:g} s, without pauses of {limits.idle_s:g} s",
            got=f"{size} bytes in that time",
            advice="Send it again, over a faster connection.",
            status=408,
            reason="slow",
        ) from error
    await asyncio.to_thread(write, bytes(waiting))
    return size


def too_large(limits: UploadLimits) -> Refusal:
    return Refusal(
        f"a body of at most {limits.body_bytes} bytes",
        got="a larger one",
        advice="Send one study, or raise rest.limits.body_mb.",
        status=413,
        reason="size",
    )


def _writer(content_type: str, sink: Sink) -> tuple[Any, Any]:
    """A function that takes bytes of the body, and one to be called after the last of them."""
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    name = kind.decode("latin-1").lower()
    if name in ("multipart/form-data", "multipart/related"):
        parts = Parts(sink, options.get(b"boundary", b""), is_form=name.endswith("form-data"))
        return parts.write, parts.finish
    if name in _RAW or name.startswith("image/"):
        sink.begin()
        return sink.write, sink.end
    raise Refusal(
        f"a body of multipart/form-data, multipart/related, {', '.join(_RAW)} or image/*",
        got="another Content-Type" if name else "no Content-Type",
        advice="Set the header Content-Type.",
        status=415,
        reason="type",
    )


def _sync(folder: Path) -> None:
    """Flush all files and their names to disk."""
    for file in folder.iterdir():
        sync_folder(file)  # any descriptor will do
    sync_folder(folder)
