"""Send DICOM files to an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.archive import dicomweb, dimse
from medseg.archive.address import Archive
from medseg.archive.answers import Answer, File
from medseg.errors import ArchiveAwayError, ArchiveRefusedError, UnreadableError
from medseg.io.dicom.files import dicom_files
from medseg.io.dicom.identity import identity_of
from medseg.io.dicom.quiet import quiet_pydicom

_MOST_NAMED = 5
# What medseg.review puts behind the names of a mask that a person has rejected.
PUT_AWAY = ".rejected"


@dataclass(frozen=True)
class Sent:
    """What an archive has stored.

    Attributes:
        count: of files.
        warnings: what it changed or doubted, by file name.
    """

    count: int
    warnings: tuple[str, ...] = ()


def send(paths: Sequence[Path], to: Archive) -> Sent:
    """Send files, and those of folders that are DICOM. To send what is there already does no harm.

    Args:
        paths: DICOM files, or folders whose DICOM files are meant, in subfolders too; not hidden ones, no
            DICOMDIR, and no masks that a person has rejected.
        to: the archive.

    Raises:
        UnreadableError: a file is missing or no DICOM, or there is none; nothing has been sent then.
        ArchiveAwayError: the archive can't be reached, or is out of order; some files may be stored.
        ArchiveRefusedError: it says no to some of the files; all others are stored.
    """
    files = [File(path, identity_of(path)) for path in files_of(paths)]
    store = dicomweb.store if to.kind == "dicomweb" else dimse.store
    answers: list[Answer] = []
    try:
        with quiet_pydicom():
            for answer in store(to, files):
                answers.append(answer)
    except ArchiveAwayError as error:
        stored = sum(not answer.refused for answer in answers)
        raise ArchiveAwayError(
            error.expected, got=f"{error.got}; {stored} of {len(files)} files are stored", advice=error.advice
        ) from error
    if refused := [answer for answer in answers if answer.refused]:
        named = "; ".join(f"{answer.file.path.name}: {answer.refused}" for answer in refused[:_MOST_NAMED])
        named += "; ..." if len(refused) > _MOST_NAMED else ""
        raise ArchiveRefusedError(
            "an archive that takes every file",
            got=f"{to}, which refused {len(refused)} of {len(files)} ({named})",
            advice="Check the address, and ask the archive's administrator what it accepts.",
        )
    return Sent(
        len(answers),
        tuple(f"{answer.file.path.name}: {answer.warning}" for answer in answers if answer.warning),
    )


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The DICOM files that paths stand for, each once.

    Raises:
        UnreadableError: a path does not exist, or there is no DICOM file in a folder.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in dicom_files(path) if _is_meant(file.relative_to(path)))
            if not inside:
                raise UnreadableError("DICOM files", got=f"none in {path}", advice="Name another folder.")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise UnreadableError(
                "DICOM files", got=f"{path}, which does not exist", advice="Check the path."
            )
    if not found:
        raise UnreadableError("DICOM files", got="none", advice="Name a file or a folder.")
    return list(found)


def _is_meant(inside: Path) -> bool:
    """Whether a file of a folder is sent, by its path in that folder."""
    is_hidden = any(part.startswith(".") for part in inside.parts)
    return not is_hidden and inside.name.upper() != "DICOMDIR" and inside.suffix != PUT_AWAY
