"""What stands before every route of the REST service: tokens, headers, the access log, unforeseen errors."""

from __future__ import annotations

import logging
import time
from http.cookies import CookieError, SimpleCookie
from typing import Any

from medseg.errors import MedsegError, error_text
from medseg.server.metrics import Metrics
from medseg.server.rest.tokens import Sessions, Tokens

logger = logging.getLogger(__name__)

COOKIE = "medseg_session"
OPEN = ("/healthz", "/login")  # paths without a token
HEAD_BYTES = 16_384
METHODS = ("GET", "HEAD", "POST", "DELETE")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_CLOSED = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Guard:
    """An ASGI application around another.

    A bearer token opens every path. The cookie of a browser's session opens what only reads, so that no page
    of another site can change anything. `scope["state"]["user"]` is the name of the user.

    Args:
        app: the application.
        tokens, sessions: who may come in.
        metrics: counts those who may not.
    """

    def __init__(self, app: Any, tokens: Tokens, sessions: Sessions, metrics: Metrics) -> None:
        self._app, self._tokens, self._sessions, self._metrics = app, tokens, sessions, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        answer = _Answer(send, time.monotonic())
        try:
            await self._answer(scope, receive, answer)
        except Exception as error:  # whose message may quote what was received
            logger.error("%s: %s", _shown(scope), error_text(error))  # noqa: TRY400
            self._metrics.refused("error")
            if answer.status:  # the client has a part of the answer: it must see that the rest is missing
                raise ConnectionError("the answer stops here") from None
            await send_problem(answer, 500, _UNFORESEEN)
        answer.log(scope)
        return None

    async def _answer(self, scope: Any, receive: Any, answer: _Answer) -> None:
        path = scope["path"]
        if _head_bytes(scope) > HEAD_BYTES:
            self._metrics.refused("size")
            return await send_problem(answer, 431, _LONG_HEAD)
        user = self._user(scope)
        if user is None and path not in OPEN:
            self._metrics.refused("token")
            if path == "/" and scope["method"] == "GET":
                return await send_login(answer, 401)
            return await send_problem(answer, 401, _NO_TOKEN, ((b"www-authenticate", b"Bearer"),))
        scope.setdefault("state", {})["user"] = user
        return await self._app(scope, receive, answer)

    def _user(self, scope: Any) -> str | None:
        headers = dict(scope["headers"])
        kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind:
            return self._tokens.name_of(token.strip()) if kind.lower() == "bearer" else None
        session = session_of(headers.get(b"cookie", b""))
        if scope["method"] in ("GET", "HEAD") or scope["path"] == "/logout":
            return self._sessions.name_of(session) if session else None
        return None


def _head_bytes(scope: Any) -> int:
    """The size of a request's head; h11 bounds only what is incomplete after one read of the socket."""
    fields = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    return fields + len(scope.get("raw_path") or b"") + len(scope["query_string"])


def session_of(cookie: bytes) -> str:
    """The session in the header Cookie; empty where there is none."""
    try:
        found = SimpleCookie(cookie.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


class _Answer:
    """ASGI's send, with the headers that every answer has."""

    def __init__(self, send: Any, begin: float) -> None:
        self._send, self._begin, self.status = send, begin, 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            policy = [] if b"content-security-policy" in names else [(b"content-security-policy", _CLOSED)]
            more = [(name, value) for name, value in _HEADERS if name not in names]
            message = {**message, "headers": [*own, *more, *policy]}
        await self._send(message)

    def log(self, scope: Any) -> None:
        seconds = time.monotonic() - self._begin
        user = scope.get("state", {}).get("user") or "-"
        is_question = (
            scope["method"] in ("GET", "HEAD") and self.status < 400
        )  # programs ask every few seconds
        level = logging.DEBUG if is_question else logging.INFO
        logger.log(level, "%s %s %d %.3f s", user, _shown(scope), self.status, seconds)


def _shown(scope: Any) -> str:
    """Method and route, never the path or the query, which are text of a sender."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    return f"{method} {getattr(scope.get('route'), 'path', '-')}"


_NO_TOKEN = MedsegError(
    "a header `Authorization: Bearer TOKEN` with a token of the node's file",
    got="none, or another token",
    advice="Ask for a token: `medseg serve --new-token NAME` makes one.",
)
_LONG_HEAD = MedsegError(
    f"a head of at most {HEAD_BYTES} bytes", got="a longer one", advice="Send fewer or shorter headers."
)
_UNFORESEEN = MedsegError(
    "a request that the node can answer", got="an unforeseen error", advice="The node's log says where."
)


def problem(error: MedsegError) -> dict[str, str]:
    """An error as the three parts that every refusal has."""
    return {"expected": error.expected, "got": error.got, "advice": error.advice}


async def send_problem(send: Any, status: int, error: MedsegError, headers: Any = ()) -> None:
    import json

    body = json.dumps(problem(error)).encode()
    await _send_all(send, status, body, (b"content-type", b"application/json"), *headers)


async def send_login(send: Any, status: int) -> None:
    from medseg.reports.queue import PAGE_POLICY, login_page

    html = login_page().encode()
    policy = (b"content-security-policy", PAGE_POLICY.encode())
    await _send_all(send, status, html, (b"content-type", b"text/html; charset=utf-8"), policy)


async def _send_all(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
