"""What a node needs to know of a DICOM object that it has received: UIDs, what rules ask for, its pixels."""

from __future__ import annotations

import hashlib
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError
from medseg.io.dicom.files import DicomFile, opened
from medseg.io.dicom.identity import is_uid

_CHUNK = 2**20
_MOST_TEXT = 256  # a longer text of a header is cut: no rule asks for so much


@dataclass(frozen=True)
class Instance:
    """One DICOM object.

    Attributes:
        study, series, uid: its UIDs.
        pixels: SHA-256 of its pixel data as it is encoded; of the whole file for an object without pixels.
        modality, body_part, series_description, study_description: empty where they are missing.
        told: how many instances its series and its study have, where the object tells it.
    """

    study: str
    series: str
    uid: str
    pixels: str
    modality: str = ""
    body_part: str = ""
    series_description: str = ""
    study_description: str = ""
    told: tuple[int | None, int | None] = (None, None)


def read_instance(path: Path) -> Instance:
    """Read the header of a file, and its pixels once for their digest.

    Raises:
        UnreadableError: it is no DICOM file, it is damaged, or a UID is missing or none.
        OSError: it can't be read.
    """
    with opened([path]) as found:
        file = found.files[0]
        header = file.header
        uids = [_text(header, name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
        study, series, uid = uids
        if not all(uid and is_uid(uid) for uid in uids):
            raise UnreadableError(
                "a DICOM file with the UIDs of its study, series and instance",
                got="one without",
                advice="Repair it at its source.",
            )
        return Instance(
            study=study,
            series=series,
            uid=uid,
            pixels=_digest(path, file),
            modality=_text(header, "Modality"),
            body_part=_text(header, "BodyPartExamined"),
            series_description=_text(header, "SeriesDescription"),
            study_description=_text(header, "StudyDescription"),
            told=(
                _count(header, "NumberOfSeriesRelatedInstances"),
                _count(header, "NumberOfStudyRelatedInstances"),
            ),
        )


def silence_dicom() -> None:
    """Let pydicom and pynetdicom say nothing in this process, whose threads read DICOM all the time.

    What they would log or warn of may quote a patient's name.
    """
    import pydicom

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")
    warnings.filterwarnings("ignore", module="pynetdicom")
    for name in ("pydicom", "pynetdicom"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)


def _digest(path: Path, file: DicomFile) -> str:
    if file.pixel_tag is not None and _is_as_on_disk(path, file):
        with path.open("rb") as stream:
            stream.seek(file.pixel_start)
            digest = hashlib.sha256()
            while part := stream.read(_CHUNK):
                digest.update(part)
        return digest.hexdigest()
    content = memoryview(file.load())
    return hashlib.sha256(content[file.pixel_start if file.pixel_tag is not None else 0 :]).hexdigest()


def _is_as_on_disk(path: Path, file: DicomFile) -> bool:
    """Whether offsets count in the file itself, which isn't deflated."""
    syntax = file.header.file_meta.get("TransferSyntaxUID") if hasattr(file.header, "file_meta") else None
    return syntax is not None and str(syntax) != "1.2.840.10008.1.2.1.99" and path.stat().st_size > 0


def _text(header: Any, keyword: str) -> str:
    try:
        value = header.get(keyword)
    except Exception:  # pydicom raises whatever a damaged byte leads to
        return ""
    return "" if value is None else str(value).strip("\0 ")[:_MOST_TEXT]


def _count(header: Any, keyword: str) -> int | None:
    try:
        count = int(_text(header, keyword))
    except ValueError:
        return None
    return count if count > 0 else None
