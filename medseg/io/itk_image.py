"""Volumes as NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd), by ITK.

ITK reads the voxels and the grid, sheared grids too. Where ITK would guess, the header is checked first: ITK
assumes LPS for a NRRD without a known space, and axial slices for a MetaImage without a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.atomic import atomic_path
from medseg.io.nifti import require_size
from medseg.io.raster import check_labels, compact
from medseg.stamp import KEY, Stamp
from medseg.volume import Mask, Volume

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
# A header of either format is a few lines; a file whose header is longer than this is refused.
HEADER_BYTES = 1 << 20
# The highest compression ratio of deflate, https://zlib.net/zlib_tech.html.
MOST_COMPRESSION = 1032
CHUNK_BYTES = 1 << 20
AGAIN = "Copy it again from its source."
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

SPACES = {"left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las"}
SPATIAL_KINDS = {"domain", "space", "none", "???"}
# Bytes of a voxel, by the type names of the two formats.
NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    **{"float": 4, "double": 8},
}
# Types for which ITK's Python wheels have no image class; they are read as double, exact below 2**53.
NO_ITK_IMAGE = {
    *("signed char", "int8", "int8_t", "met_char", "met_long_long"),
    *("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
}
META_BYTES = {
    **{"met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4},
    **{"met_long_long": 8, "met_ulong_long": 8, "met_float": 4, "met_double": 8},
}


def read(path: Path) -> Volume:
    """Read a 3D volume.

    Returns:
        A Volume (1, i, j, k) in the data type of the file, with its affine in RAS+ mm.

    Raises:
        UnreadableError: the file is in another format, is damaged, is not 3D, lacks its voxels, or has a
            header without position, orientation or voxel size.
    """
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    header, start = _header(path, nrrd)
    warnings = _check_nrrd(header, path, start) if nrrd else _check_meta(header, path, start)
    as_double = (header["type"] if nrrd else header["elementtype"]) in NO_ITK_IMAGE
    array, affine = _by_itk(path, nrrd, as_double)
    return Volume(array[None], affine=affine, source=str(path), warnings=warnings)


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label volume; see medseg.io.read_mask."""
    volume = read(path)
    array = check_labels(volume.array[0], labels, path.name)
    return Mask(array, labels, affine=volume.affine, source=volume.source)


def write_mask(mask: Mask, path: Path, stamp: Stamp | None = None) -> Path:
    """Write (i, j, k) labels, compressed, as one file, with the affine of the source, sheared ones too.

    Raises:
        UnreadableError: the suffix is .mhd or .nhdr: two files can't be replaced atomically.
        OSError: the file can't be written in full.
    """
    import itk

    if path.suffix.lower() not in (".nrrd", ".mha"):
        raise UnreadableError(
            "a file name that ends in .nrrd or .mha, which hold header and voxels in one file",
            got=path.name,
            advice="Change the suffix of the file name.",
        )
    affine = LPS_TO_RAS @ np.asarray(mask.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = itk.image_view_from_array(np.ascontiguousarray(compact(mask.array).T))
    image.SetDirection(itk.matrix_from_array(affine[:3, :3] / spacing))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    if stamp is not None:
        image[KEY] = stamp.text()
    with atomic_path(path) as temporary:
        try:
            with _named_in_utf8(temporary) as name:
                itk.imwrite(image, name, compression=True)
        except RuntimeError as error:
            raise OSError(f"{path.name} can't be written in full") from error
    return path


def _unreadable(
    path: Path, expected: str, got: str, advice: str = "Export it again from its source."
) -> UnreadableError:
    return UnreadableError(expected, got=f"{path.name} {got}", advice=advice)


def _header(path: Path, nrrd: bool) -> tuple[dict[str, str], int]:
    """The header as name to value, in lower case except for file names; and its length in bytes."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    header: dict[str, str] = {}
    ended, length = False, 0
    for number, line in enumerate(start.split(b"\n")):
        length += len(line) + 1
        text = line.decode("latin-1").strip()
        if nrrd and number == 0:
            if not text.startswith("NRRD000"):
                break
            continue
        if nrrd and not text:
            ended = True
            break
        name, separator, value = text.partition(":" if nrrd else "=")
        if separator and not value.startswith("="):  # := is a NRRD remark
            name, value = name.strip().lower(), value.strip()
            header[name] = value if name in ("data file", "datafile", "elementdatafile") else value.lower()
        ended = name == "elementdatafile"
        if ended or not (separator or text.startswith("#")):
            break
    if not ended and not (nrrd and len(start) == path.stat().st_size and "data file" in header):
        raise _unreadable(
            path, f"a {'NRRD' if nrrd else 'MetaImage'} header", "without one in its first lines"
        )
    return header, length


def _check_nrrd(header: dict[str, str], path: Path, start: int) -> tuple[str, ...]:
    """Refuse a header that ITK would complete by guessing or read wrongly.

    Returns:
        Warnings for the user.
    """
    if header.get("space") not in SPACES:
        raise _unreadable(
            path,
            f"a NRRD with one of the spaces {', '.join(sorted(space for space in SPACES if '-' in space))}",
            f"with the space {header.get('space', '(none)')}, which leaves open which side is left",
        )
    if "space directions" not in header:
        raise _unreadable(path, "a NRRD with space directions", "without them and so without a voxel size")
    if set(header.get("space units", "").replace('"', "").split()) - {"mm"}:
        raise _unreadable(path, "lengths in mm", f"with the space units {header['space units']}")
    if set(header.get("kinds", "").split()) - SPATIAL_KINDS:
        raise _unreadable(
            path,
            "a volume with three spatial axes and one value per voxel",
            f"with axes of the kinds {header['kinds']}",
            "Save one volume per file.",
        )
    data_file = header.get("data file", header.get("datafile", ""))
    start = 0 if data_file else start
    encoding = header.get("encoding", "")
    voxel_bytes = NRRD_BYTES.get(header.get("type", ""))
    needed = _require_voxels(path, header.get("sizes", ""), voxel_bytes, data_file, start, encoding == "raw")
    if encoding in ("gzip", "gz"):
        _require_inflatable(path, path.parent / data_file if data_file else path, start, needed)
    return () if "space origin" in header else ("the header gives no origin: positions start at 0 mm",)


def _check_meta(header: dict[str, str], path: Path, start: int) -> tuple[str, ...]:
    """Refuse a header that ITK would complete by guessing or read wrongly.

    Returns:
        Warnings for the user.
    """
    matrix = next(
        (header[name] for name in ("transformmatrix", "rotation", "orientation") if name in header), ""
    )
    if not matrix:
        raise _unreadable(
            path, "a MetaImage with a TransformMatrix", "without it, which leaves open which side is left"
        )
    if "elementspacing" not in header:
        raise _unreadable(
            path, "a MetaImage with an ElementSpacing", "without it and so without a voxel size"
        )
    if header.get("elementnumberofchannels", "1") != "1":
        raise _unreadable(path, "one value per voxel", f"with {header['elementnumberofchannels']} channels")
    _require_agreement(path, matrix, header.get("anatomicalorientation", "???"))
    data_file = header["elementdatafile"]
    data_file = "" if data_file.lower() == "local" else data_file
    start = 0 if data_file else start
    packed = header.get("compresseddata") == "true"
    raw = not packed and header.get("binarydata") != "false"
    voxel_bytes = META_BYTES.get(header.get("elementtype", ""))
    needed = _require_voxels(path, header.get("dimsize", ""), voxel_bytes, data_file, start, raw)
    if packed:
        _require_inflatable(path, path.parent / data_file if data_file else path, start, needed)
    known = any(name in header for name in ("offset", "position", "origin"))
    return () if known else ("the header gives no origin: positions start at 0 mm",)


def _require_agreement(path: Path, matrix: str, letters: str) -> None:
    """Refuse an AnatomicalOrientation that contradicts the matrix; ITK would ignore it.

    Each letter names the side that an axis comes from (ITK writes RAI for LPS) or the side that it goes to;
    either convention passes.
    """
    try:
        directions = np.array(matrix.split(), dtype=np.float64).reshape(3, 3)  # one row per array axis, LPS
    except ValueError:
        raise _unreadable(path, "a TransformMatrix of nine numbers", f"with {matrix}") from None
    lengths = np.linalg.norm(directions, axis=1)
    if not np.allclose(lengths, 1, atol=0.01):
        raise _unreadable(
            path, "a TransformMatrix of unit vectors", f"with vectors of the lengths {lengths.tolist()}"
        )
    sides = {"r": (0, -1), "l": (0, 1), "a": (1, -1), "p": (1, 1), "i": (2, -1), "s": (2, 1)}
    if len(letters) != 3 or set(letters) - set(sides):
        return
    goes_to = [directions[row, sides[letter][0]] * sides[letter][1] for row, letter in enumerate(letters)]
    # The nearest of the six sides is at most 55 degrees away, a cosine of 0.577.
    if min(goes_to) < 0.5 and max(goes_to) > -0.5:
        raise _unreadable(
            path,
            "a TransformMatrix and an AnatomicalOrientation that agree",
            f"with the orientation {letters.upper()} and the matrix {matrix}",
        )


def _require_voxels(
    path: Path, sizes: str, voxel_bytes: int | None, data_file: str, start: int, raw: bool
) -> int:
    """Refuse a volume that is not 3D and a file too short for its sizes, before memory is allocated.

    Returns:
        The uncompressed size of the voxels in bytes.
    """
    try:
        shape = [int(size) for size in sizes.split()]
    except ValueError:
        shape = []
    if len(shape) != 3 or min(shape) < 1:
        raise _unreadable(
            path,
            "a volume with three axes",
            f"with the sizes {sizes}",
            "Save one volume per file.",
        )
    if voxel_bytes is None:
        raise _unreadable(path, "voxels of an integer or floating-point type", "with another type")
    require_size(shape, path.name)
    voxels = path.parent / data_file
    if data_file and (path.parent.resolve() not in voxels.resolve().parents or not voxels.is_file()):
        raise _unreadable(
            path,
            "the file of the voxels in the folder of the header",
            "whose file of voxels is not in its folder",
            "Copy both files together.",
        )
    held = (voxels if data_file else path).stat().st_size - start
    needed = math.prod(shape) * voxel_bytes
    if needed > held * (1 if raw else MOST_COMPRESSION):
        raise _unreadable(path, "a complete volume", f"with {held} of {needed} bytes", AGAIN)
    return needed


def _require_inflatable(path: Path, voxels: Path, start: int, needed: int) -> None:
    """Refuse damaged compressed voxels: where inflating fails, ITK returns wrong values without an error."""
    import zlib

    inflater, length = zlib.decompressobj(wbits=47), 0  # zlib's header or gzip's
    try:
        with voxels.open("rb") as file:
            file.seek(start)
            while not inflater.eof and (block := inflater.unconsumed_tail or file.read(CHUNK_BYTES)):
                length += len(inflater.decompress(block, CHUNK_BYTES))
    except zlib.error as error:
        raise _unreadable(path, "a complete volume", "with damaged voxels", AGAIN) from error
    if not inflater.eof:
        raise _unreadable(path, "a complete volume", "whose voxels end too early", AGAIN)
    if length != needed:
        raise _unreadable(path, "a complete volume", f"with {length} of {needed} bytes", AGAIN)


@contextmanager
def _named_in_utf8(path: Path) -> Iterator[str]:
    """The path in UTF-8, as ITK needs it; for any other path that of a link to its folder or to the file."""
    if _is_utf8(str(path)):
        yield str(path)
        return
    with TemporaryDirectory() as folder:
        if _is_utf8(path.name):
            link = Path(folder, "link")
            link.symlink_to(path.parent.absolute())
            yield str(link / path.name)
        else:
            link = Path(folder, f"link{path.suffix}")
            link.symlink_to(path.absolute())
            yield str(link)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _by_itk(path: Path, nrrd: bool, as_double: bool) -> tuple[np.ndarray, np.ndarray]:
    """(i, j, k) voxels and the affine in RAS+ mm.

    The format is passed to ITK, which does not recognize a suffix in capitals (.MHA).
    """
    import itk

    try:
        image_io = itk.NrrdImageIO.New() if nrrd else itk.MetaImageIO.New()
        with _named_in_utf8(path) as name:
            if as_double:
                reader: Any = itk.ImageFileReader[itk.Image[itk.D, 3]].New(FileName=name, ImageIO=image_io)
                reader.Update()
                image: Any = reader.GetOutput()
            else:
                image = itk.imread(name, imageio=image_io)
        array = np.asarray(image).T
        directions = itk.array_from_matrix(image.GetDirection())
        affine = np.eye(4)
        affine[:3, :3] = directions * np.asarray(image.GetSpacing())
        affine[:3, 3] = np.asarray(image.GetOrigin())
    except Exception as error:  # ITK raises several types, also for pixel types that it is not built for
        # ITK's own message often names a wrong cause, such as a missing file, and is not quoted.
        raise _unreadable(
            path, "a complete volume", "which is damaged, or which ITK can't read", AGAIN
        ) from error
    if array.ndim != 3 or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise _unreadable(
            path,
            "a volume with three axes and an invertible affine",
            f"with the shape {array.shape} and the affine {affine.tolist()}",
        )
    return array, LPS_TO_RAS @ affine
