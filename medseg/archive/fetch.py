"""Fetch a study, or a series of it, from an archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.archive import dicomweb, dimse, retrieval
from medseg.archive.address import Archive
from medseg.archive.received import Contents, Received
from medseg.errors import ArchiveRefusedError, UsageError
from medseg.io.dicom.identity import is_uid
from medseg.io.dicom.quiet import quiet_pydicom


@dataclass(frozen=True)
class Fetched:
    """A study on disk.

    Attributes:
        folder: OUT/<digest of the StudyInstanceUID>, with a folder for each series.
        count: of files that have come.
    """

    folder: Path
    count: int


def fetch(study: str, from_: Archive, into: Path, *, series: str | None = None) -> Fetched:
    """Fetch all instances that an archive says it has of a study, or of one series.

    Files are named by digests of their UIDs, and appear when all of them have come.

    Args:
        study: StudyInstanceUID.
        from_: the archive.
        into: the folder OUT, created when it is missing.
        series: SeriesInstanceUID of the only series to fetch.

    Raises:
        UsageError: a UID is none.
        ArchiveAwayError: the archive can't be reached, stops in the middle, or sends less than it has.
        ArchiveRefusedError: it has no such study or series, says no, or sends something else.
        MedsegError: there are files of someone else where the series belongs.
        OSError: the files can't be written.
    """
    for uid in (study, *([series] if series else [])):
        if not is_uid(uid):
            raise UsageError("a UID: digits and dots", got=repr(uid[:70]), advice="Copy it from the archive.")
    service = dicomweb if from_.kind == "dicomweb" else dimse
    found = service.contents(from_, study, series)
    _require_uids(found, from_)
    if not any(contents.instances for contents in found.values()):
        raise ArchiveRefusedError(
            f"a {'series' if series else 'study'} in {from_}",
            got="none with this UID",
            advice="Check the UID, and what the archive lets you see.",
        )
    if series is not None:
        found = {uid: contents for uid, contents in found.items() if uid == series}
    with quiet_pydicom(), Received(into, study, found) as received:
        (dicomweb.retrieve if from_.kind == "dicomweb" else retrieval.retrieve)(
            from_, study, found, received.add
        )
        return Fetched(received.folder, received.finish())


def _require_uids(found: Mapping[str, Contents], archive: Archive) -> None:
    """An archive's UIDs go into addresses and queries; nothing else may."""
    uids = [*found, *(uid for contents in found.values() for uid in contents.instances)]
    classes = [uid for contents in found.values() for uid in contents.instances.values() if uid]
    if not all(map(is_uid, [*uids, *classes])):
        raise ArchiveRefusedError(
            f"UIDs from {archive}", got="something else", advice="Ask the archive's administrator."
        )
