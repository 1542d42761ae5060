"""Associations with an archive's DIMSE service, and what its rejections and statuses mean."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from medseg.archive.address import Archive
from medseg.archive.checkpoint import keep_apart
from medseg.errors import ArchiveAwayError, ArchiveRefusedError

CONNECT_S, ACSE_S, DIMSE_S, NETWORK_S = 10, 30, 60, 120
MOST_CONTEXTS = 128  # of one association, by the standard
_PDU_BYTES = 2**18
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
# Parts of a reject's answer: it is worth another try.
_TRANSIENT = 2


def application_entity(archive: Archive) -> Any:
    """pynetdicom's AE with medseg's own title and with limits of time."""
    from pynetdicom import AE, _config

    # pynetdicom logs what a peer sends, which may name a patient.
    logging.getLogger("pynetdicom").propagate = False
    _config.LOG_RESPONSE_IDENTIFIERS = _config.LOG_REQUEST_IDENTIFIERS = False
    entity = AE(ae_title=archive.calling)
    entity.connection_timeout, entity.acse_timeout = CONNECT_S, ACSE_S
    entity.dimse_timeout, entity.network_timeout = DIMSE_S, NETWORK_S
    entity.maximum_pdu_size = _PDU_BYTES
    return entity


@contextmanager
def associated(archive: Archive, contexts: Sequence[Any], entity: Any = None, **more: Any) -> Iterator[Any]:
    """An association with the archive, released at the end of the block.

    Args:
        archive: to which.
        contexts: pynetdicom's presentation contexts.
        entity: an application_entity that serves already; a new one by default.
        more: further arguments of AE.associate.

    Yields:
        pynetdicom's Association; established unless the archive accepts none of the contexts.

    Raises:
        ArchiveAwayError: the archive can't be reached, or is busy.
        ArchiveRefusedError: it rejects the association.
    """
    from pynetdicom import evt

    entity = entity or application_entity(archive)
    handlers = [
        (evt.EVT_CONN_OPEN, send_at_once),
        (evt.EVT_DATA_SENT, acknowledge_at_once),
        (evt.EVT_DATA_RECV, acknowledge_at_once),
        *more.pop("evt_handlers", ()),
    ]
    association = entity.associate(
        *(archive.host, archive.port, list(contexts), archive.ae_title, _PDU_BYTES),
        evt_handlers=handlers,
        **more,
    )
    if association.is_rejected:
        raise _rejection(archive, association)
    if not association.is_established and not association.rejected_contexts:
        raise ArchiveAwayError(
            f"an association with {archive}",
            got="no connection, or none that speaks DICOM",
            advice="Check host, port and network, and try again.",
        )
    keep_apart(association)
    try:
        yield association
    except BaseException:
        if association.is_established:
            association.abort()
        raise
    if association.is_established:
        association.release()


def send_at_once(event: Any) -> None:
    """Without this, each message waits some 40 ms for the acknowledgement of the one before (Nagle)."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(event: Any) -> None:
    """Likewise on the archive's side, which waits for us. The system forgets it, so it is said often."""
    connection = event.assoc.dul.socket
    if _QUICK_ACK is not None and connection is not None and connection.socket is not None:
        with suppress(OSError):  # it has just been closed
            connection.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def _rejection(archive: Archive, association: Any) -> ArchiveAwayError | ArchiveRefusedError:
    primitive = association.acceptor.primitive
    reason = primitive.reason_str
    if primitive.result == _TRANSIENT:
        return ArchiveAwayError(f"an association with {archive}", got=reason, advice="Try again later.")
    return ArchiveRefusedError(
        f"an association with {archive}",
        got=f"a rejection ({reason})",
        advice=f"Check the AE titles; the archive may have to know {archive.calling}.",
    )


def require_success(archive: Archive, status: Any, what: str) -> None:
    """Check the last status of a C-FIND, C-GET or C-MOVE; warnings pass, what they miss is counted later.

    Raises:
        ArchiveAwayError: no answer, or the archive is out of resources.
        ArchiveRefusedError: any other failure.
    """
    code = status.get("Status")
    if code is None:
        raise connection_lost(archive)
    if code == 0x0000 or code == 0xB000:
        return
    got = f"status {code:04X}H"
    if is_transient(code):
        raise ArchiveAwayError(f"{what} by {archive}", got=got, advice="Try again later.")
    advice = "Ask the archive's administrator."
    if code == 0xA801 or what == "C-MOVE":  # some archives have another code for an unknown destination
        advice = "The archive has to know medseg's AE title with its host and port, to which it sends."
    raise ArchiveRefusedError(f"{what} by {archive}", got=got, advice=advice)


def is_transient(code: int) -> bool:
    """Whether a status says that the archive is out of resources (A7xxH), or is stopping (FE00H)."""
    return code >> 8 == 0xA7 or code == 0xFE00


def connection_lost(archive: Archive) -> ArchiveAwayError:
    return ArchiveAwayError(f"an answer of {archive}", got="none", advice="Try again later.")
