"""Files from an archive by DIMSE: C-GET, or C-MOVE to a port of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medseg.archive.address import Archive
from medseg.archive.association import (
    MOST_CONTEXTS,
    application_entity,
    associated,
    connection_lost,
    require_success,
)
from medseg.archive.dimse import EXPLICIT, IMPLICIT
from medseg.archive.received import Contents
from medseg.errors import ArchiveRefusedError, MedsegError
from medseg.io.dicom.files import MOST_FILE_BYTES

_GET, _MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
_COMPRESSED = "1.2.840.10008.1.2."
# Asked for each by itself, so that an archive can send each file as it keeps it.
SYNTAXES = (
    *(EXPLICIT, IMPLICIT),
    *(_COMPRESSED + end for end in ("4.70", "4.80", "4.90", "4.91", "5", "4.50", "4.51", "4.57", "4.81")),
    *(_COMPRESSED + end for end in ("1.99", "2")),
)
# For an archive that doesn't tell the class: CT, MR, ultrasound, secondary capture, SEG, RTSTRUCT, SR.
_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("2", "2.1", "4", "6.1", "7", "66.4", "481.3", "88.33", "88.34")
)


def retrieve(
    archive: Archive, study: str, wanted: Mapping[str, Contents], add: Callable[[bytes], None]
) -> None:
    """Give the content of each file of the wanted series to `add`, encoded as it came.

    Raises:
        ArchiveAwayError: the archive can't be reached, or stops in the middle.
        ArchiveRefusedError: it says no.
        MedsegError, OSError: whatever `add` raises.
    """
    intake = _Intake(add)
    if archive.receive_port is None:
        for series, contents in wanted.items():
            _get(archive, study, series, contents, intake)
        return
    entity = application_entity(archive)
    with _receiving(archive, entity, wanted, intake):
        for series in wanted:
            _move(archive, entity, study, series, intake)


class _Intake:
    """Handlers of pynetdicom that keep what an archive stores, and the first error of keeping it."""

    def __init__(self, add: Callable[[bytes], None]) -> None:
        self._add, self._bytes = add, 0
        self.error: MedsegError | OSError | None = None

    def handlers(self) -> list[Any]:
        from pynetdicom import evt

        return [(evt.EVT_C_STORE, self.keep), (evt.EVT_DATA_RECV, self.count)]

    def keep(self, event: Any) -> int:
        """The status of one C-STORE."""
        self._bytes = 0
        if self.error is not None:
            return 0xA700
        try:
            self._add(event.encoded_dataset())
        except (MedsegError, OSError) as error:
            self.error = error
            return 0xA700 if isinstance(error, OSError) else 0xA900
        return 0x0000

    def count(self, event: Any) -> None:
        """Abort a file that never ends: pynetdicom keeps it in memory."""
        self._bytes += len(event.data) if event.assoc.is_established else 0
        if self._bytes > MOST_FILE_BYTES:
            self.error = self.error or ArchiveRefusedError(
                f"files of at most {MOST_FILE_BYTES} bytes",
                got="a larger one",
                advice="Fetch another series.",
            )
            event.assoc.dul.socket.close()  # to abort would wait for this very thread


def _get(archive: Archive, study: str, series: str, contents: Contents, intake: _Intake) -> None:
    from pynetdicom import build_context, build_role

    classes = _classes(contents)
    storage = _storage(classes, MOST_CONTEXTS - 1)
    roles = [build_role(uid, scp_role=True) for uid in classes]
    with associated(
        archive, [build_context(_GET), *storage], ext_neg=roles, evt_handlers=intake.handlers()
    ) as association:
        _follow(archive, association, study, series, _GET, intake)


def _move(archive: Archive, entity: Any, study: str, series: str, intake: _Intake) -> None:
    from pynetdicom import build_context

    with associated(archive, [build_context(_MOVE)], entity) as association:
        _follow(archive, association, study, series, _MOVE, intake)


def _follow(archive: Archive, association: Any, study: str, series: str, model: str, intake: _Intake) -> None:
    """Ask for a series and wait until the archive says that it is through."""
    from pydicom.dataset import Dataset

    service = "C-GET" if model == _GET else "C-MOVE"
    if model not in {str(context.abstract_syntax) for context in association.accepted_contexts}:
        raise ArchiveRefusedError(
            f"{service} by {archive}",
            got="an archive without it",
            advice="Fetch by C-MOVE, with a port to receive at." if model == _GET else "Fetch by C-GET.",
        )
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID, asked.SeriesInstanceUID = "SERIES", study, series
    if not association.is_established:
        raise connection_lost(archive)
    status = Dataset()
    if model == _GET:
        answers = association.send_c_get(asked, model)
    else:
        answers = association.send_c_move(asked, archive.calling, model)
    for latest, _ in answers:
        status = latest
        if intake.error is not None:
            break
    if intake.error is not None:
        raise intake.error
    require_success(archive, status, service)


@contextmanager
def _receiving(
    archive: Archive, entity: Any, wanted: Mapping[str, Contents], intake: _Intake
) -> Iterator[None]:
    """A C-STORE service for this archive alone, at its receive_port."""
    classes = dict.fromkeys(uid for contents in wanted.values() for uid in _classes(contents))
    entity.supported_contexts = _storage(list(classes), None)
    entity.require_called_aet, entity.require_calling_aet = True, [archive.ae_title]
    try:
        server = entity.start_server(("", archive.receive_port), block=False, evt_handlers=intake.handlers())
    except OSError as error:
        raise MedsegError(
            "a free port to receive at",
            got=f"{archive.receive_port} ({error.strerror})",
            advice="Name another one that the archive knows.",
        ) from error
    try:
        yield
    finally:
        server.shutdown()


def _classes(contents: Contents) -> list[str]:
    found = dict.fromkeys(contents.instances.values())
    return list(_CLASSES) if "" in found else list(found)


def _storage(classes: list[str], most: int | None) -> list[Any]:
    """Presentation contexts: each class with each syntax by itself, as far as `most` allows.

    None: for a service, which lists the syntaxes of a class together and has no such limit.
    """
    from pynetdicom import build_context

    if most is None:
        return [build_context(uid, list(SYNTAXES)) for uid in classes]
    few = SYNTAXES[: max(1, most // len(classes))]
    return [build_context(uid, syntax) for uid in classes[:most] for syntax in few]
