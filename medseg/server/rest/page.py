"""The page of the queue, and how a browser comes in: a form that takes a token, then a cookie."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from medseg.reports.queue import PAGE_POLICY, login_page, queue_page
from medseg.server.queue import ENDED, Queue, QueueJob
from medseg.server.rest.answers import iso_time, job_answer
from medseg.server.rest.guard import COOKIE, session_of
from medseg.server.rest.refusal import Refusal
from medseg.server.rest.tokens import SESSION_S, Sessions

FORM_S, _FORM_BYTES = 10.0, 4096
_ON_PAGE = 200  # jobs


def add_page(app: FastAPI, queue: Queue, sessions: Sessions) -> None:
    policy = {"content-security-policy": PAGE_POLICY}

    @app.get("/", include_in_schema=False)
    def get_page() -> Response:
        jobs = [_row(job) for job in queue.jobs(limit=_ON_PAGE)]
        html = queue_page(counts=queue.counts(), jobs=jobs, now=iso_time(queue.now()) or "")
        return HTMLResponse(html, headers=policy)

    @app.get("/login", include_in_schema=False)
    def get_login() -> Response:
        return HTMLResponse(login_page(), headers=policy)

    @app.post("/login", include_in_schema=False)
    async def post_login(request: Request) -> Response:
        session = sessions.begin(await _form_token(request))
        if session is None:
            return HTMLResponse(login_page("No such token."), 401, headers=policy)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        kind: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": secure}
        answer.set_cookie(COOKIE, session, max_age=SESSION_S, **kind)
        return answer

    @app.post("/logout", include_in_schema=False)
    def post_logout(request: Request) -> Response:
        sessions.end(session_of(request.headers.get("cookie", "").encode("latin-1")))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer


async def _form_token(request: Request) -> str:
    """The token of the form; anyone may send one, so it must be short and come soon."""
    body = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FORM_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _FORM_BYTES:
                    break
            else:
                return parse_qs(body.decode("latin-1")).get("token", [""])[0].strip()
    raise Refusal(
        f"a form with a token, of at most {_FORM_BYTES} bytes, within {FORM_S:g} s",
        got="a longer or slower one",
        advice="Use the page.",
        status=408,
        reason="slow",
    )


def _row(job: QueueJob) -> dict[str, Any]:
    answer = job_answer(job)
    return {**answer.model_dump(), "is_live": job.state not in ENDED}
