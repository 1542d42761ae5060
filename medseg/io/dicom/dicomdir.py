"""DICOMDIR: the list of the files on a medium, such as a disc that a patient brings (PS3.10, PS3.3 F).

Records are walked by their offsets, each once, so that a list that leads in circles ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError
from medseg.io.dicom.guarded import guarded
from medseg.io.dicom.quiet import quiet_pydicom

DICOMDIR = "DICOMDIR"
_CLASS = b"UI\x14\x001.2.840.10008.1.3.10"  # Media Storage Directory Storage
_HEAD_BYTES = 1024  # hold the file meta information, which tells the class
_INACTIVE = 0
# (0004,1200), (0004,1400), (0004,1420): where the first, the next and the lower record begin.
_FIRST = "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"
_NEXT, _LOWER = "OffsetOfTheNextDirectoryRecord", "OffsetOfReferencedLowerLevelDirectoryEntity"


def is_dicomdir(path: str | Path) -> bool:
    """Whether a file is a DICOMDIR by its content, whatever its name. False if it can't be read."""
    if not os.path.isfile(path):  # reading a pipe might never end
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head[128:132] == b"DICM" and _CLASS in head


def dicomdir_in(folder: str | Path) -> Path | None:
    """The DICOMDIR that lies directly in a folder, whatever the case of its letters."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.upper().partition(";")[0] == DICOMDIR)
    except OSError:
        return None
    return next((path for path in (Path(folder, name) for name in names) if is_dicomdir(path)), None)


def studies_on(dicomdir: Path) -> dict[str, list[Path]]:
    """The files that a DICOMDIR lists, by StudyInstanceUID, in the order of the list.

    A file that is missing on the medium is in the list too, so that reading it raises an error.

    Args:
        dicomdir: path of the DICOMDIR; what it lists lies in its folder.

    Raises:
        UnreadableError: it is damaged, lists no file, or lists one outside its folder.
    """
    folder = dicomdir.parent
    found: dict[str, list[Path]] = {}
    for study, names in _listed(dicomdir):
        found.setdefault(study, []).append(_place(folder, names))
    if not found:
        raise UnreadableError("a DICOMDIR with images", got="one that lists none", advice=_ADVICE)
    return {study: list(dict.fromkeys(files)) for study, files in found.items()}


_ADVICE = "Copy the medium again, or name the folder of one study on it."


def _listed(dicomdir: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """StudyInstanceUID and the parts of the path, of each record that names a file."""
    import pydicom

    try:
        with quiet_pydicom(), guarded(dicomdir) as stream:
            content = pydicom.dcmread(stream)
            records = {
                record.seq_item_tell: record for record in content.get("DirectoryRecordSequence") or ()
            }
            waiting, seen = [(int(content.get(_FIRST) or 0), "")], set()
            while waiting:
                offset, study = waiting.pop()
                if not offset or offset in seen:
                    continue
                seen.add(offset)
                record = records[offset]
                waiting.append((int(record.get(_NEXT) or 0), study))
                if record.get("RecordInUseFlag", 0xFFFF) == _INACTIVE:
                    continue
                study = str(record.get("StudyInstanceUID") or study)
                waiting.append((int(record.get(_LOWER) or 0), study))
                if names := _names(record):
                    yield study, names
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        if isinstance(error, OSError) and error.errno is not None:  # its own have none
            raise
        raise UnreadableError("a whole DICOMDIR", got="a damaged one", advice=_ADVICE) from error


def _names(record: Any) -> list[str]:
    value = record.get("ReferencedFileID")
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(name) for name in values]


def _place(folder: Path, names: Sequence[str]) -> Path:
    """The file that a record names by the parts of its path; letters of another case are the same.

    Raises:
        UnreadableError: it lies outside the folder.
    """
    path = folder
    for name in names:
        if not name.strip(".") or any(sign in name for sign in "/\\:\0"):
            raise _outside()
        path = _entry(path, name)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise _outside()
    return path


def _entry(folder: Path, name: str) -> Path:
    path = folder / name
    if os.path.lexists(path):
        return path
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return path
    alike = (other for other in names if other.upper().partition(";")[0] == name.upper())
    return folder / next(alike, name)


def _outside() -> UnreadableError:
    return UnreadableError(
        "a DICOMDIR whose files lie in its folder",
        got="one with a file outside",
        advice="Don't use this medium; ask its sender.",
    )
