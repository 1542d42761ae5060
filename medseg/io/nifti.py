"""Volumes as NIfTI-1 and NIfTI-2, by nibabel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.atomic import atomic_path
from medseg.io.raster import check_labels, compact
from medseg.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> Volume:
    """Read a 3D volume: (1, i, j, k), scaled by slope and intercept, and its affine in RAS+ mm.

    Raises:
        UnreadableError: not a NIfTI file, a damaged one, or one that is not 3D.
    """
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        _require_all_voxels(image.dataobj, path)
        array = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel lets zlib, header and memory errors through
        raise UnreadableError(
            "a whole NIfTI volume",
            came=f"{path.name}, which can't be read ({error})",
            do="Copy it again from its source.",
        ) from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or not array.size:
        raise UnreadableError(
            "a volume with three axes",
            came=f"{path.name} with the shape {array.shape}",
            do="Save one volume (one time point) as a file of its own.",
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if array.dtype.kind not in "biuf" or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
        raise UnreadableError(
            "a volume of real numbers whose affine says where they lie",
            came=f"{path.name} with the type {array.dtype} and the affine {affine.tolist()}",
            do="Export it again from its source.",
        )
    # torch takes the machine's byte order alone.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Volume(array[None], affine=affine, source=str(path))


def _require_all_voxels(voxels: Any, path: Path) -> None:
    """Raise ValueError where the file ends before its header says, before memory is taken for it."""
    import gzip

    length = path.stat().st_size
    if path.name.lower().endswith(".gz"):
        # To the end, where gzip compares its checksum: nibabel stops before it.
        with gzip.open(path) as stream:
            length = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    needed = voxels.offset + math.prod(int(n) for n in voxels.shape) * voxels.dtype.itemsize
    if length < needed:
        raise ValueError(f"it holds {length} of {needed} bytes")


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label volume; see medseg.io.read_mask."""
    volume = read(path)
    array = check_labels(volume.array[0], labels, path.name)
    return Mask(array, labels, affine=volume.affine, source=str(path))


def write_mask(mask: Mask, path: Path) -> Path:
    """Write (i, j, k) labels with the affine of the source; sform and qform say scanner space."""
    import nibabel as nib

    image = nib.Nifti1Image(compact(mask.array), mask.affine)
    image.set_sform(mask.affine, code=1)
    image.set_qform(mask.affine, code=1)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path
