"""Volumes as NIfTI-1 and NIfTI-2, by nibabel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medseg.errors import UnreadableError
from medseg.io.atomic import atomic_path
from medseg.io.raster import check_labels
from medseg.volume import Mask, Volume

SUFFIXES = (".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> Volume:
    """Read a 3D volume: (1, i, j, k), scaled by slope and intercept, and its affine in RAS+ mm.

    Raises:
        UnreadableError: not a NIfTI file, a truncated one, or one that is not 3D.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        array = np.asanyarray(image.dataobj)
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnreadableError(
            "a whole NIfTI volume",
            came=f"{path.name}, which can't be read ({error})",
            do="Copy it again from its source.",
        ) from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise UnreadableError(
            "a volume with three axes",
            came=f"{path.name} with the shape {array.shape}",
            do="Save one volume (one time point) as a file of its own.",
        )
    return Volume(array[None], affine=np.asarray(image.affine, dtype=np.float64), source=str(path))


def read_mask(path: Path, labels: dict[int, str]) -> Mask:
    """Read a label volume; see medseg.io.read_mask."""
    volume = read(path)
    array = check_labels(volume.array[0], labels, path.name)
    return Mask(array, labels, affine=volume.affine, source=str(path))


def write_mask(mask: Mask, path: Path) -> Path:
    """Write (i, j, k) labels with the affine of the source; sform and qform say scanner space."""
    import nibabel as nib

    array = mask.array.astype(np.uint8 if mask.array.max(initial=0) < 256 else np.uint16)
    image = nib.Nifti1Image(array, mask.affine)
    image.set_sform(mask.affine, code=1)
    image.set_qform(mask.affine, code=1)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path
