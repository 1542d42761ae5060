"""RLE frames (PS3.5 annex G) whose segments have other padding than zeros.

Such padding reads like more data. Rows are encoded each for itself, so that where they end is known.
"""

from __future__ import annotations

import numpy as np

_MOST_SEGMENTS = 15
_NOTHING = 128  # a byte that stands for no data


def decode_padded(encoded: bytes, rows: int, columns: int, width: int) -> np.ndarray:
    """(row, column) unsigned integers of `width` bytes, of one sample a pixel.

    Raises:
        ValueError: a segment ends early, or a row does not end where it should: then it is damaged.
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
    """How many bytes of a segment encode its rows."""
    position = 0
    for _ in range(rows):
        left = columns
        while left > 0:
            if position >= len(segment):
                raise ValueError("no end of segment")
            control = segment[position]
            if control == _NOTHING:
                position += 1
                continue
            run = control + 1 if control < _NOTHING else 257 - control
            position += 1 + (run if control < _NOTHING else 1)
            left -= run
        if left or position > len(segment):
            raise ValueError("a row that does not end where it should")
    return position
