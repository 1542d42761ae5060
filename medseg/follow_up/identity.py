"""Which images a follow-up is of: the same one twice, dates that can't be, and a folder of other visits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from medseg.errors import UsageError
from medseg.volume import Volume

RECORD = "follow_up.json"
FIRST_YEAR = 1900


def digest_of(image: Volume) -> str:
    """SHA-256 of an image's voxels: the same for one image in another format or under other names."""
    voxels = np.ascontiguousarray(image.array)
    return hashlib.sha256(f"{voxels.shape} {voxels.dtype.str}".encode() + voxels.tobytes()).hexdigest()


def require_different_images(cases: Sequence[str], images: Sequence[Volume]) -> None:
    """Refuse one image that is given twice.

    Raises:
        UsageError: two of the images are the same.
    """
    known: dict[str, str] = {}
    for case, image in zip(cases, images, strict=True):
        other = known.setdefault(digest_of(image), case)
        if other != case:
            raise UsageError(
                "a different image for each time",
                got=f"the same image in {other} and {case}",
                advice="Name the image of the other time.",
            )


def require_possible_date(day: date, case: str) -> None:
    """Refuse a date that no study can have.

    Raises:
        UsageError: it lies in the future or before 1900.
    """
    if day.year < FIRST_YEAR or day > date.today():
        raise UsageError(
            f"dates of studies from {FIRST_YEAR} to today",
            got=f"{day.isoformat()} for {case}",
            advice="Correct --dates. If the headers are wrong, give all dates by --dates.",
        )


def require_own_folder(folder: str | Path, images: Sequence[Volume]) -> None:
    """Refuse a folder that holds a result of one image, or the follow-up of other visits.

    Raises:
        UsageError: it does.
    """
    folder = Path(folder)
    if (folder / "measurements.json").exists():
        raise UsageError(
            "a folder of its own for the follow-up",
            got=f"{folder.name}, which holds the result of one image",
            advice="Name another folder by -o.",
        )
    if not (folder / RECORD).exists():
        return
    if _digests_in(folder) != sorted(map(digest_of, images)):
        raise UsageError(
            "a folder without the follow-up of other visits",
            got=f"{folder.name}, which holds one",
            advice="Name another folder by -o, or remove the earlier follow-up first.",
        )


def _digests_in(folder: Path) -> list[str]:
    """Of the visits of an earlier follow-up; none where its record can't be read."""
    try:
        visits = json.loads((folder / RECORD).read_text("utf-8"))["visits"]
        return sorted(str(visit["image_sha256"]) for visit in visits)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
