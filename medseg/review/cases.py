"""The cases of a result folder, whole and broken ones."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.errors import UsageError
from medseg.review.order import BROKEN, expected_error

RECORD = "measurements.json"
MASKS = ("segmentation.nii.gz", "segmentation.png")


@dataclass(frozen=True)
class ReviewCase:
    """One case to review.

    Attributes:
        name: the path of its folder below the result folder, with slashes.
        folder: where it lies.
        record: the content of measurements.json; empty if that can't be read.
        mask: its label map; None if there is none.
        mask_sha256: of the bytes of that file; empty if there is none.
        problem: why it can't be reviewed, as a sentence; empty if it can.
    """

    name: str
    folder: Path
    record: dict[str, Any] = field(default_factory=dict)
    mask: Path | None = None
    mask_sha256: str = ""
    problem: str = ""

    @property
    def quality(self) -> dict[str, Any]:
        return _mapping(self.record.get("quality"))

    @property
    def verdict(self) -> str:
        """broken, reject, warn or pass."""
        if not self.record or self.problem:
            return BROKEN
        told = self.quality.get("verdict") or ("warn" if self.warnings else "pass")
        return told if told in ("reject", "warn", "pass") else "warn"

    @property
    def warnings(self) -> list[str]:
        found = self.record.get("warnings")
        return [str(text) for text in found] if isinstance(found, list) else []

    @property
    def predicted(self) -> dict[str, Any]:
        return _mapping(self.quality.get("predicted_dice"))

    @property
    def provenance(self) -> dict[str, Any]:
        return _mapping(self.record.get("provenance"))

    @property
    def is_reviewed(self) -> bool:
        """Whether a decision was applied to it."""
        return bool(self.record.get("review"))

    @property
    def labels(self) -> dict[int, str]:
        """Value to name, background included; values that are no whole numbers are left out."""
        named = _mapping(self.record.get("labels")).items()
        return {int(value): str(name) for value, name in named if str(value).isdecimal()}


def find_cases(out: Path) -> list[ReviewCase]:
    """The cases in a result folder and in the folders directly in it, those to open first in front.

    Raises:
        UsageError: `out` is no folder, is itself a case, or holds none.
    """
    if not out.is_dir():
        raise UsageError("a folder with results", got=f"{out}, which is none", advice="Check the path.")
    if is_case(out):
        raise UsageError(
            "a folder that holds the folders of cases",
            got=f"{out}, which is a case itself",
            advice="Name the folder above it, the -o of `medseg segment`.",
        )
    cases = [_read(folder, folder.relative_to(out).as_posix()) for folder in _folders(out)]
    if not cases:
        raise UsageError(
            "a folder with results", got=f"none in {out}", advice="Name the -o of `medseg segment`."
        )
    return sorted(cases, key=_urgency)


def is_case(folder: Path) -> bool:
    """Whether a folder holds a result, or what is left of one."""
    return any((folder / name).is_file() for name in (RECORD, *MASKS))


def _urgency(case: ReviewCase) -> tuple[object, ...]:
    """What was reviewed comes last if it is whole; `quality` is still that of the automatic mask."""
    return (
        case.is_reviewed and case.verdict != BROKEN,
        *expected_error(case.verdict, case.predicted, len(case.warnings)),
        case.name,
    )


def _folders(out: Path) -> Iterator[Path]:
    for folder in _below(out):
        if is_case(folder):
            yield folder
        else:
            yield from (inner for inner in _below(folder) if is_case(inner))


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(folder: Path, name: str) -> ReviewCase:
    mask = next((folder / mask for mask in MASKS if (folder / mask).is_file()), None)
    try:
        digest = hashlib.sha256(mask.read_bytes()).hexdigest() if mask else ""
    except OSError:
        mask, digest = None, ""
    record = _record(folder)
    if record is None:
        problem = "measurements.json is missing or can't be read. Segment the image again."
        return ReviewCase(name, folder, {}, mask, digest, problem)
    problem = "" if mask else f"There is no {' or '.join(MASKS)}. Segment the image again with that format."
    return ReviewCase(name, folder, record, mask, digest, problem)


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        text = (folder / RECORD).read_text("utf-8")
        record = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("labels"), dict) and "measurements" in record
    return record if whole else None


def _finite(text: str) -> float:
    """A number of strict JSON; Python would also take NaN, and 1e999 for infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
