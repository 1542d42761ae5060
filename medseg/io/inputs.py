"""Which images a user means by files, folders, archives and patterns, and what each is called."""

from __future__ import annotations

import glob
import hashlib
import itertools
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io import dicom, itk_image, nifti, raster

logger = logging.getLogger(__name__)

SUFFIXES = (*raster.SUFFIXES, *nifti.SUFFIXES, *itk_image.SUFFIXES)

# What archives, browsers and discs call a study, whosever it is; of folders only what nobody would choose.
_NAMES_OF_STUDIES, _NAMES_OF_ZIPS = (
    re.compile(rf"(?:{words})s?(?:[ _.-]*\(?\d{{1,4}}\)?)?", re.IGNORECASE)
    for words in (
        "archive|dicom|dicomdir|export|download",
        "archive|dicom|dicomdir|export|download|data|exam|file|image|scan|series|study|studie",
    )
)

# A file, a folder or an archive; or the files of one DICOM series.
Input = str | Path | tuple[Path, ...]


def is_study(source: Input) -> bool:
    """Whether it is for the DICOM reader: a folder, a zip archive, several files or a DICOM file."""
    if isinstance(source, (list, tuple)) or os.path.isdir(source):
        return True
    return os.path.isfile(source) and (str(source).lower().endswith(".zip") or dicom.is_dicom(Path(source)))


def find_inputs(sources: Iterable[str | Path]) -> list[Input]:
    """The images that files, folders and glob patterns stand for.

    A folder with DICOM files anywhere in it is one image, another one stands for the image files in it
    (not in the folders in it). All DICOM files named one by one are one image together. Ultrasound is
    different: each DICOM file is an image, in a folder too. A path that does not exist is kept, so that
    reading it says so. What a folder holds beside a study is passed over, with a warning in the log.

    Raises:
        UnreadableError: a folder or pattern without any image file, or no source at all.
    """
    found: list[Input] = []
    slices: list[Path] = []
    for source in sources:
        files = _files_of(source)
        if not files:
            raise UnreadableError(
                f"image files ({', '.join(SUFFIXES)}) or DICOM",
                came=f"none in {source}",
                do="Check the folder or the pattern.",
            )
        for file in files:
            is_slice = file.is_file() and not _is_image(file) and dicom.is_dicom(file)
            (slices if is_slice and not dicom.is_picture(file) else found).append(file)
    if slices:
        found.append(slices[0] if len(slices) == 1 else tuple(dict.fromkeys(slices)))
    if not found:
        raise UnreadableError("an image file", came="nothing", do="Name a file, a folder or a pattern.")
    return list(dict.fromkeys(found))


def _files_of(source: str | Path) -> list[Path]:
    path = Path(source)
    if os.path.isdir(path):
        return _files_in(path)
    if os.path.exists(path) or not glob.has_magic(str(source)):
        return [path]
    names = sorted(Path(name) for name in glob.glob(str(source), recursive=True))
    return [file for file in names if file.is_file() and (_is_image(file) or dicom.is_dicom(file))]


def _files_in(folder: Path) -> list[Path]:
    images = [file for file in folder.iterdir() if _is_image(file)]
    pictures = dicom.pictures_in(folder)
    if pictures or not dicom.holds_dicom(folder):
        return sorted({*images, *pictures})
    if images:
        logger.warning("%s: read as a DICOM study; %d other image files passed over", folder, len(images))
    return [folder]


def case_name(source: Input) -> str:
    """The name of the file without its ending (both parts of .nii.gz go), or of the DICOM files' folder.

    Of a DICOM study that a program named as it names them all, such as archive.zip, the digest of its
    StudyInstanceUID is a part: archive-3f9a2c71. So studies that are segmented one after the other into one
    folder stay apart, and nobody is named. The study alone decides, not what else lies there. Such names are
    archive, dicom, dicomdir, export and download; of a zip archive also data, exam, files, images, scan,
    series and study; in the plural and with a number too, as in "archive (2)". Any other name is somebody's
    choice and stays.
    """
    stem = _stem(source)
    is_zip = isinstance(source, (str, Path)) and str(source).lower().endswith(".zip")
    if not (_NAMES_OF_ZIPS if is_zip else _NAMES_OF_STUDIES).fullmatch(stem) or not is_study(source):
        return stem
    uid = dicom.study_uid(source)
    return f"{stem}-{hashlib.sha256(uid.encode()).hexdigest()[:8]}" if uid else stem


def _stem(source: Input) -> str:
    if isinstance(source, (list, tuple)):
        return _stem(Path(source[0]).parent)
    path = Path(source)
    if os.path.isdir(path):
        return path.resolve().name
    name = path.name
    for suffix in sorted((*SUFFIXES, ".zip", ".dcm"), key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return path.stem


def case_names(sources: Iterable[Input]) -> dict[str, str]:
    """Source to folder name: the case name, with -2, -3, ... where it was taken, whatever its case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for source in sources:
        stem = case_name(source)
        choices = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(choice for choice in choices if choice.casefold() not in taken)
        taken.add(name.casefold())
        names[str(source)] = name
    return names


def _is_image(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(SUFFIXES)
