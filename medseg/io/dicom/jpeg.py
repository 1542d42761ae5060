"""Headers of JPEG, JPEG-LS and JPEG 2000 frames.

Decoders trust them, and take gigabytes or worse when they lie. So they are checked first, against what DICOM
says of the image. Damage behind the header makes other values; no checksum would tell.
"""

from __future__ import annotations

from medseg.io.dicom.slices import Slice

# Start-of-frame markers (ISO/IEC 10918-1 table B.1): baseline, extended, lossless; JPEG-LS.
_FRAMES = {0xC0, 0xC1, 0xC3, 0xF7}
_SCAN = 0xDA
# Huffman and quantization tables, restart interval, JPEG-LS parameters, comment, application segments.
_TABLES = {0xC4, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}
_CODESTREAM = b"\xff\x4f\xff\x51"  # start and image size of JPEG 2000 (ISO/IEC 15444-1 A.5.1)


def require_header(found: Slice, encoded: bytes) -> int:
    """Check that a frame declares the size that DICOM declares, one sample a pixel and bits that fit.

    Returns:
        Bits a sample; 0 for JPEG 2000, whose decoder tells them.

    Raises:
        ValueError: it does not.
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


def _start_of_frame(encoded: bytes) -> tuple[int, int, int, int]:
    """Precision in bits, rows, columns and samples a pixel, of a header whose markers are all known."""
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
    """Rows, columns and samples a pixel."""
    x_end, y_end, x_start, y_start = (int.from_bytes(encoded[at : at + 4]) for at in (8, 12, 16, 20))
    return y_end - y_start, x_end - x_start, int.from_bytes(encoded[40:42])
