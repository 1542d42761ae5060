"""What a browser needs of an image and its mask: the voxels as bytes, and the header of the mask's file."""

from __future__ import annotations

import base64
import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError
from medseg.io.raster import encode_jpeg
from medseg.reports.picture_overlay import to_display
from medseg.volume import Mask, Volume

_EXTENDED = 348  # where NIfTI-1 tells whether extensions follow
_HEADER_BYTES, _UINT8 = 352, 2  # of NIfTI-1 with the empty list of extensions; its code for 8 bits
_NEAR_MM = 0.01  # a header of 32-bit floats is that exact
_MOST_LABELS = 254  # the viewer's drawing has 8 bits a voxel


@dataclass(frozen=True)
class Grid:
    """One case as the page's script reads it.

    Attributes:
        facts: the small part, for JSON: `kind` ("volume" or "picture"), the size, the mask (zlib, base64) and
            `fixed`, the reason why it can't be edited (empty if it can).
        image: a volume's voxels (zlib; i runs fastest) or a picture (JPEG).
        found: the labels in the mask, without the background.
    """

    facts: dict[str, Any]
    image: bytes
    found: list[int]


def grid_of(volume: Volume, mask: Mask, path: Path) -> Grid:
    """What the page needs of an image and its mask.

    Args:
        volume: the image.
        mask: as it was read.
        path: the mask's file.

    Raises:
        UnsuitableError: they lie on different grids, or a volume has several channels.
    """
    _require_one_grid(volume, mask)
    found = _values_in(mask.array)
    if volume.affine is None:
        return Grid(_picture(mask), encode_jpeg(to_display(volume.array), max(mask.array.shape)), found)
    facts, image = _volume(volume.array, mask, path)
    return Grid(facts, image, found)


def _values_in(labels: np.ndarray) -> list[int]:
    """The labels that occur, without the background."""
    # In the order of the memory: a volume in Fortran order would be copied in another.
    return [int(value) for value in np.unique(labels.ravel("K")) if value]


def lies_on(mask: Mask, volume: Volume) -> bool:
    """Whether a mask lies on an image's grid."""
    same = volume.array.shape[1:] == mask.array.shape and (volume.affine is None) == (mask.affine is None)
    if same and volume.affine is not None:
        same = np.allclose(volume.affine, np.asarray(mask.affine), atol=_NEAR_MM)
    return bool(same)


def _require_one_grid(volume: Volume, mask: Mask) -> None:
    if not lies_on(mask, volume):
        raise UnsuitableError(
            f"an image on the mask's grid of {mask.array.shape}",
            got=f"one of {volume.array.shape[1:]}"
            + (" at another place" if volume.array.shape[1:] == mask.array.shape else ""),
            advice="Name the image that was segmented by --images.",
        )


def _picture(mask: Mask) -> dict[str, Any]:
    rows, columns = mask.array.shape
    fixed = "" if mask.array.max(initial=0) < 256 else "The mask has more than 255 labels."
    return {
        "kind": "picture",
        "dims": [columns, rows, 1],
        "mask": _text(zlib.compress(_bytes_of_8(mask.array, "C"), 6)),
        "fixed": fixed,
    }


def _volume(image: np.ndarray, mask: Mask, path: Path) -> tuple[dict[str, Any], bytes]:
    if len(image) != 1:
        raise UnsuitableError(
            "a volume with one channel",
            got=f"one with {len(image)}",
            advice="Open its overlay or its report instead.",
        )
    header = _header(path)
    values = _for_viewer(image[0])
    facts = {
        "kind": "volume",
        "dims": list(mask.array.shape),
        "header": _text(header),
        "type": values.dtype.name,
        "range": [float(limit) for limit in np.percentile(values[::2, ::2, ::2], (1, 99))],
        "mask": _text(zlib.compress(_bytes_of_8(mask.array, "F"), 6)),
        "fixed": _fixed(header, mask),
    }
    return facts, zlib.compress(values.tobytes("F"), 1)


def _for_viewer(values: np.ndarray) -> np.ndarray:
    """The values as int16 where that is exact, else as float32 with 0 for what is not finite."""
    if values.dtype.kind in "biu" and values.min() >= -(2**15) and values.max() < 2**15:
        return values.astype("<i2")
    return np.nan_to_num(values.astype("<f4"), posinf=0.0, neginf=0.0)


def _header(path: Path) -> bytes:
    """The header without extensions, such as the stamp of the mask: an edited mask is another."""
    with path.open("rb") as file, gzip.open(file) as stream:
        header = bytearray(stream.read(_HEADER_BYTES))
    if len(header) == _HEADER_BYTES and header[_EXTENDED:] == b"\1\0\0\0":
        struct.pack_into("<f", header, 108, _HEADER_BYTES)  # where the voxels begin
        header[_EXTENDED:] = bytes(4)
    return bytes(header)


def _fixed(header: bytes, mask: Mask) -> str:
    """Why the mask can't be edited: the page writes the file's own header again, with other voxels."""
    if mask.array.max(initial=0) > _MOST_LABELS:
        return f"The mask has more than {_MOST_LABELS} labels."
    size, offset = struct.unpack_from("<i", header)[0], struct.unpack_from("<f", header, 108)[0]
    slope, inter = struct.unpack_from("<ff", header, 112)
    plain = size == _EXTENDED and offset == _HEADER_BYTES and header[_EXTENDED:] == bytes(4)
    is_scaled = slope == slope and (slope, inter) not in ((0.0, 0.0), (1.0, 0.0))
    if not plain or is_scaled or struct.unpack_from("<h", header, 70)[0] != _UINT8:
        return "The mask's file is not as medseg writes it. Segment the image again."
    return ""


def _bytes_of_8(labels: np.ndarray, order: Any) -> bytes:
    """Labels of 8 bits; higher numbers, of objects, repeat from 1."""
    if labels.max(initial=0) > 255:
        labels = np.where(labels > 0, (labels.astype(np.int64) - 1) % _MOST_LABELS + 1, 0)
    return labels.astype(np.uint8).tobytes(order)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
