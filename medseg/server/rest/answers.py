"""What the REST service tells of a job, and of an error."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from medseg.server.queue import QueueJob
from medseg.server.rest.results import result_files


class JobAnswer(BaseModel):
    """A job. Times are ISO 8601 in UTC."""

    id: str
    state: str = Field(
        description="received, waiting, running, delivering (it is done, its result goes to archives), done, "
        "set_aside (not done, see reason) or cancelled"
    )
    reason: str = Field(description="why it waits for another attempt, was set aside or cancelled")
    task: str
    origin: str = Field(description="rest or dicom")
    rule: str = Field(description="the rule of node.yaml that a DICOM series matched")
    attempts: int
    received: str
    started: str | None
    finished: str | None
    verdict: str = Field(description="pass, warn or reject, as quality.verdict of measurements.json")
    warnings: list[str]
    seconds: float | None = Field(description="that the segmentation took")
    files: list[str] = Field(description="names under /jobs/{id}/results/")


class Problem(BaseModel):
    """What medseg needed, what it got instead, and what to do."""

    expected: str
    got: str
    advice: str


class Health(BaseModel):
    """Whether the node is well, and each of its parts."""

    is_well: bool
    parts: dict[str, bool]


def job_answer(job: QueueJob) -> JobAnswer:
    """All that is told of a job."""
    return JobAnswer(
        **{
            name: getattr(job, name)
            for name in ("id", "state", "reason", "task", "origin", "rule", "attempts")
        },
        started=iso_time(job.started),
        finished=iso_time(job.finished),
        received=iso_time(job.received) or "",
        verdict=str(job.result.get("verdict") or ""),
        warnings=[str(text) for text in job.result.get("warnings", ())],
        seconds=job.result.get("seconds"),
        files=[file.name for file in result_files(job)],
    )


def iso_time(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
