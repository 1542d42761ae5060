"""A DICOM listener for peers that nobody vouches for: no read waits for ever, announced lengths have a limit.

pynetdicom reads from accepted connections without a limit of time, and as many bytes as a peer announces.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

# An A-ASSOCIATE-RQ with 128 contexts of 30 syntaxes has less than 300 kB; for data this node asks for less.
LONGEST_PDU = 2**20
_CHUNK = 2**16
_STOP_S = 2.0
# Senders that write an object in two parts wait for an acknowledgement of the first: 40 ms without this.
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)


class BoundedServer(ThreadedAssociationServer):
    """An association server whose connections end after `idle_s` without the next whole PDU.

    Args:
        may_connect: whether an address may connect at all.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, *args: Any, idle_s: float, may_connect: Callable[[str], bool], **settings: Any
    ) -> None:
        self.idle_s, self._may_connect = idle_s, may_connect
        super().__init__(*args, **{**settings, "request_handler": BoundedHandler})

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Close connections of unknown hosts at once: they would take the places of others."""
        return self._may_connect(str(client_address[0]))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: socketserver prints tracebacks."""


class BoundedHandler(RequestHandler):
    """Puts the bounds on the connection of an association."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        bound(association.dul.socket, self.server.idle_s)  # type: ignore[attr-defined]
        forgive(association)
        association.daemon = association.dul.daemon = True  # a node that stops waits for no peer
        return association


def bound(connection: Any, idle_s: float) -> None:
    """Replace the reading of a pynetdicom AssociationSocket by one with limits.

    Args:
        connection: the AssociationSocket of an accepted connection.
        idle_s: for each part of a PDU, header or content, and for each write.
    """

    def recv(count: int) -> bytearray:
        if count > LONGEST_PDU:
            raise OSError(f"a PDU of {count} bytes was announced")
        if _QUICK_ACK is not None:  # forgotten by the system after a while, so it is said each time
            connection.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        deadline = time.monotonic() + idle_s
        content = bytearray()
        while len(content) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.socket.settimeout(left)
            part = connection.socket.recv(min(_CHUNK, count - len(content)))
            if not part:
                break
            content += part
        connection.socket.settimeout(idle_s)  # for writing
        return content

    connection.socket.settimeout(idle_s)
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.recv = recv


def forgive(association: Any) -> None:
    """End an association whose peer sends what the protocol forbids at this point.

    pynetdicom's thread would end by an exception there, and leave the connection open for a time.
    """
    act = association.dul.state_machine.do_action

    def do_action(event: str) -> None:
        try:
            act(event)
        except Exception:  # InvalidEventError, and what sending to a closed connection leads to
            end(association)

    association.dul.state_machine.do_action = do_action


def end(association: Any) -> None:
    """Close the connection of an association and let its threads end; from any thread, without waiting."""
    association.is_aborted, association.is_established = True, False
    association._kill = True
    association.dul._kill_thread = True
    association.dul.to_user_queue.put(None)  # for one that waits for its request
    if association.dul.socket is not None:
        association.dul.socket._shutdown_socket()


def stop_server(server: BoundedServer) -> None:
    """Listen no more, and end all associations, the established ones by an A-ABORT."""
    server.shutdown()
    for association in server.active_associations:
        if association.is_established:
            association.abort(block=False)
    deadline = time.monotonic() + _STOP_S
    while (left := server.active_associations) and time.monotonic() < deadline:
        time.sleep(0.1)  # for the A-ABORT to be sent
        for association in left:
            end(association)
