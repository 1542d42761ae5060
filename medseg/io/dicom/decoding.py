"""Decode one frame to numbers, in the transfer syntaxes that are common for CT and MR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.dicom.files import UNDEFINED_LENGTH, DicomFile
from medseg.io.dicom.jpeg import STARTS, require_header, without_padding
from medseg.io.dicom.rle import decode_padded
from medseg.io.dicom.slices import Slice, unsuitable

_RLE = "1.2.840.10008.1.2.5"
# The decoders of imagecodecs. They release the GIL, so that threads decode in parallel; for their speeds see
# tests/benchmarks/dicom_decoding.py.
_DECODERS = {
    f"1.2.840.10008.1.2.4.{end}": name
    for name, ends in {
        "jpeg8": ("50", "51", "57", "70"),  # baseline, extended, lossless
        "jpegls": ("80", "81"),
        # Also for High-Throughput JPEG 2000, whose own decoder prints errors and returns a part of the image.
        "jpeg2k": ("90", "91", "201", "202", "203"),
    }.items()
    for end in ends
}
_BITS = {8, 16, 32}


def require_pixels(slices: list[Slice]) -> None:
    """Check the pixel format and the length of the pixel data in the headers, before memory is allocated.

    Raises:
        UnreadableError: the pixel data is missing or shorter than rows and columns need.
        UnsuitableError: the number format is not that of a grey image.
    """
    for found in slices:
        values, file = found.values, found.file
        allocated, stored, high, sign = (
            _integer(values.get(keyword))
            for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
        )
        if allocated not in _BITS or not 0 < stored <= allocated or not stored - 1 <= high < allocated:
            raise unsuitable(
                "8, 16 or 32 bits allocated per pixel (0028,0100) that contain the stored bits (0028,0101) "
                "up to the high bit (0028,0102)",
                f"{allocated} bits allocated, {stored} stored and the high bit {high} in {found.name}",
            )
        if sign not in (0, 1):
            raise unsuitable("a PixelRepresentation (0028,0103) of 0 or 1", f"{sign} in {found.name}")
        if file.pixel_tag is None:
            raise _truncated(file, "ends before its pixel data (7FE0,0010)")
        if file.pixel_tag != 0x7FE00010:
            raise unsuitable("integer pixels (7FE0,0010)", f"floating-point pixels in {found.name}")
    files: dict[DicomFile, list[Slice]] = {}
    for found in slices:
        files.setdefault(found.file, []).append(found)
    for file, frames in files.items():
        _require_length(file, frames)


def frames_of(found: Slice) -> list[bytes | memoryview]:
    """The encoded frames of the file to which a slice belongs.

    Raises:
        UnreadableError: the pixel data ends too early or is damaged.
    """
    file = found.file
    count = 1 if found.frame is None else int(file.header.NumberOfFrames)
    pixels = memoryview(file.load())[file.pixel_start :]
    try:
        if _is_compressed(file):
            return [*_unwrap(bytes(pixels), count)]
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        raise _truncated(file, "holds damaged or truncated pixel data (7FE0,0010)") from error
    length = _frame_bytes(found)
    if len(pixels) < count * length:
        raise _truncated(file, "ends within its pixel data (7FE0,0010)")
    return [pixels[start : start + length] for start in range(0, count * length, length)]


def decode(found: Slice, encoded: bytes | memoryview) -> np.ndarray:
    """Decode a frame.

    Returns:
        (row, column) unsigned or signed integers as wide as BitsAllocated, in this machine's byte order.

    Raises:
        UnreadableError: the frame is truncated or damaged, or no decoder reads its transfer syntax.
    """
    rows, columns, width = _shape(found)
    if not _is_compressed(found.file):
        order = "<" if found.file.header.original_encoding[1] else ">"
        kind = np.dtype(f"{order}u{width}")
        return (
            np.frombuffer(encoded, dtype=kind)
            .reshape(rows, columns)
            .astype(kind.newbyteorder("="), copy=False)
        )
    try:
        return _decompress(found, bytes(encoded))
    except Exception as error:  # each decoder raises its own
        syntax = found.file.header.file_meta.TransferSyntaxUID
        raise UnreadableError(
            "pixel data that can be decoded to its end",
            got=f"{found.name}, damaged, truncated or in a syntax that can't be decoded ({syntax.name})",
            advice="Copy it again from its source, or export the series uncompressed.",
        ) from error


def _decompress(found: Slice, encoded: bytes) -> np.ndarray:
    import imagecodecs

    syntax = str(found.file.header.file_meta.TransferSyntaxUID)
    rows, columns, width = _shape(found)
    if syntax == _RLE:
        try:
            values = np.frombuffer(imagecodecs.dicomrle_decode(encoded, f"<u{width}"), dtype=f"<u{width}")
            return values.reshape(rows, columns)
        except Exception:  # imagecodecs takes padding for data
            return decode_padded(encoded, rows, columns, width)
    encoded = without_padding(encoded)
    require_header(found, encoded)
    array: np.ndarray = getattr(imagecodecs, f"{_DECODERS[syntax]}_decode")(encoded)
    if array.shape != (rows, columns):
        raise ValueError("another size")
    return array.astype(f"{array.dtype.kind}{width}", copy=False)


def _unwrap(encoded: bytes, count: int) -> list[bytes]:
    """The frames of encapsulated pixel data (PS3.5 A.4)."""
    from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets
    from pydicom.filebase import DicomBytesIO

    stream = DicomBytesIO(encoded)
    stream.is_little_endian = True
    parse_basic_offsets(stream)
    # The start marker of a frame is reliable; offset tables and the ends of padded fragments are not.
    frames: list[bytes] = []
    for fragment in generate_fragments(stream):
        if fragment.startswith(STARTS) or not frames:
            frames.append(fragment)
        else:
            frames[-1] += fragment
    if len(frames) != count:
        frames = list(generate_frames(encoded, number_of_frames=count))
    if len(frames) != count:
        raise ValueError("another number of frames")
    return frames


def _is_compressed(file: DicomFile) -> bool:
    return file.pixel_bytes == UNDEFINED_LENGTH


def _shape(found: Slice) -> tuple[int, int, int]:
    """Rows, columns and bytes per pixel."""
    values = found.values
    return int(values["Rows"]), int(values["Columns"]), int(values["BitsAllocated"]) // 8


def _frame_bytes(found: Slice) -> int:
    return math.prod(_shape(found))


def _require_length(file: DicomFile, slices: list[Slice]) -> None:
    """Check the declared length of native pixel data, and that compressed data has a compressed syntax."""
    syntax = file.header.file_meta.get("TransferSyntaxUID")
    known = syntax is not None and syntax.is_transfer_syntax
    if _is_compressed(file) or (known and syntax.is_encapsulated):
        if not (known and syntax.is_encapsulated and _is_compressed(file)):
            raise _truncated(file, "holds pixel data that contradicts its transfer syntax (0002,0010)")
        return
    needed = sum(map(_frame_bytes, slices))
    # Writers pad an odd length, and some pad to whole blocks. An excess of a row or more must be all zeros.
    row = int(slices[0].values["Columns"]) * int(slices[0].values["BitsAllocated"]) // 8
    start = file.pixel_start + needed
    if not needed <= file.pixel_bytes < needed + max(row, 2) and (
        file.pixel_bytes < needed or any(file.load()[start : file.pixel_start + file.pixel_bytes])
    ):
        raise _truncated(file, f"declares {file.pixel_bytes} bytes of pixels where {needed} are needed")


def _truncated(file: DicomFile, how: str) -> UnreadableError:
    return UnreadableError(
        "complete pixel data", got=f"file {file.name}, which {how}", advice="Copy it again from its source."
    )


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1
