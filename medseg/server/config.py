"""What a node is told by its node.yaml: a model for each section, whose fields are the keys of the file.

Sizes are in MB of 10**6 bytes, times in seconds. Relative paths start from the folder of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from medseg.archive.address import Archive

MB = 10**6


def _ae_title(text: str) -> str:
    if not 0 < len(text.strip()) <= 16 or not text.isascii() or not text.isprintable() or "\\" in text:
        raise ValueError("an AE title of 1 to 16 ASCII characters")
    return text.strip()


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError("one of auto, cpu, cuda or cuda:N")
    return text


def _several(value: Any) -> Any:
    """A text stands for a list of one."""
    return (value,) if isinstance(value, str) else value


Text = Annotated[str, Field(strict=True, min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several)]
AETitle = Annotated[str, Field(strict=True), AfterValidator(_ae_title)]
Count = Annotated[int, Field(strict=True, ge=1)]
Amount = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(strict=True, ge=0, le=65535)]  # 0: any free one


class Section(BaseModel):
    """A part of the file: no other keys, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class DicomLimits(Section):
    """What a DICOM sender may use.

    Attributes:
        associations: at the same time.
        instance_mb: of one object; a larger one ends its association.
        instances: of one series.
        waiting_mb: of all images that are received or wait; beyond it objects are refused for a time.
        free_mb: that must stay free on the disk; else objects are refused.
        idle_s: without a byte of a sender, after which its association ends.
        instance_s: for one object from its first byte to its last.
    """

    associations: Count = 10
    instance_mb: Amount = 2048.0
    instances: Count = 20_000
    waiting_mb: Amount = 100_000.0
    free_mb: Annotated[float, Field(strict=True, ge=0)] = 1000.0
    idle_s: Amount = 30.0
    instance_s: Amount = 600.0


class Known(Section):
    """A sender that is let in: its AE title and, where given, the one host that may use it."""

    ae_title: AETitle
    host: Text | None = None


class DicomConfig(Section):
    """The DICOM service.

    Attributes:
        quiet_s: a series is complete when none of its instances has come for so long.
        known: the senders that are let in, and no other.
    """

    ae_title: AETitle = "MEDSEG"
    host: Text = "127.0.0.1"
    port: Port = 11112
    quiet_s: Amount = 5.0
    limits: DicomLimits = DicomLimits()
    known: tuple[Known, ...] = Field(min_length=1)


class RestLimits(Section):
    """What a REST client may use: size of a body, jobs that wait, and seconds for an upload."""

    body_mb: Amount = 2048.0
    jobs_waiting: Count = 1000
    upload_s: Amount = 600.0


class RestConfig(Section):
    """The REST service; tokens_file holds a bearer token a line."""

    host: Text = "127.0.0.1"
    port: Port = 8000
    tokens_file: Path
    limits: RestLimits = RestLimits()


class When(Section):
    """What a series must be like; each key that is given must match, by one of its patterns.

    A pattern may hold * and ?, and the case of letters doesn't matter.

    Attributes:
        modality: Modality (0008,0060).
        body_part: BodyPartExamined (0018,0015).
        description: SeriesDescription (0008,103E) or StudyDescription (0008,1030).
        calling_ae_title: the sender's.
    """

    modality: Texts = ()
    body_part: Texts = ()
    description: Texts = ()
    calling_ae_title: Texts = ()


class Rule(Section):
    """What becomes of a series that matches: which task, and where the result goes."""

    name: Text
    when: When = When()
    task: Text
    method: Text | None = None
    mode: Text = "semantic"
    formats: Texts = ()
    send_to: Texts = ()


class NodeConfig(Section):
    """All of a node.yaml.

    Attributes:
        home: the folder of the queue and of all jobs.
        workers: processes that segment; each has the models loaded.
        device: what networks run on: auto, cpu, cuda or cuda:N.
        timeout_s: for one segmentation.
        keep_days: for which ended jobs and their files are kept.
        dicom, rest: the services; one may be left out.
        archives: by name; see medseg.archive.address.
        rules: for DICOM; the first that matches counts.
    """

    home: Path
    workers: Count = 1
    device: Annotated[str, Field(strict=True), AfterValidator(_device)] = "auto"
    timeout_s: Amount = 1800.0
    keep_days: Amount = 7.0
    dicom: DicomConfig | None = None
    rest: RestConfig | None = None
    archives: dict[str, Archive] = {}
    rules: tuple[Rule, ...] = ()
