"""Check the header and the end of JPEG, JPEG-LS and JPEG 2000 frames before they are decoded.

Decoders trust a frame's header: a wrong size can make them allocate gigabytes or crash. So the header is
compared with the DICOM header first. Decoders also fill up truncated frames silently, so that a frame must
have its end marker. Bytes after that marker are padding. Damage between header and end changes values
undetected, because these formats have no checksum.
"""

from __future__ import annotations

import re

from medseg.io.dicom.slices import Slice

# Start-of-frame markers (ISO/IEC 10918-1 table B.1): baseline, extended, lossless; JPEG-LS.
_FRAMES = {0xC0, 0xC1, 0xC3, 0xF7}
_SCAN = 0xDA
# Huffman and quantization tables, restart interval, JPEG-LS parameters, comment, application segments.
_TABLES = {0xC4, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}
# In coded data a byte below 0x80 follows 0xFF; restart markers (0xD0 to 0xD7) are part of the coded data.
_MARKER = re.compile(rb"\xff([\x80-\xcf\xd8-\xfe])")
_END = 0xD9  # of JPEG, JPEG-LS and JPEG 2000 alike
_TILE_PART, _TILE_DATA = 0x90, b"\xff\x93"
_BOXES = b"\0\0\0\x0cjP  "  # a JP2 file, which DICOM does not allow and some programs write
STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", _BOXES)
_CODESTREAM = b"\xff\x4f\xff\x51"  # start and image size of JPEG 2000 (ISO/IEC 15444-1 A.5.1)


def require_header(found: Slice, encoded: bytes) -> int:
    """Check that a frame declares the size of the DICOM header, one sample per pixel, and bits that fit.

    Returns:
        Bits per sample; 0 for JPEG 2000, for which they are not read.

    Raises:
        ValueError: the frame declares something else.
    """
    rows, columns = int(found.values["Rows"]), int(found.values["Columns"])
    if encoded.startswith(_CODESTREAM):
        precision, declared = 0, _codestream_size(encoded)
    else:
        precision, *sizes = _start_of_frame(encoded)
        declared = (sizes[0], sizes[1], sizes[2])
        if not 2 <= precision <= min(int(found.values["BitsAllocated"]), 16):
            raise ValueError("another number of bits than the header declares")
    if declared != (rows, columns, 1):
        raise ValueError("another size than the header declares")
    return precision


def without_padding(encoded: bytes) -> bytes:
    """The bytes of a frame up to and including its end marker.

    Raises:
        ValueError: the frame has no end marker.
    """
    if encoded.startswith(_BOXES):
        encoded = _codestream_in(encoded)
    if encoded.startswith(_CODESTREAM):
        return encoded[: _end_of_codestream(encoded)]
    position = 2
    while encoded[position : position + 2] != bytes([0xFF, _SCAN]):
        _, position = _segment(encoded, position)
    while found := _MARKER.search(encoded, position):
        if found[1][0] == _END:
            return encoded[: found.end()]
        _, position = _segment(encoded, found.start())
    raise ValueError("no end of image")


def _segment(encoded: bytes, position: int) -> tuple[int, int]:
    """The marker at a position, and the end of the segment that it begins."""
    while encoded[position : position + 2] == b"\xff\xff":  # fill bytes
        position += 1
    end = position + 2 + int.from_bytes(encoded[position + 2 : position + 4])
    if encoded[position] != 0xFF or end < position + 4 or end > len(encoded):
        raise ValueError("no marker where one should be")
    return encoded[position + 1], end


def _codestream_in(boxes: bytes) -> bytes:
    """The JPEG 2000 codestream in a JP2 file (ISO/IEC 15444-1 I.4)."""
    position = 0
    while position + 8 <= len(boxes):
        length, kind, head = (
            int.from_bytes(boxes[position : position + 4]),
            boxes[position + 4 : position + 8],
            8,
        )
        if length == 1:
            length, head = int.from_bytes(boxes[position + 8 : position + 16]), 16
        if kind == b"jp2c":
            return boxes[position + head :]
        if length < head:
            break
        position += length
    raise ValueError("no codestream")


def _end_of_codestream(encoded: bytes) -> int:
    position = 2
    while encoded[position : position + 2] != bytes([0xFF, _END]):
        marker, end = _segment(encoded, position)
        if marker == _TILE_PART:
            length = int.from_bytes(encoded[position + 6 : position + 10])
            # 0 means up to the end of the codestream.
            data = encoded.index(_TILE_DATA, end)
            end = position + length if length else encoded.index(bytes([0xFF, _END]), data)
            if end < data:
                raise ValueError("a tile that ends before its data")
        position = end
    return position + 2


def _start_of_frame(encoded: bytes) -> tuple[int, int, int, int]:
    """Precision in bits, rows, columns and samples per pixel, from a header with known markers only."""
    position, frame = 2, b""
    while position + 4 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        content = encoded[position + 4 : position + 2 + int.from_bytes(encoded[position + 2 : position + 4])]
        if marker == _SCAN and len(frame) >= 6:
            return frame[0], int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5]), frame[5]
        if marker in _FRAMES and not frame:
            frame = content
        elif marker not in _TABLES:
            break
        position += 4 + len(content)
    raise ValueError("no header of a JPEG image")


def _codestream_size(encoded: bytes) -> tuple[int, int, int]:
    """Rows, columns and samples per pixel."""
    x_end, y_end, x_start, y_start = (int.from_bytes(encoded[at : at + 4]) for at in (8, 12, 16, 20))
    return y_end - y_start, x_end - x_start, int.from_bytes(encoded[40:42])
