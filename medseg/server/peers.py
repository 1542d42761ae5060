"""A DICOM listener for peers that nobody vouches for: no read waits for ever, announced lengths have a limit.

pynetdicom reads from accepted connections without a limit of time, and as many bytes as a peer announces.
"""

from __future__ import annotations

import time
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

# An A-ASSOCIATE-RQ with 128 contexts of 30 syntaxes has less than 300 kB; for data this node asks for less.
LONGEST_PDU = 2**20
_CHUNK = 2**16


class BoundedServer(ThreadedAssociationServer):
    """An association server whose connections end after `idle_s` without the next whole PDU."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any, idle_s: float, **settings: Any) -> None:
        self.idle_s = idle_s
        super().__init__(*args, **{**settings, "request_handler": BoundedHandler})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: socketserver prints tracebacks."""


class BoundedHandler(RequestHandler):
    """Puts the bounds on the connection of an association."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        bound(association.dul.socket, self.server.idle_s)  # type: ignore[attr-defined]
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
    connection.recv = recv
