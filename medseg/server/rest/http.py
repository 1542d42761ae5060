"""A server for the REST service in a thread: uvicorn, with bounds for connections that do nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from medseg.errors import MedsegError
from medseg.server.rest.guard import HEAD_BYTES

logger = logging.getLogger(__name__)

CONNECTIONS = 512  # beyond which requests are answered by 503
HEAD_S = 20.0  # for the head of a request, or the rest of a body that nobody wants any more
STALL_S = 60.0  # for a client to take more of an answer
_START_S = 30.0


class _Protocol(H11Protocol):
    """uvicorn's, which ends a connection that no request is being answered on, or whose client does not read.

    uvicorn waits without end for the head of a first request, for each further byte of a head, and for a
    client to take the answer.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._go_on()

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering:
            self._go_on()

    def on_response_complete(self) -> None:
        self._wait(HEAD_S)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(STALL_S)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_answering:
            self._go_on()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._go_on()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class RestServer:
    """The service, listening from the beginning to stop().

    Args:
        app: an ASGI application.
        host, port: where it listens; port 0 is any free one.

    Attributes:
        port: the port.

    Raises:
        MedsegError: it can't listen there.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        listening = _bound(host, port)
        self.port: int = listening.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=5,
        )
        # Guard tells of errors; uvicorn would add a traceback, and a line for each broken request.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="rest", daemon=True
        )
        self._thread.start()
        begin = time.monotonic()
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() - begin > _START_S:
                raise MedsegError("a REST service that starts", got="none", advice="The node's log says why.")
            time.sleep(0.01)
        if host not in ("127.0.0.1", "localhost", "::1"):
            logger.warning("REST listens at %s without encryption: put a proxy with TLS before it", host)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer what is being answered, for some seconds, and listen no more."""
        self._server.should_exit = True
        self._thread.join(timeout=15)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise MedsegError(
            "a free port for rest",
            got=f"{host}:{port}: {error.strerror or type(error).__name__}",
            advice="End what uses it, or set rest.port or rest.host.",
        ) from error
    return found
