"""The DICOM service of a node: C-ECHO and C-STORE, as handlers given to pynetdicom's server.

An object is confirmed when it is on disk with its name, and not before. Nothing that a peer says is logged
but what the configuration already holds.
"""

from __future__ import annotations

import logging
import multiprocessing.util
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from medseg.errors import MedsegError, UnreadableError
from medseg.io.dicom.instance import read_instance
from medseg.server.config import MB, DicomConfig
from medseg.server.dicom.peers import BoundedServer
from medseg.server.dicom.series import Incoming, TooManyError

LOG = logging.getLogger("medseg.server")

SUCCESS, FULL, NO_MATCH, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000

# What medseg.io.dicom.decoding reads, and deflated files.
TRANSFER_SYNTAXES = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    *(
        f"1.2.840.10008.1.2.4.{end}"
        for end in ("50", "51", "57", "70", "80", "81", "90", "91", "201", "202", "203")
    ),
]
_MOST_UNANSWERED = 16  # objects of one association; senders wait for each answer, or should


@dataclass
class _Progress:
    """What an association has sent of its current object, and how many objects wait for an answer."""

    size: int = 0
    began: float = 0.0
    unanswered: int = 0
    ended: bool = False


class Receiver:
    """What the handlers share.

    Attributes:
        incoming: where objects are kept.
        queued_bytes: of the images of jobs that wait; whoever runs the node sets it.
        counts: what happened how often, for metrics: stored, repeated, refused_full, refused_damaged, ....
    """

    def __init__(self, config: DicomConfig, incoming: Incoming) -> None:
        self.config, self.incoming = config, incoming
        self.queued_bytes = 0
        self.counts: Counter[str] = Counter()
        self._progress: WeakKeyDictionary[Any, _Progress] = WeakKeyDictionary()

    def keep(self, path: Path, uid: str, sender: str) -> int:
        """Keep an object that was received to its end, and tell the status of the answer.

        Args:
            path: a file in `incoming.temporary`.
            uid: SOPInstanceUID that the request named.
            sender: AE title.
        """
        try:
            if not self._has_room(path.stat().st_size):
                return self._refused("full", FULL, "no room: the disk or dicom.limits.waiting_mb is used up")
            instance = read_instance(path)
            if instance.uid != uid:
                return self._refused("other_uid", NO_MATCH, "the request and the object name two instances")
            is_new = self.incoming.put(path, instance, sender)
        except UnreadableError:
            return self._refused("damaged", NOT_UNDERSTOOD, "the object is damaged or has no valid UIDs")
        except TooManyError:
            return self._refused("too_many", FULL, "its series has more than dicom.limits.instances")
        except OSError as error:
            return self._refused("full", FULL, f"the disk: {error.strerror or type(error).__name__}")
        self.counts["stored" if is_new else "repeated"] += 1
        return SUCCESS

    def lets_in(self, title: str, address: str) -> bool:
        """Whether an AE title may come from an address."""
        known = [sender for sender in self.config.known if sender.ae_title == title.strip()]
        return any(sender.host is None or address in _addresses(sender.host) for sender in known)

    def may_connect(self, address: str) -> bool:
        """Whether any known sender may come from an address; else not a byte is read."""
        known = self.config.known
        return any(sender.host is None or address in _addresses(sender.host) for sender in known)

    def note_data(self, association: Any, data: bytes) -> str:
        """Count a fragment of an object; the reason to end the association, or an empty text."""
        progress = self._progress.setdefault(association, _Progress())
        if progress.ended or data[0] & 1:  # a part of a command
            return ""
        now, limits = time.monotonic(), self.config.limits
        progress.began = progress.began or now
        progress.size += len(data) - 1
        reason = ""
        if progress.size > limits.instance_mb * MB:
            reason = f"an object of more than {limits.instance_mb:g} MB"
        elif now - progress.began > limits.instance_s:
            reason = f"an object that takes longer than {limits.instance_s:g} s"
        if data[0] & 2:  # the last part
            progress.size, progress.began = 0, 0.0
            progress.unanswered += 1
        if progress.unanswered > _MOST_UNANSWERED:
            reason = "objects sent without waiting for answers"
        progress.ended = bool(reason)
        return reason

    def note_answer(self, association: Any) -> None:
        self._progress.setdefault(association, _Progress()).unanswered -= 1

    def _has_room(self, size: int) -> bool:
        limits = self.config.limits
        waiting = self.incoming.size() + self.queued_bytes + size
        free = shutil.disk_usage(self.incoming.folder).free
        return waiting <= limits.waiting_mb * MB and free >= limits.free_mb * MB

    def _refused(self, what: str, status: int, text: str) -> int:
        self.counts[f"refused_{what}"] += 1
        LOG.warning("DICOM: an object was refused (0x%04X): %s", status, text)
        return status


def start_receiver(receiver: Receiver) -> tuple[AE, Any]:
    """Listen for associations, in threads of its own.

    Objects are written to HOME as they come in, so that they never fill the memory. That is a setting of
    pynetdicom for the whole process.

    Returns:
        pynetdicom's AE, whose shutdown() ends all, and its server, whose server_address holds the port.

    Raises:
        MedsegError: the port is in use or may not be used.
    """
    config = receiver.config
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    multiprocessing.util.get_temp_dir()  # chosen now: its sockets need a path shorter than HOME's may be
    tempfile.tempdir = str(receiver.incoming.temporary.absolute())
    ae = AE(ae_title=config.ae_title)
    ae.add_supported_context(Verification, TRANSFER_SYNTAXES[:2])
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES)
    ae.require_called_aet = True
    ae.require_calling_aet = [sender.ae_title for sender in config.known]
    ae.maximum_associations = config.limits.associations
    ae.maximum_pdu_size = 2**17
    ae.network_timeout = ae.acse_timeout = ae.dimse_timeout = config.limits.idle_s
    handlers: Any = [
        (evt.EVT_REQUESTED, handle_requested, [receiver]),
        (evt.EVT_REJECTED, handle_rejected, [receiver]),
        (evt.EVT_ACCEPTED, handle_accepted, [receiver]),
        (evt.EVT_PDU_RECV, handle_pdu, [receiver]),
        (evt.EVT_C_ECHO, handle_echo, [receiver]),
        (evt.EVT_C_STORE, handle_store, [receiver]),
    ]
    try:
        server = ae.make_server(
            (config.host, config.port),
            evt_handlers=handlers,
            server_class=BoundedServer,
            idle_s=config.limits.idle_s,
            may_connect=receiver.may_connect,
        )
    except OSError as error:
        raise port_error("dicom", config.host, config.port, error) from error
    ae._servers.append(server)
    threading.Thread(target=server.serve_forever, name="dicom", args=(0.1,), daemon=True).start()
    return ae, server


def port_error(section: str, host: str, port: int, error: OSError) -> MedsegError:
    """The error where a service can't listen."""
    return MedsegError(
        f"a free port for {section}",
        got=f"{host}:{port}: {error.strerror or type(error).__name__}",
        advice=f"End what uses it, or set {section}.port or {section}.host.",
    )


def handle_requested(event: Any, receiver: Receiver) -> None:
    """Reject a known AE title that comes from another host than its own."""
    association = event.assoc
    title, address = association.requestor.primitive.calling_ae_title, association.requestor.address
    known = {sender.ae_title for sender in receiver.config.known}
    if title in known and not receiver.lets_in(title, address):
        association.acse.send_reject(0x01, 0x01, 0x03)
        handle_rejected(event, receiver)
        association.kill()


def handle_rejected(event: Any, receiver: Receiver) -> None:
    """Say why, but not what the peer calls itself."""
    receiver.counts["rejected_associations"] += 1
    requestor = event.assoc.requestor
    if not receiver.lets_in(requestor.primitive.calling_ae_title, requestor.address):
        reason = "its AE title or host is not in dicom.known"
    elif requestor.primitive.called_ae_title.strip() != receiver.config.ae_title:
        reason = "it calls another AE title than dicom.ae_title"
    else:
        reason = "there are as many as dicom.limits.associations already"
    LOG.warning("DICOM: an association from %s was rejected: %s", requestor.address, reason)


def handle_accepted(event: Any, receiver: Receiver) -> None:
    """Say which kinds of objects or encodings the sender offered in vain."""
    receiver.counts["associations"] += 1
    rejected = event.assoc.rejected_contexts
    if not rejected:
        return
    receiver.counts["rejected_contexts"] += len(rejected)
    classes = sum(context.result == 0x03 for context in rejected)
    LOG.warning(
        "DICOM: %d of the kinds of objects that %s offered were not accepted: "
        "%d of an unknown kind, %d with an unknown transfer syntax",
        len(rejected),
        event.assoc.requestor.address,
        classes,
        len(rejected) - classes,
    )


def handle_pdu(event: Any, receiver: Receiver) -> None:
    """Count what comes in, and end an association that sends too much."""
    for item in getattr(event.pdu, "presentation_data_value_items", ()):
        data = item.presentation_data_value
        if data and (reason := receiver.note_data(event.assoc, data)):
            receiver.counts["aborted_associations"] += 1
            LOG.warning("DICOM: an association from %s was ended: %s", event.assoc.requestor.address, reason)
            event.assoc.abort(block=False)
            return


def handle_echo(event: Any, receiver: Receiver) -> int:
    receiver.counts["echoes"] += 1
    return SUCCESS


def handle_store(event: Any, receiver: Receiver) -> int:
    """Keep one object; the returned status is the answer."""
    path = Path(event.dataset_path)
    try:
        return receiver.keep(
            path, str(event.request.AffectedSOPInstanceUID), event.assoc.requestor.ae_title.strip()
        )
    finally:
        path.unlink(missing_ok=True)
        receiver.note_answer(event.assoc)


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
