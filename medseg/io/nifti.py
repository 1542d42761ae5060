"""Volumes as NIfTI-1 and NIfTI-2, read and written with nibabel."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.atomic import atomic_path
from medseg.io.nifti_affine import RIGID_TOLERANCE_MM, affine_of, furthest_mm, is_sheared, nearest_rigid
from medseg.io.raster import check_labels, compact
from medseg.stamp import Stamp
from medseg.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz")
MOST_VOXELS = 2**31  # 4 GiB as 16 bits; a whole body at 512 x 512 takes 2**29
GZIP_MAGIC = b"\x1f\x8b"

# nibabel's header checks would log "setting to 0" about values for which the warnings here say what is used.
_SILENT = logging.Logger("silent")
_SILENT.addHandler(logging.NullHandler())


def read(path: Path) -> Volume:
    """Read a 3D volume.

    Where the header has both an sform and a qform, the sform is used, as in nibabel, ITK and FSL.

    Returns:
        A Volume (1, i, j, k), scaled by slope and intercept, with its affine in RAS+ mm.

    Raises:
        UnreadableError: the file is not NIfTI, is damaged, is not 3D, or has a header in which left and right
            are missing or contradictory.
    """
    try:
        header, array = _load(path)
    except UnreadableError:
        raise
    except Exception as error:  # nibabel lets zlib, header and memory errors through
        raise UnreadableError(
            "a complete NIfTI volume",
            got=f"{path.name}, which can't be read ({str(error).replace(str(path), path.name)})",
            advice="Copy it again from its source.",
        ) from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or not array.size:
        raise UnreadableError(
            "a volume with three axes",
            got=f"{path.name} with the shape {array.shape}",
            advice="Save one volume (one time point) per file.",
        )
    affine, warnings = affine_of(header, array.shape, path.name)
    if array.dtype.kind not in "biuf":
        raise UnreadableError(
            "a volume of real numbers",
            got=f"{path.name} with the type {array.dtype}",
            advice="Export it again from its source.",
        )
    # torch takes only the machine's own byte order.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Volume(array[None], affine=affine, source=str(path), warnings=warnings)


def require_size(shape: Iterable[int], name: str) -> None:
    """Refuse a volume of more than MOST_VOXELS voxels, before memory is allocated.

    Raises:
        UnreadableError: the shape has more voxels.
    """
    if math.prod(int(n) for n in shape) > MOST_VOXELS:
        raise UnreadableError(
            f"at most {MOST_VOXELS} voxels",
            got=f"{name} with the shape {tuple(shape)}",
            advice="Save only the part that you need.",
        )


def _load(path: Path) -> tuple[Any, np.ndarray]:
    """The header, unchanged, and the scaled voxels.

    The first bytes decide whether the file is compressed, because users rename files.
    """
    import nibabel as nib

    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if packed else file
        start = stream.read(1024)
        kinds = (nib.Nifti1Header, nib.Nifti2Header)
        kind = next((kind for kind in kinds if kind.may_contain_header(start)), None)
        if kind is None:
            raise ValueError("it does not begin with a NIfTI header")
        header = kind(start[: kind.sizeof_hdr], check=False)
        stream.seek(0)
        checked = kind.from_fileobj(stream, check=False)
        checked.check_fix(logger=_SILENT)
        voxels = nib.arrayproxy.ArrayProxy(stream, checked)
        _require_all_voxels(voxels, stream, None if packed else path.stat().st_size)
        require_size(voxels.shape, path.name)
        # Whole numbers with a slope become float32, not float64: half the memory, exact for HU.
        scaled = (voxels.slope, voxels.inter) != (1, 0)
        return header, np.asarray(voxels, dtype=np.float32 if scaled else None)


def _require_all_voxels(voxels: Any, stream: Any, length: int | None) -> None:
    """Raise ValueError for a file that is too short for its header, before memory is allocated."""
    if length is None:
        # Read to the end, where gzip compares its checksum; nibabel stops earlier.
        stream.seek(0)
        length = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    needed = voxels.offset + math.prod(int(n) for n in voxels.shape) * voxels.dtype.itemsize
    if length < needed:
        raise ValueError(f"it holds {length} of {needed} bytes")


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label volume; see medseg.io.read_mask."""
    volume = read(path)
    array = check_labels(volume.array[0], labels, path.name)
    return Mask(array, labels, affine=volume.affine, source=volume.source)


def write_mask(mask: Mask, path: Path, stamp: Stamp | None = None) -> Path:
    """Write (i, j, k) labels with the affine of the source; see `write`.

    Raises:
        LabelError: a label below 0 or above 65535.
        OSError: the file can't be written in full.
    """
    return write(compact(mask.array), np.asarray(mask.affine), path, stamp)


def write(array: np.ndarray, affine: np.ndarray, path: Path, stamp: Stamp | None = None) -> Path:
    """Write a volume.

    The sform holds the exact affine. A qform can't hold a shear (a tilted gantry). It holds the nearest
    affine with right angles, which ITK uses. Its code is 0 (not to be used) if that moves a voxel by more
    than RIGID_TOLERANCE_MM; ITK then refuses the file.

    Args:
        array: (i, j, k).
        affine: 4x4, voxel index to RAS+ mm.
        path: the file, .nii or .nii.gz.
        stamp: written as a header extension of the kind comment, which other programs pass over.

    Raises:
        OSError: the file can't be written in full.
    """
    import nibabel as nib

    affine = np.asarray(affine, dtype=np.float64)
    qform = nearest_rigid(affine, array.shape) if is_sheared(affine) else affine
    is_near = furthest_mm(affine, qform, array.shape) <= RIGID_TOLERANCE_MM
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(qform, code=1 if is_near else 0)
    image.header.set_xyzt_units("mm")
    if stamp is not None:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", stamp.text().encode("ascii")))
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path
