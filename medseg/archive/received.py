"""Files that an archive sends: checked, counted, and put into place when all of them are there."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from medseg.errors import ArchiveAwayError, ArchiveRefusedError, MedsegError
from medseg.io.dicom.identity import identity_of

# Files of an earlier fetch, which a newer one may replace.
_OURS = re.compile(r"[0-9a-f]{16}\.dcm")


@dataclass(frozen=True)
class Contents:
    """What an archive says that it holds of one series.

    Attributes:
        modality: such as CT; empty when it isn't told.
        instances: SOPInstanceUID to SOPClassUID, which is empty when it isn't told.
    """

    modality: str = ""
    instances: Mapping[str, str] = field(default_factory=dict)


class Received:
    """The files of a fetch, in a hidden folder until `finish` moves them to their places.

    Args:
        into: the folder OUT.
        study: StudyInstanceUID that was asked for.
        contents: SeriesInstanceUID to what is wanted of that series.

    Raises:
        OSError: the folder can't be written.
    """

    def __init__(self, into: Path, study: str, contents: Mapping[str, Contents]) -> None:
        self._study, self._contents = study, contents
        self._got: dict[str, set[str]] = {series: set() for series in contents}
        self._lock = Lock()
        self.folder = into / short_name(study)
        into.mkdir(parents=True, exist_ok=True)
        self._stage = into / f".medseg-{secrets.token_hex(4)}"
        self._stage.mkdir()

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._stage, ignore_errors=True)

    def add(self, content: bytes) -> None:
        """Keep one file.

        Raises:
            UnreadableError: it is no DICOM file.
            ArchiveRefusedError: nobody asked for it, or it has come before.
            OSError: it can't be written.
        """
        identity = identity_of(content)
        series = self._contents.get(identity.series)
        if identity.study != self._study or series is None or identity.instance not in series.instances:
            raise ArchiveRefusedError(
                "the instances that were asked for",
                got="another one",
                advice="Don't use what this archive sends; ask its administrator.",
            )
        with self._lock:
            if identity.instance in self._got[identity.series]:
                raise ArchiveRefusedError(
                    "each instance once", got="one a second time", advice="Ask the archive's administrator."
                )
            self._got[identity.series].add(identity.instance)
        folder = self._stage / short_name(identity.series)
        folder.mkdir(exist_ok=True)
        (folder / f"{short_name(identity.instance)}.dcm").write_bytes(content)

    def missing(self) -> str:
        """What has not come, such as "series 1 of 2 (CT): 3 of 120 instances"; empty when all is there."""
        texts = []
        for number, (uid, series) in enumerate(self._contents.items(), start=1):
            count = len(series.instances) - len(self._got[uid])
            if count:
                kind = f" ({series.modality})" if series.modality else ""
                of = f"series {number} of {len(self._contents)}{kind}"
                texts.append(f"{of}: {count} of {len(series.instances)} instances")
        return "; ".join(texts)

    def finish(self) -> int:
        """Put the series into the folder of the study, where they replace those of an earlier fetch.

        Returns:
            How many instances there are.

        Raises:
            ArchiveAwayError: some are missing; nothing is put into place then.
            MedsegError: a folder of the same name holds files of someone else.
        """
        if lost := self.missing():
            raise ArchiveAwayError(
                "all instances that the archive says it has",
                got=f"an answer without some ({lost})",
                advice="Fetch again: nothing was kept. If it stays so, ask the archive's administrator.",
            )
        places = {self.folder / stage.name: stage for stage in sorted(self._stage.iterdir())}
        for place in places:
            _require_ours(place)
        self.folder.mkdir(exist_ok=True)
        for place, stage in places.items():
            if place.exists():
                place.rename(self._stage / f"earlier-{place.name}")
            stage.rename(place)
        return sum(len(instances) for instances in self._got.values())


def short_name(uid: str) -> str:
    """A name for files and folders that is always the same for a UID and doesn't tell it."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def _require_ours(place: Path) -> None:
    """Raise MedsegError for a folder with files that no fetch has written."""
    others = (
        [path.name for path in place.iterdir() if not _OURS.fullmatch(path.name)] if place.exists() else []
    )
    if others:
        raise MedsegError(
            "a folder with nothing but an earlier fetch of the series",
            got=f"{place} with {len(others)} other files",
            advice="Move them away, or fetch into another folder.",
        )
