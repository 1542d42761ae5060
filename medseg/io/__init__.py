"""Files in and out.

Only this package reads images, and only it imports nibabel, itk, tifffile and highdicom. pydicom is also
imported by `phantoms`, which writes synthetic series, and PIL by `reports`, which draws. Reading never
guesses: a file that can't be read exactly raises UnreadableError.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from medseg.errors import UnreadableError
from medseg.io import dicom, itk_image, nifti, raster
from medseg.io.inputs import Input, case_name, case_names, find_inputs, is_study, search_inputs, shown
from medseg.stamp import Stamp
from medseg.volume import Mask, Volume

__all__ = [
    "Input",
    "case_name",
    "case_names",
    "find_inputs",
    "is_study",
    "read_mask",
    "read_volume",
    "search_inputs",
    "shown",
    "write_mask",
]


def read_volume(source: Input, modality: str | None = None) -> Volume:
    """Read a picture (PNG, JPEG, TIFF, ...) or a volume (NIfTI, NRRD, MetaImage, DICOM), unchanged.

    Args:
        source: a file; for DICOM also a folder, a zip archive or several files.
        modality: the DICOM modality to read, such as CT or US; None takes any volume.

    Returns:
        A Volume with axes (C, row, column) or (C, i, j, k) in the data type of the file.

    Raises:
        UnreadableError: the file is missing, empty, truncated or in an unknown format.
        UnsuitableError: a DICOM study without a series that can be read exactly; see medseg.io.dicom.
    """
    if isinstance(source, tuple) or is_study(source):
        return dicom.read(source, modality)
    path = require_file(source)
    return _format(path).read(path)


def read_mask(path: str | Path, labels: dict[int, str]) -> Mask:
    """Read a label picture or volume.

    A picture with the values 0 and 255, as most public data sets have it, is read as 0 and 1 when `labels`
    has the keys 0 and 1 only.

    Args:
        path: the file.
        labels: value to name, 0 (background) included; the file may hold no other value.

    Returns:
        A Mask with axes (row, column) or (i, j, k), uint8 or uint16.

    Raises:
        UnreadableError: as read_volume.
        LabelError: it has more than one channel or a value that `labels` does not name.
    """
    path = require_file(path)
    return _format(path).read_mask(path, labels)


def write_mask(mask: Mask, path: str | Path, stamp: Stamp | None = None) -> Path:
    """Write a mask: NIfTI, NRRD or MetaImage for a volume, 8- or 16-bit grey PNG for a picture.

    The value of a voxel or pixel is the label.

    Args:
        mask: (row, column) or (i, j, k) labels.
        path: the file; its suffix chooses the format.
        stamp: what the file tells of its origin; see medseg.io.stamps for the place in each format.

    Returns:
        The path.

    Raises:
        UnreadableError: no writer for this mask has the suffix of the file name.
        LabelError: a label below 0 or above 65535.
        OSError: the file can't be written in full.
    """
    path = Path(path)
    if mask.affine is not None and _format(path) is not raster:
        written: Path = _format(path).write_mask(mask, path, stamp)
        return written
    if path.suffix.lower() == ".png" and mask.affine is None:
        return raster.write_mask(mask, path, stamp)
    raise UnreadableError(
        "a .png name for a picture's mask, or a .nii.gz or .nrrd name for a volume's",
        got=f"{path.name} for a {'picture' if mask.affine is None else 'volume'}",
        advice="Change the ending of the file name.",
    )


def _format(path: Path) -> ModuleType:
    """The module that reads and writes a file, by the suffix of its name."""
    return next(
        (module for module in (nifti, itk_image) if path.name.lower().endswith(module.SUFFIXES)), raster
    )


def require_file(path: str | Path) -> Path:
    """Return the path of a file that exists, may be read and is not empty.

    Raises:
        UnreadableError: for any other path.
    """
    path = Path(path)
    # os.path, because Path.is_file raises for a name that is too long.
    if not os.path.isfile(path):
        got = f"the folder {path.name}" if os.path.isdir(path) else f"{path}, which does not exist"
        raise UnreadableError("an image file", got=got, advice="Check the path.")
    if not os.access(path, os.R_OK):
        raise UnreadableError(
            "an image file with the right to read it",
            got=f"{path.name} without that right",
            advice="Ask for the right to read it.",
        )
    if path.stat().st_size == 0:
        raise UnreadableError(
            "an image file",
            got=f"{path.name}, which is empty (0 bytes)",
            advice="Copy it again from its source.",
        )
    return path
