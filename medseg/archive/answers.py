"""What is sent to an archive, and what it answers to each file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.io.dicom.identity import Identity


@dataclass(frozen=True)
class File:
    """A DICOM file to send."""

    path: Path
    identity: Identity


@dataclass(frozen=True)
class Answer:
    """The archive's answer to one file.

    Attributes:
        warning: why it was stored with a change or a doubt; empty otherwise.
        refused: why it was not stored; empty otherwise.
    """

    file: File
    warning: str = ""
    refused: str = ""
