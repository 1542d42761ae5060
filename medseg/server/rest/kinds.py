"""Which kind of image a file is, by its first bytes; the suffix that its reader wants."""

from __future__ import annotations

import re
import zlib

from medseg.errors import UnreadableError

HEAD_BYTES = 1 << 16

# Offset, bytes, suffix. Formats that medseg.io reads and that can be told by their first bytes.
_SIGNATURES = (
    (128, b"DICM", ".dcm"),
    (0, b"PK\x03\x04", ".zip"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"II+\0", ".tif"),
    (0, b"MM\0+", ".tif"),
    (0, b"GIF8", ".gif"),
    (0, b"BM", ".bmp"),
    (8, b"WEBP", ".webp"),
    (0, b"\0\0\0\x0cjP  \r\n", ".jp2"),
    (0, b"\xff\x4f\xff\x51", ".j2k"),
    *(
        (0, b"P%d" % number + space, ".pnm")
        for number in range(1, 7)
        for space in (b"\n", b" ", b"\r\n", b"\t")
    ),
    (0, b"NRRD000", ".nrrd"),
    (344, b"n+1\0", ".nii"),
    (4, b"n+2\0\r\n\x1a\n", ".nii"),
)
_GZIP = b"\x1f\x8b\x08"
_DICOMDIR = b"1.2.840.10008.1.3.10\0"
_META_IMAGE = re.compile(rb"(?:^|\n)[ \t]*(?:ObjectType|NDims)[ \t]*=")
_DATA_INSIDE = re.compile(rb"\nElementDataFile *= *LOCAL\r?\n")


def suffix_of(head: bytes) -> str:
    """The suffix of the image that begins with these bytes.

    Args:
        head: the first HEAD_BYTES of a file, or all of a smaller one.

    Raises:
        UnreadableError: it is no image that medseg reads, or names other files, which are not there.
    """
    if head.startswith(_GZIP):
        inside = _inflated(head)
        return ".nii.gz" if _signature(inside) == ".nii" else _no_image()
    suffix = _signature(head)
    if suffix == ".dcm" and _DICOMDIR in head[:1024]:
        raise _names_others("a DICOMDIR, which lists files")
    if suffix == ".nrrd":
        _require_nrrd_data(head)
    return suffix or _text_or_old(head)


def _signature(head: bytes) -> str:
    return next((suffix for at, mark, suffix in _SIGNATURES if head[at : at + len(mark)] == mark), "")


def _text_or_old(head: bytes) -> str:
    """MetaImage, whose header is text, and DICOM without a preamble, which begins with group 2 or 8."""
    if _META_IMAGE.search(head[:400]):
        if _first_data_file(head):
            return ".mha"
        raise _names_others("a MetaImage whose voxels are in another file")
    if head[:2] in (b"\2\0", b"\x08\0") and head[3:4] == b"\0":
        return ".dcm"
    return _no_image()


def _first_data_file(head: bytes) -> bool:
    """Whether the first mention of a data file is LOCAL: ITK opens whatever else stands there."""
    at = head.lower().find(b"elementdatafile")
    return at > 0 and _DATA_INSIDE.match(head, at - 1) is not None


def _require_nrrd_data(head: bytes) -> None:
    """ITK opens the file that a header names, wherever it lies; so no header may name one."""
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\n\r\n")) if at >= 0), default=-1)
    if end < 0 or re.search(rb"data ?file", head[:end], re.IGNORECASE):
        raise _names_others("a NRRD header whose voxels are in another file")


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 1024)
    except zlib.error:
        return b""


def _no_image() -> str:
    raise UnreadableError(
        "an image: DICOM, a zip archive of DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, BMP, GIF, WebP or "
        "JPEG 2000",
        got="a file that begins like none of these",
        advice="Send the file as it came from the scanner or camera.",
    )


def _names_others(got: str) -> UnreadableError:
    return UnreadableError(
        "an image with its voxels in one file",
        got=got,
        advice="Send a DICOM study as a zip archive, a volume as .nii.gz, .nrrd or .mha.",
    )
