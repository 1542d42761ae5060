"""The REST service: jobs come in as uploads, are asked about, and give their results.

Whatever got 202 is in the queue and on disk. Errors are JSON of three parts: expected, got, advice.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer

from medseg.errors import UsageError, did_you_mean
from medseg.server.metrics import Metrics
from medseg.server.queue import STATES, Queue, QueueJob
from medseg.server.rest.answers import Health, JobAnswer, Problem, job_answer
from medseg.server.rest.guard import Guard
from medseg.server.rest.inbox import SPARE_BYTES, Inbox, found_job
from medseg.server.rest.openapi import POST_JOB
from medseg.server.rest.page import add_page
from medseg.server.rest.problems import add_errors
from medseg.server.rest.refusal import Refusal
from medseg.server.rest.results import result_files, zipped
from medseg.server.rest.tokens import Sessions, Tokens

if TYPE_CHECKING:
    from medseg.server.config import RestConfig

logger = logging.getLogger(__name__)


def build_app(
    queue: Queue,
    config: RestConfig,
    submit: Callable[[], None],
    counters: Metrics,
    *,
    cancel: Callable[[str], None],
    health: Callable[[], Mapping[str, bool]],
) -> FastAPI:
    """The service as an ASGI application. Uploads that an earlier process did not finish are removed.

    Args:
        queue: where jobs go.
        config: tokens_file, and limits with body_mb, jobs_waiting and upload_s.
        submit: called when a job was added.
        counters: counts what is received and refused.
        cancel: stops the job of an id where it is running; it is cancelled in the queue by then.
        health: the node's other parts by name, and whether each is well.

    Raises:
        MedsegError: the file of tokens has none, or can't be read.
    """
    tokens = Tokens(config.tokens_file)
    sessions = Sessions(tokens)
    uploads = queue.home / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)
    app = FastAPI(
        title="medseg node",
        description="Post an image, ask for its job, fetch the result. All paths but /healthz need a token.",
        docs_url=None,  # which would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    add_errors(app, counters)
    _add_jobs(app, Inbox(queue, uploads, config, submit, counters), cancel, submit)
    _add_results(app, queue)
    _add_watch(app, queue, counters, health)
    add_page(app, queue, sessions)
    app.add_middleware(Guard, tokens=tokens, sessions=sessions, metrics=counters)
    return app


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 404, 408, 409, 413, 415, 422, 503, 507)
}
_TOKEN = [Security(HTTPBearer(auto_error=False))]  # for the description; Guard lets nobody else in


def _add_jobs(app: FastAPI, inbox: Inbox, cancel: Callable[[str], None], submit: Callable[[], None]) -> None:
    queue = inbox.queue
    more: dict[str, Any] = {"responses": _PROBLEMS, "dependencies": _TOKEN}

    @app.post("/jobs", status_code=202, openapi_extra=POST_JOB, **more)
    async def post_job(request: Request) -> JobAnswer:
        """Segment one picture, volume, zip archive, or the DICOM files of one study.

        The same image with the same settings gives the job that is there already.
        """
        return await asyncio.to_thread(job_answer, await inbox.take(request))

    @app.get("/jobs", **more)
    def list_jobs(state: str | None = None, limit: str = "100") -> list[JobAnswer]:
        """The latest jobs, in all states or in one."""
        if state is not None and state not in STATES:
            raise UsageError("a state of a job", got="another", advice=did_you_mean(state[:99], STATES))
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= 1000:
            raise UsageError("a limit from 1 to 1000", got="another", advice="Ask for fewer jobs.")
        return [job_answer(job) for job in queue.jobs([state] if state else STATES, int(limit[:9]))]

    @app.get("/jobs/{job}", **more)
    def get_job(job: str) -> JobAnswer:
        """State, reason, warnings and verdict."""
        return job_answer(found_job(queue, job))

    @app.delete("/jobs/{job}", **more)
    def cancel_job(job: str) -> JobAnswer:
        """Cancel a job that has not ended; a running one is stopped."""
        found = found_job(queue, job)
        if not queue.cancel(job):
            raise _wrong_state("a job that has not ended", found, "Nothing is left to cancel.")
        cancel(job)
        return job_answer(found_job(queue, job))

    @app.post("/jobs/{job}/again", status_code=202, **more)
    def do_again(job: str) -> JobAnswer:
        """Try a job once more that was set aside, when its cause is mended; with a result it is only sent."""
        found = found_job(queue, job)
        if not queue.again(job):
            raise _wrong_state(
                "a job that was set aside and of which no other does the same",
                found,
                "What no rule matches is sent again once there is one.",
            )
        submit()
        return job_answer(found_job(queue, job))


def _add_results(app: FastAPI, queue: Queue) -> None:
    more: dict[str, Any] = {"responses": _PROBLEMS, "dependencies": _TOKEN}

    @app.get("/jobs/{job}/results", response_class=StreamingResponse, **more)
    def get_results(job: str) -> Response:
        """All files of the result as a zip archive."""
        files = _results(queue, job)
        name = {"content-disposition": f'attachment; filename="{job}.zip"'}
        return StreamingResponse(zipped(files, job), media_type="application/zip", headers=name)

    @app.get("/jobs/{job}/results/{name}", response_class=StreamingResponse, **more)
    def get_result(job: str, name: str) -> Response:
        """One file of the result."""
        file = next((file for file in _results(queue, job) if file.name == name), None)
        if file is None:
            raise Refusal(
                "the name of a result file",
                got="another",
                advice=f"GET /jobs/{job} lists them.",
                status=404,
                reason="unknown",
            )
        # A page of the result runs its own scripts, apart from this site and its cookie.
        page = {"content-security-policy": "sandbox allow-scripts"} if file.suffix == ".html" else {}
        shown = "inline" if file.suffix in (".html", ".png", ".json") else "attachment"
        return FileResponse(file, filename=file.name, headers=page, content_disposition_type=shown)


def _results(queue: Queue, job: str) -> list[Path]:
    found = found_job(queue, job)
    files = result_files(found)
    if not files:
        raise _wrong_state("a job that is done", found, f"GET /jobs/{job} tells how far it is, and why.")
    return files


def _wrong_state(expected: str, job: QueueJob, advice: str) -> Refusal:
    return Refusal(expected, got=f"one that is {job.state}", advice=advice, status=409, reason="state")


def _add_watch(
    app: FastAPI, queue: Queue, metrics: Metrics, health: Callable[[], Mapping[str, bool]]
) -> None:
    @app.get("/healthz", responses={503: {"model": Health}})
    def get_health() -> Response:
        """Whether the node and its parts are well; needs no token."""
        parts = {"queue": True, "disk": True}
        try:
            queue.counts()
            parts["disk"] = shutil.disk_usage(queue.home).free >= SPARE_BYTES
        except Exception as error:  # a queue that can't answer is not well, whatever the cause
            logger.warning("the queue does not answer: %s", type(error).__name__)
            parts["queue"] = False
        parts |= health()
        is_well = all(parts.values())
        return JSONResponse(Health(is_well=is_well, parts=parts).model_dump(), 200 if is_well else 503)

    @app.get("/metrics", dependencies=_TOKEN)
    def get_metrics() -> Response:
        """Counts and times in Prometheus' form."""
        return Response(metrics.text(), media_type="text/plain; version=1.0.0; charset=utf-8")
