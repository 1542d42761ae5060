"""Errors as answers: JSON of three parts with the status that fits."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from medseg.errors import MedsegError, UnreadableError, UsageError, file_error_text
from medseg.server.metrics import Metrics
from medseg.server.rest.guard import problem
from medseg.server.rest.inbox import full_disk
from medseg.server.rest.refusal import Refusal

logger = logging.getLogger(__name__)

_STATUS = {UsageError: (422, "order"), UnreadableError: (415, "image")}
_SEE = "GET /openapi.json lists all paths with their methods and fields."


def add_errors(app: FastAPI, metrics: Metrics) -> None:
    def answer(status: int, reason: str, error: MedsegError, headers: dict[str, str]) -> Response:
        metrics.refused(reason)
        return JSONResponse(problem(error), status, headers=headers)

    @app.exception_handler(MedsegError)
    def refuse(request: Request, error: MedsegError) -> Response:
        if isinstance(error, Refusal):
            wait = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
            return answer(error.status, error.reason, error, wait)
        status, reason = _STATUS.get(type(error), (400, "error"))
        return answer(status, reason, error, {})

    @app.exception_handler(OSError)
    def no_disk(request: Request, error: OSError) -> Response:
        logger.error("an upload was not kept: %s", file_error_text(error))
        return refuse(request, full_disk("a full or broken disk"))

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        metrics.refused("broken")
        return Response(status_code=400)  # which nobody reads

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(422, "order", UsageError("a valid query", got="another", advice=_SEE), {})

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> Response:
        what, reason = ("method", "method") if error.status_code == 405 else ("path", "path")
        known = UsageError(f"a {what} of the service", got="another", advice=_SEE)
        return answer(error.status_code, reason, known, dict(error.headers or {}))
