"""Which instance a DICOM file is: the UIDs of its study, series and itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io.dicom.guarded import guarded
from medseg.io.dicom.quiet import quiet_pydicom

_TAGS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Identity:
    """UIDs of one DICOM instance, and how its file is encoded."""

    study: str
    series: str
    instance: str
    sop_class: str
    syntax: str


def identity_of(source: Path | bytes) -> Identity:
    """The identity of a file, of which the header is read alone.

    Args:
        source: a path, or the content of a file.

    Raises:
        UnreadableError: it is no DICOM file with these UIDs.
        OSError: the file can't be read.
    """
    import pydicom

    try:
        with quiet_pydicom(), guarded(source) as stream:
            header = pydicom.dcmread(
                stream,
                stop_before_pixels=True,
                specific_tags=list(_TAGS),
            )
            study, series, instance, sop_class = (str(header.get(tag) or "") for tag in _TAGS)
            syntax = str(header.file_meta.get("TransferSyntaxUID") or "")
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        if isinstance(error, OSError) and error.errno is not None:  # its own have none
            raise
        raise _unreadable(source) from error
    if not all(map(is_uid, (study, series, instance, sop_class, syntax))):
        raise _unreadable(source)
    return Identity(study, series, instance, sop_class, syntax)


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID: digits and dots, at most 64 characters."""
    parts = text.split(".")
    return len(text) <= 64 and all(part.isascii() and part.isdigit() for part in parts)


def _unreadable(source: Path | bytes) -> UnreadableError:
    name = source.name if isinstance(source, Path) else "other content"
    return UnreadableError(
        "a DICOM file with the UIDs of its study, series and instance",
        got=name,
        advice="Get it again from its source.",
    )
