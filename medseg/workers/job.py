"""One case to segment, how to segment it, and what became of it: what goes between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.io import Input

DONE, REFUSED, FAILED, CRASHED, TIMED_OUT = "done", "refused", "failed", "crashed", "timed_out"


@dataclass(frozen=True)
class Settings:
    """How to segment: the arguments of medseg.Segmenter. A worker keeps one Segmenter for each.

    Attributes:
        overrides: keys of inference.yaml and their values.
        weights, fold: replace the method's own weights; see medseg.Segmenter.
    """

    task: str
    method: str | None = None
    device: str = "auto"
    mode: str = "semantic"
    weights: str | None = None
    fold: int | None = None
    overrides: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Job:
    """One case.

    Attributes:
        key: tells this job from the others of the caller.
        source: a file, a folder or an archive; or the files of one DICOM series.
        output: the case's own folder, OUT/<case>.
        formats: empty for the usual ones of such an image.
        pixel_spacing_mm: of a picture that does not tell it.
        even_rejected: write the DICOM files of a rejected mask, too.
    """

    key: str
    source: tuple[str, ...]
    output: str
    settings: Settings
    formats: tuple[str, ...] = ()
    pixel_spacing_mm: float | None = None
    even_rejected: bool = False

    @property
    def input(self) -> Input:
        """The source as medseg.io reads it."""
        return Path(self.source[0]) if len(self.source) == 1 else tuple(map(Path, self.source))


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        key: the job's.
        state: done; refused (an input that `medseg segment` rejects by an InputError); failed (any other
            error); crashed (its process ended); timed_out (its process was ended).
        kind: the class of the error, such as UnreadableError, or "signal 9", "exit code 1", "timeout".
        text: for the user; it never names a patient.
        seconds: that the case took; with the loading of the model for the first one of a process.
        verdict: of a done case: pass, warn or reject.
        warnings: those of the result.
        input_sha256: as the result's provenance has it.
        outputs: the names of the files in the case's folder, and their SHA-256.
        worker: the process, as host:pid.
        is_full: the disk is full, or can't be written to: the next case would fail, too.
        is_settings: no model can be loaded with the settings: the next case would fail, too.
    """

    key: str
    state: str
    kind: str = ""
    text: str = ""
    seconds: float = 0.0
    verdict: str = ""
    warnings: tuple[str, ...] = ()
    input_sha256: str = ""
    outputs: tuple[tuple[str, str], ...] = ()
    worker: str = ""
    is_full: bool = False
    is_settings: bool = False
