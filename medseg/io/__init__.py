"""Files in and out: the only package that imports nibabel, tifffile and PIL.

Reading never guesses: what can't be read truly raises UnreadableError.
"""

from __future__ import annotations

from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io import nifti, raster
from medseg.volume import Mask, Volume

__all__ = ["read_mask", "read_volume", "write_mask"]


def read_volume(path: str | Path) -> Volume:
    """Read a picture (PNG, JPEG, TIFF, ...) or a volume (NIfTI) as it is.

    Returns:
        A Volume with axes (C, row, column) or (C, i, j, k) in the data type of the file.

    Raises:
        UnreadableError: the file is missing, empty, truncated or in an unknown format.
    """
    path = require_file(path)
    return nifti.read(path) if nifti.is_nifti(path) else raster.read(path)


def read_mask(path: str | Path, labels: dict[int, str]) -> Mask:
    """Read a label picture or volume whose values are those of `labels`.

    A two-valued picture of 0 and 255 (the habit of most public data sets) is read as 0 and 1 when
    `labels` are just these two.

    Raises:
        UnreadableError: as read_volume.
        LabelError: it has more than one channel or a value that `labels` does not name.
    """
    path = require_file(path)
    read = nifti.read_mask if nifti.is_nifti(path) else raster.read_mask
    return read(path, labels)


def write_mask(mask: Mask, path: str | Path) -> Path:
    """Write a mask: NIfTI for a volume, 8- or 16-bit grey PNG for a picture (the value is the label).

    Raises:
        UnreadableError: the file name's ending fits no writer for this mask.
    """
    path = Path(path)
    if nifti.is_nifti(path) and mask.affine is not None:
        return nifti.write_mask(mask, path)
    if path.suffix.lower() == ".png" and mask.affine is None:
        return raster.write_mask(mask, path)
    raise UnreadableError(
        "a .png name for a picture's mask or a .nii.gz name for a volume's",
        came=f"{path.name} for a {'picture' if mask.affine is None else 'volume'}",
        do="Change the ending of the file name.",
    )


def require_file(path: str | Path) -> Path:
    """The path, once it is known to be a file with something in it."""
    path = Path(path)
    if not path.is_file():
        came = f"the folder {path.name}" if path.is_dir() else f"{path}, which does not exist"
        raise UnreadableError("an image file", came=came, do="Check the path.")
    if path.stat().st_size == 0:
        raise UnreadableError(
            "an image file", came=f"{path.name}, which is empty (0 bytes)", do="Copy it again from its source."
        )
    return path
