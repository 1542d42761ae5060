"""Files in and out: the only package that imports nibabel, pydicom, itk, tifffile and PIL.

Reading never guesses: what can't be read truly raises UnreadableError.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from medseg.errors import UnreadableError
from medseg.io import dicom, itk_image, nifti, raster
from medseg.io.inputs import Input, case_name, case_names, find_inputs, is_study, search_inputs
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
    "write_mask",
]


def read_volume(source: Input, modality: str | None = None) -> Volume:
    """Read a picture (PNG, JPEG, TIFF, ...) or a volume (NIfTI, NRRD, MetaImage, DICOM) as it is.

    Args:
        source: a file; for DICOM also a folder, a zip archive or several files.
        modality: DICOM's word for the kind of images, such as CT or US; None takes any volume.

    Returns:
        A Volume with axes (C, row, column) or (C, i, j, k) in the data type of the file.

    Raises:
        UnreadableError: the file is missing, empty, truncated or in an unknown format.
        UnsuitableError: a DICOM study without a series that can be read truly; see medseg.io.dicom.
    """
    if isinstance(source, tuple) or is_study(source):
        return dicom.read(source, modality)
    path = require_file(source)
    return _format(path).read(path)


def read_mask(path: str | Path, labels: dict[int, str]) -> Mask:
    """Read a label picture or volume whose values are those of `labels`.

    A two-valued picture of 0 and 255 (the habit of most public data sets) is read as 0 and 1 when
    `labels` are just these two.

    Raises:
        UnreadableError: as read_volume.
        LabelError: it has more than one channel or a value that `labels` does not name.
    """
    path = require_file(path)
    return _format(path).read_mask(path, labels)


def write_mask(mask: Mask, path: str | Path) -> Path:
    """Write a mask: NIfTI, NRRD or MetaImage for a volume, 8- or 16-bit grey PNG for a picture.

    The value of a voxel or pixel is the label.

    Raises:
        UnreadableError: the file name's ending fits no writer for this mask.
    """
    path = Path(path)
    if mask.affine is not None and _format(path) is not raster:
        written: Path = _format(path).write_mask(mask, path)
        return written
    if path.suffix.lower() == ".png" and mask.affine is None:
        return raster.write_mask(mask, path)
    raise UnreadableError(
        "a .png name for a picture's mask, or a .nii.gz or .nrrd name for a volume's",
        got=f"{path.name} for a {'picture' if mask.affine is None else 'volume'}",
        advice="Change the ending of the file name.",
    )


def _format(path: Path) -> ModuleType:
    """The module that reads a file, by its ending."""
    return next(
        (module for module in (nifti, itk_image) if path.name.lower().endswith(module.SUFFIXES)), raster
    )


def require_file(path: str | Path) -> Path:
    """The path, once it is known to be a file with something in it."""
    path = Path(path)
    # os.path, because Path.is_file raises for a name that is too long.
    if not os.path.isfile(path):
        got = f"the folder {path.name}" if os.path.isdir(path) else f"{path}, which does not exist"
        raise UnreadableError("an image file", got=got, advice="Check the path.")
    if not os.access(path, os.R_OK):
        raise UnreadableError(
            "an image file that may be read",
            got=f"{path.name}, which may not",
            advice="Ask for the right to read it.",
        )
    if path.stat().st_size == 0:
        raise UnreadableError(
            "an image file",
            got=f"{path.name}, which is empty (0 bytes)",
            advice="Copy it again from its source.",
        )
    return path
