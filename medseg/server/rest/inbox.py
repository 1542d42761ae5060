"""From a request to a job in the queue."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request

from medseg.server.metrics import Metrics
from medseg.server.queue import WAITING, Queue, QueueJob
from medseg.server.rest.orders import check_fields, order_of
from medseg.server.rest.refusal import Refusal
from medseg.server.rest.uploads import Upload, UploadLimits, receive, too_large

if TYPE_CHECKING:
    from medseg.server.config import RestConfig

MOST_FILES = 10_000
SPARE_BYTES = 1 << 30  # of the disk, below which nothing is accepted
_ID = re.compile(r"[0-9a-f]{32}")


class Inbox:
    """From a request to a job in the queue."""

    def __init__(
        self, queue: Queue, uploads: Path, config: RestConfig, submit: Callable[[], None], metrics: Metrics
    ) -> None:
        self.queue, self._uploads, self._submit, self._metrics = queue, uploads, submit, metrics
        self._waiting = config.limits.jobs_waiting
        size = int(config.limits.body_mb * 1_000_000)
        self._limits = UploadLimits(size, MOST_FILES, config.limits.upload_s)

    async def take(self, request: Request) -> QueueJob:
        query = _query_fields(request)
        check_fields(query)
        await asyncio.to_thread(self._require_room, request.headers.get("content-length", ""))
        folder = self._uploads / secrets.token_hex(16)
        try:
            folder.mkdir(parents=True)
            kind = request.headers.get("content-type", "")
            upload = await receive(request.stream(), kind, folder, self._limits)
            fields = {
                name: [*query.get(name, ()), *upload.fields.get(name, ())] for name in query | upload.fields
            }
            job = await asyncio.to_thread(self._add, folder, upload, fields)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._metrics.received(upload.size)
        self._submit()
        return job

    def _require_room(self, content_length: str) -> None:
        if content_length.isdigit() and int(content_length) > self._limits.body_bytes:
            raise too_large(self._limits)
        if self.queue.counts()[WAITING] >= self._waiting:
            raise Refusal(
                f"fewer than {self._waiting} jobs that wait",
                got="a full queue",
                advice="Try again later.",
                status=503,
                reason="busy",
                retry_after_s=60,
            )
        if shutil.disk_usage(self.queue.home).free < SPARE_BYTES:
            raise full_disk("less than 1 GB")

    def _add(self, folder: Path, upload: Upload, fields: Mapping[str, list[str]]) -> QueueJob:
        _require_one_image(upload.files)
        task, settings = order_of(fields)
        order = json.dumps([sorted(upload.files.values()), task, settings])
        identity = hashlib.sha256(order.encode()).hexdigest()
        settings["bytes"] = upload.size
        job, _ = self.queue.add(folder, origin="rest", identity=identity, task=task, settings=settings)
        return found_job(self.queue, job)


def _require_one_image(files: Mapping[str, str]) -> None:
    if files and (len(files) == 1 or all(name.endswith(".dcm") for name in files)):
        return
    raise Refusal(
        "one picture, volume or zip archive, or the DICOM files of one study",
        got=f"{len(files)} files of other kinds" if files else "no file",
        advice="Send each image as a job of its own.",
        status=422,
        reason="files",
    )


def full_disk(got: str) -> Refusal:
    return Refusal(
        "free space on the node's disk",
        got=got,
        advice="Try again later; the node's administrator has to make room.",
        status=507,
        reason="disk",
        retry_after_s=600,
    )


def _query_fields(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


def found_job(queue: Queue, job: str) -> QueueJob:
    found = queue.get(job) if _ID.fullmatch(job) else None
    if found is None:
        raise Refusal(
            "the id of a job",
            got="another",
            advice="List the jobs by GET /jobs.",
            status=404,
            reason="unknown",
        )
    return found
