"""A follow-up as files: follow_up.json, report.html and maps of the change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.follow_up.change import Change
from medseg.follow_up.identity import RECORD, digest_of, require_own_folder
from medseg.follow_up.record import Comparison, FollowUp, ObjectChange, Visit
from medseg.io import write_mask
from medseg.io.atomic import atomic_files
from medseg.io.nifti import write as write_nifti
from medseg.reports.record import plain
from medseg.volume import Mask, Volume

PAGE = "report.html"
FORMAT, VERSION = "medseg-follow-up", 1


def save(follow_up: FollowUp, folder: str | Path) -> Path:
    """Write follow_up.json, report.html and the maps, all or none.

    An earlier follow-up of the same visits is replaced.

    Args:
        follow_up: from medseg.follow_up.comparison.follow.
        folder: created if it is missing.

    Raises:
        UsageError: the folder holds a result of `medseg segment`, or the follow-up of other visits.
        OSError: the files can't be written; nothing was.
    """
    from medseg.follow_up.page import write_follow_up_page

    folder = Path(folder)
    require_own_folder(folder, [visit.image for visit in follow_up.visits])
    with atomic_files(folder, _earlier(folder), last=RECORD) as stage:
        files = _write_maps(follow_up, stage)
        write_follow_up_page(stage / PAGE, follow_up)
        text = json.dumps(plain(record_of(follow_up, files)), indent=2, ensure_ascii=False, allow_nan=False)
        (stage / RECORD).write_text(text + "\n", encoding="utf-8")
    return folder


def _earlier(folder: Path) -> list[Path]:
    """The files of an earlier follow-up, by its record."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        names = [name for each in record["comparisons"] for name in each["maps"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        names = []
    return [folder / Path(name).name for name in (PAGE, *names)]


def _write_maps(follow_up: FollowUp, stage: Path) -> list[dict[str, str]]:
    """Name of a map to its file, for each comparison."""
    files = []
    for each in follow_up.comparisons:
        part = "" if len(follow_up.comparisons) == 1 else f"_{each.earlier + 1}_{each.later + 1}"
        files.append({name: _write_map(image, stage, name + part) for name, image in each.maps.items()})
    return files


def _write_map(image: Volume | Mask, stage: Path, stem: str) -> str:
    if isinstance(image, Mask):
        name = f"{stem}.nii.gz" if image.affine is not None else f"{stem}.png"
        write_mask(image, stage / name)
        return name
    write_nifti(image.array[0], np.asarray(image.affine), stage / f"{stem}.nii.gz")
    return f"{stem}.nii.gz"


def record_of(follow_up: FollowUp, maps: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """follow_up.json as a dictionary.

    Args:
        follow_up: the follow-up.
        maps: the files of each comparison's maps; None where none were written.
    """
    files = maps or [{} for _ in follow_up.comparisons]
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": follow_up.task,
        "visits": [_visit(each) for each in follow_up.visits],
        "comparisons": [
            _comparison(follow_up, each, own) for each, own in zip(follow_up.comparisons, files, strict=True)
        ],
        "tracks": [dataclasses.asdict(each) for each in follow_up.tracks],
        "warnings": list(follow_up.warnings),
        "notes": list(follow_up.notes),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"medseg": __version__},
    }


def _visit(visit: Visit) -> dict[str, Any]:
    kept = ("method", "bundle_version", "weights_sha256", "input_sha256", "date", "mode")
    return {
        "case": visit.case,
        "date": visit.date.isoformat(),
        "image_sha256": digest_of(visit.image),
        "acquisition": dict(visit.acquisition),
        "warnings": list(visit.warnings),
        "provenance": {key: visit.provenance[key] for key in kept if key in visit.provenance},
    }


def _comparison(follow_up: FollowUp, each: Comparison, maps: Mapping[str, str]) -> dict[str, Any]:
    return {
        "earlier": each.earlier,
        "later": each.later,
        "days": (follow_up.visits[each.later].date - follow_up.visits[each.earlier].date).days,
        "registration": each.registration,
        "changes": [_change(change) for change in each.changes],
        "objects": [_object(changed) for changed in each.objects],
        "maps": maps,
        "warnings": list(each.warnings),
    }


def _change(change: Change) -> dict[str, Any]:
    return dataclasses.asdict(change) | {"difference": change.difference, "relative": change.relative}


def _object(changed: ObjectChange) -> dict[str, Any]:
    return dataclasses.asdict(changed) | {
        "change": None if changed.change is None else _change(changed.change)
    }
