"""Find the images that files, folders, archives and glob patterns stand for, and name each case."""

from __future__ import annotations

import glob
import hashlib
import itertools
import logging
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medseg.errors import UnreadableError
from medseg.io import dicom, itk_image, nifti, raster

logger = logging.getLogger(__name__)

SUFFIXES = (*raster.SUFFIXES, *nifti.SUFFIXES, *itk_image.SUFFIXES)

# Suffixes of voxel data whose header is a file of its own, .mhd or .nhdr.
DETACHED = (".raw", ".zraw", ".raw.gz")
# Names that archives, browsers and discs give to any study; for folders only those that no person chooses.
_NAMES_OF_STUDIES, _NAMES_OF_ZIPS = (
    re.compile(rf"(?:{words})s?(?:[ _.-]*\(?\d{{1,4}}\)?)?", re.IGNORECASE)
    for words in (
        "archive|dicom|dicomdir|export|download",
        "archive|dicom|dicomdir|export|download|data|exam|file|image|scan|series|study|studie",
    )
)

# A file, a folder or an archive; or the files of one DICOM series.
Input = str | Path | tuple[Path, ...]


class MediumStudy(tuple[Path, ...]):
    """The files of one study that a DICOMDIR lists.

    Attributes:
        name: of the case: the folder of the DICOMDIR, with a digest of the study where that is not enough.
    """

    name: str

    def __new__(cls, files: Iterable[Path], name: str) -> MediumStudy:
        made = super().__new__(cls, files)
        made.name = name
        return made

    def __getnewargs__(self) -> tuple[tuple[Path, ...], str]:
        return tuple(self), self.name


def is_study(source: Input) -> bool:
    """Whether the DICOM reader reads it: a folder, a zip archive, several files, a DICOM file or DICOMDIR,
    or a multipart/related message of DICOM."""
    if isinstance(source, (list, tuple)) or os.path.isdir(source):
        return True
    return os.path.isfile(source) and (
        str(source).lower().endswith(".zip")
        or dicom.is_dicom(Path(source))
        or dicom.saved_body(source) is not None
    )


@dataclass(frozen=True)
class Found:
    """The result of search_inputs.

    Attributes:
        inputs: the images, each once, in the order of the sources.
        empty: sources without any image.
    """

    inputs: list[Input]
    empty: list[str]


def find_inputs(sources: Iterable[str | Path]) -> list[Input]:
    """The images that files, folders and glob patterns stand for; see search_inputs."""
    return search_inputs(sources).inputs


def search_inputs(sources: Iterable[str | Path]) -> Found:
    """The images that files, folders and glob patterns stand for, and the sources that stand for none.

    - A folder with DICOM files anywhere in it is one image. Any other folder stands for the image files and
      the zip archives of DICOM directly in it.
    - A pattern stands for the image files and zip archives that it matches, and for the folders with DICOM.
    - All DICOM files that are named one by one are one image together.
    - A DICOMDIR, or a folder in which one lies, stands for the studies that it lists: each is an image.
    - Each ultrasound DICOM file is an image of its own, in a folder too.
    - A path that does not exist is kept, so that reading it raises the error.

    The log gets a warning for files that are skipped and for sources without an image.

    Raises:
        UnreadableError: there is no image, or no source.
    """
    found: list[Input] = []
    slices: list[Path] = []
    empty: list[str] = []
    for source in sources:
        files = _files_of(source)
        if not files:
            empty.append(str(source))
        for file in files:
            if isinstance(file, tuple):
                found.append(file)
                continue
            # os.path, because Path.is_file raises for a name that is too long.
            is_slice = os.path.isfile(file) and not _is_image(file) and dicom.is_dicom(file)
            (slices if is_slice and not dicom.is_picture(file) else found).append(file)
    if slices:
        found.append(slices[0] if len(slices) == 1 else tuple(dict.fromkeys(slices)))
    if not found:
        raise _nothing_in(*empty)
    for source in empty:
        logger.warning("%s: %s", source, _nothing_in(source))
    return Found(list(dict.fromkeys(found)), empty)


def _nothing_in(*sources: str) -> UnreadableError:
    if not sources:
        return UnreadableError("an image file", got="nothing", advice="Name a file, a folder or a pattern.")
    return UnreadableError(
        f"image files ({', '.join(SUFFIXES)}) or DICOM",
        got=f"none in {', '.join(sources)}",
        advice="Check the folder or the pattern.",
    )


def _files_of(source: str | Path) -> Sequence[Path | MediumStudy]:
    path = Path(source)
    if os.path.isdir(path):
        return _files_in(path)
    if os.path.isfile(path) and dicom.is_dicomdir(path):
        try:
            return _studies_of(path, dicom.studies_on(path))
        except UnreadableError:  # reading it raises it again, for this input alone
            return [path]
    if os.path.exists(path) or not glob.has_magic(str(source)):
        return [path]
    # ** also matches the files in a folder, so that the folder itself would add them a second time.
    is_deep = "**" in str(source)
    files: list[Path | MediumStudy] = []
    others: list[Path] = []
    for match in sorted(Path(name) for name in glob.glob(str(source), recursive=True)):
        if match.is_dir():
            studies = [] if is_deep else _study_in(match)
            files += studies
            others += [] if studies or is_deep else [match]
        else:
            (files if _is_wanted(match) else others).append(match)
    _log_skipped(source, files, others)
    return files


def _study_in(folder: Path) -> Sequence[Path | MediumStudy]:
    """The studies of a medium; else the folder itself if it holds DICOM, or its ultrasound pictures.

    Nothing for any other folder.
    """
    if studies := _studies_in(folder):
        return studies
    try:
        return dicom.pictures_in(folder) or [folder] * dicom.holds_dicom(folder)
    except UnreadableError:  # reading the folder raises it again, for this input alone
        return [folder]


def _studies_of(dicomdir: Path, studies: Mapping[str, Sequence[Path]]) -> Sequence[Path | MediumStudy]:
    """The studies of a medium; the ultrasound pictures of a study are images of their own."""
    name = dicomdir.parent.resolve().name
    is_enough = len(studies) == 1 and not _NAMES_OF_STUDIES.fullmatch(name)
    found: list[Path | MediumStudy] = []
    for uid, files in studies.items():
        pictures = dicom.pictures_among(files)
        found += pictures or [MediumStudy(files, name if is_enough else _with_digest(name, uid))]
    return found


def _studies_in(folder: Path) -> Sequence[Path | MediumStudy]:
    """The studies that a DICOMDIR in a folder lists; none where there is none that can be followed."""
    dicomdir = dicom.dicomdir_in(folder)
    if dicomdir is None:
        return []
    try:
        studies = dicom.studies_on(dicomdir)
    except UnreadableError as error:
        logger.warning("%s: its DICOMDIR was not followed: %s", folder, error)
        return []
    listed = {file for files in studies.values() for file in files}
    if not any(map(os.path.isfile, listed)):
        logger.warning("%s: its DICOMDIR was not followed: none of the files that it lists is here", folder)
        return []
    if others := sum(1 for file in dicom.dicom_files(folder) if file not in {*listed, dicomdir}):
        logger.warning(
            "%s: %d DICOM files were skipped, because its DICOMDIR does not list them", folder, others
        )
    return _studies_of(dicomdir, studies)


def _files_in(folder: Path) -> Sequence[Path | MediumStudy]:
    study = _study_in(folder)
    try:
        entries = list(folder.iterdir())
    except OSError:
        return [folder]
    images = [file for file in entries if _is_image(file) or _is_archive(file)]
    files = [source for source in study if isinstance(source, Path)]
    if len(files) < len(study):
        return study
    if files != [folder]:
        files = sorted({*images, *files})
        holding = {parent for file in files for parent in file.parents}
        _log_skipped(folder, files, [entry for entry in entries if entry not in {*files, *holding}])
        return files
    if images:
        logger.warning("%s: read as a DICOM study; %d other image files were skipped", folder, len(images))
    return [folder]


def _log_skipped(source: str | Path, files: Iterable[Path | MediumStudy], others: Iterable[Path]) -> None:
    """Log how many files of each kind were skipped as no image; hidden files are not counted."""
    voxels = DETACHED if any(str(file).lower().endswith((".mhd", ".nhdr")) for file in files) else ()
    kinds = Counter(
        "folder" if other.is_dir() else other.suffix.lower() or "file without an ending"
        for other in others
        if not other.name.startswith(".") and not other.name.lower().endswith(voxels)
    )
    if kinds:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        logger.warning("%s: skipped, because they are no images: %s", source, counts)


def case_name(source: Input) -> str:
    """The file name without its suffix (.nii.gz is one suffix), or the name of the DICOM files' folder.

    Programs give many DICOM studies the same name, such as archive.zip. Such a name gets a digest of the
    StudyInstanceUID: archive-3f9a2c71. So studies that are segmented one after the other into one folder stay
    apart, and no patient is named. The digest depends on the study alone, not on what else is in the folder.
    Such names are archive, dicom, dicomdir, export and download; for a zip archive or a saved multipart
    message also data, exam, file, image, scan, series and study; each in the plural and with a number too, as
    in "archive (2)". Any other name is taken to be chosen by a person and stays.
    """
    if isinstance(source, MediumStudy):
        return source.name
    stem = _stem(source)
    is_zip = isinstance(source, (str, Path)) and (
        str(source).lower().endswith(".zip") or dicom.saved_body(source) is not None
    )
    if not (_NAMES_OF_ZIPS if is_zip else _NAMES_OF_STUDIES).fullmatch(stem) or not is_study(source):
        return stem
    uid = dicom.study_uid(source)
    return _with_digest(stem, uid) if uid else stem


def _with_digest(stem: str, uid: str) -> str:
    return f"{stem}-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


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
    """Source to folder name: the case name, with -2, -3, ... where it is taken; letter case is ignored."""
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


def _is_wanted(match: Path) -> bool:
    """Whether a file that a pattern matches is an image or an archive; a DICOMDIR is a list of images."""
    is_study = match.is_file() and dicom.is_dicom(match) and match.name.upper() != "DICOMDIR"
    return _is_image(match) or _is_archive(match) or is_study


def _is_archive(path: Path) -> bool:
    """Whether it is a zip archive that may hold DICOM, or a damaged one, which raises an error when read.

    Or a multipart/related message of DICOM.
    """
    if not path.is_file() or path.name.startswith("."):
        return False
    if path.suffix.lower() != ".zip":
        return dicom.saved_body(path) is not None
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_may_be_dicom(archive, member) for member in archive.infolist() if not member.is_dir())
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return True


def _may_be_dicom(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if member.flag_bits & 1 or PurePosixPath(member.filename).suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with archive.open(member) as file:
            head = file.read(132)
            # Old files begin with an element of group 2 or 8.
            return head[128:] == b"DICM" or (head[:2] in (b"\2\0", b"\x08\0") and head[3:4] == b"\0")
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, zlib.error):
        return True


def shown(source: Input) -> str:
    """An input as text for the user."""
    return f"{len(source)} files in {source[0].parent}" if isinstance(source, tuple) else str(source)
