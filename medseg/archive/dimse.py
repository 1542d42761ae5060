"""DIMSE: whether an archive answers (C-ECHO), what it holds (C-FIND), and files to it (C-STORE)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from medseg.archive.address import Archive
from medseg.archive.answers import Answer, File
from medseg.archive.association import (
    MOST_CONTEXTS,
    associated,
    connection_lost,
    is_transient,
    require_success,
)
from medseg.archive.received import Contents
from medseg.errors import ArchiveAwayError, ArchiveRefusedError

MOST_MATCHES = 100_000
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_VERIFICATION = "1.2.840.10008.1.1"
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def echo(archive: Archive) -> None:
    """Ask whether the archive answers.

    Raises:
        ArchiveAwayError: it can't be reached.
        ArchiveRefusedError: it rejects the association.
    """
    from pynetdicom import build_context

    with associated(archive, [build_context(_VERIFICATION)]) as association:
        _require_context(archive, association, "C-ECHO")
        require_success(archive, association.send_c_echo(), "C-ECHO")


def contents(archive: Archive, study: str, series: str | None = None) -> dict[str, Contents]:
    """What the archive says that it holds of a study: SeriesInstanceUID to instances; empty for nothing.

    Raises:
        ArchiveAwayError: it can't be reached, or stops in the middle.
        ArchiveRefusedError: it says no.
    """
    from pynetdicom import build_context

    found: dict[str, Contents] = {}
    with associated(archive, [build_context(_FIND)]) as association:
        _require_context(archive, association, "C-FIND")
        query = {"StudyInstanceUID": study, "SeriesInstanceUID": series or "", "Modality": ""}
        for item in _find(archive, association, "SERIES", query):
            uid = str(item.get("SeriesInstanceUID") or "")
            query = {
                "StudyInstanceUID": study,
                "SeriesInstanceUID": uid,
                "SOPInstanceUID": "",
                "SOPClassUID": "",
            }
            instances = {
                str(image.get("SOPInstanceUID") or ""): str(image.get("SOPClassUID") or "")
                for image in _find(archive, association, "IMAGE", query)
            }
            found[uid] = Contents(str(item.get("Modality") or ""), instances)
    return found


def store(archive: Archive, files: Iterable[File]) -> Iterator[Answer]:
    """Send files and give the archive's answer to each.

    An uncompressed file goes in Explicit or Implicit VR Little Endian, as the archive wishes; a compressed
    one as it is or not at all.

    Raises:
        ArchiveAwayError: it can't be reached or is out of resources; files already answered for are stored.
        ArchiveRefusedError: it rejects the association.
    """
    for batch in _batches(list(files)):
        with associated(archive, _contexts(batch)) as association:
            for file in batch:
                yield _store(archive, association, file)


def _batches(files: Sequence[File]) -> Iterator[list[File]]:
    """Files whose SOP classes and syntaxes fit into one association."""
    batch: list[File] = []
    for file in files:
        if len(_wanted([*batch, file])) > MOST_CONTEXTS:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _wanted(files: Iterable[File]) -> set[tuple[str, tuple[str, ...]]]:
    """SOP class and the syntaxes to choose from, of each file."""
    return {
        (
            file.identity.sop_class,
            (EXPLICIT, IMPLICIT) if file.identity.syntax in (EXPLICIT, IMPLICIT) else (file.identity.syntax,),
        )
        for file in files
    }


def _contexts(files: Iterable[File]) -> list[Any]:
    from pynetdicom import build_context

    return [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in sorted(_wanted(files))]


def _store(archive: Archive, association: Any, file: File) -> Answer:
    accepted = {(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in association.accepted_contexts}
    identity = file.identity
    plain = identity.syntax in (EXPLICIT, IMPLICIT)
    syntaxes = (EXPLICIT, IMPLICIT) if plain else (identity.syntax,)
    if not any((identity.sop_class, syntax) in accepted for syntax in syntaxes):
        return Answer(file, refused=f"SOP class {identity.sop_class} in transfer syntax {identity.syntax}")
    if not association.is_established:
        raise connection_lost(archive)
    try:
        status = association.send_c_store(file.path)
    except RuntimeError as error:  # the association ended in between
        raise connection_lost(archive) from error
    except (AttributeError, ValueError) as error:
        return Answer(file, refused=f"a file that can't be encoded ({type(error).__name__})")
    code = status.get("Status")
    if code is None:
        raise connection_lost(archive)
    text = f"status {code:04X}H"
    if is_transient(code):
        raise ArchiveAwayError(f"room for a file in {archive}", got=text, advice="Try again later.")
    if code == 0x0000:
        return Answer(file)
    return (
        Answer(file, warning=text)
        if code >> 12 == 0xB or code in (0x0001, 0x0107, 0x0116)
        else Answer(file, refused=text)
    )


def _find(archive: Archive, association: Any, level: str, query: dict[str, str]) -> list[Any]:
    """The answers to a C-FIND."""
    from pydicom.dataset import Dataset

    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in query.items():
        setattr(asked, keyword, value)
    if not association.is_established:
        raise connection_lost(archive)
    found: list[Any] = []
    status = Dataset()
    for status, item in association.send_c_find(asked, _FIND):
        if status.get("Status") in (0xFF00, 0xFF01):
            found += [] if item is None else [item]
        if len(found) > MOST_MATCHES:
            raise ArchiveRefusedError(
                f"at most {MOST_MATCHES} matches", got="more", advice="Check the study's UID."
            )
    require_success(archive, status, "C-FIND")
    return found


def _require_context(archive: Archive, association: Any, service: str) -> None:
    if not association.accepted_contexts:
        raise ArchiveRefusedError(
            f"{service} by {archive}", got="an archive without it", advice="Ask the archive's administrator."
        )
