"""Files in and out: the only package that imports nibabel, tifffile and PIL.

Reading never guesses: what can't be read truly raises UnreadableError.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io import nifti, raster
from medseg.volume import Mask, Volume

__all__ = ["case_name", "case_names", "find_inputs", "read_mask", "read_volume", "write_mask"]


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


def find_inputs(sources: Iterable[str | Path]) -> list[Path]:
    """The image files that files, folders (not the folders in them) and glob patterns stand for.

    A path that does not exist is kept, so that reading it says so.

    Raises:
        UnreadableError: a folder or pattern without any image file, or no source at all.
    """
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if os.path.isdir(path):
            files = sorted(file for file in path.iterdir() if _is_image(file))
        elif not os.path.exists(path) and glob.has_magic(str(source)):
            files = sorted(
                file for name in glob.glob(str(source), recursive=True) if _is_image(file := Path(name))
            )
        else:
            files = [path]
        if not files:
            raise UnreadableError(
                f"image files ({', '.join(raster.SUFFIXES + nifti.SUFFIXES)})",
                came=f"none in {source}",
                do="Check the folder or the pattern.",
            )
        found += files
    if not found:
        raise UnreadableError("an image file", came="nothing", do="Name a file, a folder or a pattern.")
    return list(dict.fromkeys(found))


def case_name(path: str | Path) -> str:
    """The file's name without its ending; both parts of .nii.gz go."""
    name = Path(path).name
    for suffix in (*nifti.SUFFIXES[::-1], *raster.SUFFIXES):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return Path(path).stem


def case_names(paths: Iterable[str | Path]) -> dict[str, str]:
    """Path to folder name: the case name, with -2, -3, ... where it was taken, whatever its case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        stem = case_name(path)
        choices = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(choice for choice in choices if choice.casefold() not in taken)
        taken.add(name.casefold())
        names[str(path)] = name
    return names


def _is_image(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.name.lower().endswith(raster.SUFFIXES + nifti.SUFFIXES)
    )


def require_file(path: str | Path) -> Path:
    """The path, once it is known to be a file with something in it."""
    path = Path(path)
    # os.path, because Path.is_file raises for a name that is too long.
    if not os.path.isfile(path):
        came = f"the folder {path.name}" if os.path.isdir(path) else f"{path}, which does not exist"
        raise UnreadableError("an image file", came=came, do="Check the path.")
    if path.stat().st_size == 0:
        raise UnreadableError(
            "an image file",
            came=f"{path.name}, which is empty (0 bytes)",
            do="Copy it again from its source.",
        )
    return path
