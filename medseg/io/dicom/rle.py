"""Decode RLE frames (PS3.5 annex G) whose segments are padded with other bytes than zeros.

A decoder takes such padding for data. Each row is encoded by itself, so that the end of the last row can be
found.
"""

from __future__ import annotations

import numpy as np

_MOST_SEGMENTS = 15
_NO_OPERATION = 128  # a control byte without data


def decode_padded(encoded: bytes, rows: int, columns: int, width: int) -> np.ndarray:
    """Decode a frame with one sample per pixel.

    Args:
        encoded: the frame.
        rows, columns: its size in pixels.
        width: bytes per pixel.

    Returns:
        (row, column) unsigned integers of `width` bytes.

    Raises:
        ValueError: the frame is damaged: a segment is too short, or a run crosses the end of a row.
    """
    import imagecodecs

    count, *starts = np.frombuffer(encoded[:64], dtype="<u4").tolist()
    if count != width or count > _MOST_SEGMENTS:
        raise ValueError("another number of segments")
    ends = [*starts[1:count], len(encoded)]
    planes = []
    for start, end in zip(starts[:count], ends, strict=True):
        segment = encoded[start:end]
        plane = imagecodecs.packbits_decode(segment[: _length(segment, rows, columns)])
        planes.append(np.frombuffer(plane, dtype=np.uint8))
    # The first segment has the most significant bytes.
    return np.stack(planes[::-1], axis=-1).reshape(-1).view(f"<u{width}").reshape(rows, columns)


def _length(segment: bytes, rows: int, columns: int) -> int:
    """The number of bytes of a segment that encode its rows."""
    position = 0
    for _ in range(rows):
        left = columns
        while left > 0:
            if position >= len(segment):
                raise ValueError("a segment that ends early")
            control = segment[position]
            if control == _NO_OPERATION:
                position += 1
                continue
            run = control + 1 if control < _NO_OPERATION else 257 - control
            position += 1 + (run if control < _NO_OPERATION else 1)
            left -= run
        if left or position > len(segment):
            raise ValueError("a row that does not end where it should")
    return position
