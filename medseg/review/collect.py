"""Reviewed cases as a data set to train on: a manifest, and the files that it refers to."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.io import Input, is_study, read_volume
from medseg.io.atomic import atomic_files, atomic_path
from medseg.review.cases import ReviewCase, find_cases
from medseg.review.decisions import date_of
from medseg.review.measuring import read_labels, require_same_grid
from medseg.sources import source_of
from medseg.volume import Mask

logger = logging.getLogger(__name__)

_WANTED = ("accepted", "edited")
_MODE = "semantic"
_SUBJECTS = (
    "Whose images these are is not known: each image counts as a subject of its own. Where several are of "
    "one patient, give them the same `subject` before the data are split."
)


def collect_corrected(
    out: str | Path, manifest: str | Path, images: Sequence[str | Path] = ()
) -> dict[str, Any]:
    """Collect the cases that a reviewer accepted or edited into a manifest (see medseg.data.manifests).

    The masks are copied into the folder <manifest>_data beside the manifest, so that a later review does not
    change them. An image that is one file is referred to by its path. A DICOM series is copied as NIfTI, and
    its headers are left out.

    Args:
        out: a folder of results.
        manifest: the file to write; it must not exist.
        images: files, folders or patterns where the images are looked for first.

    Returns:
        The content of the manifest; all items are in the split training. Of several cases of one image
        the one that was reviewed last is there, and the log has a warning.

    Raises:
        UsageError: the manifest exists, or `out` holds no results.
        UnsuitableError: no case was accepted or edited, they are of several tasks or hold numbers of objects,
            or an image is not found. Nothing was written.
        OSError: a file can't be written.
    """
    target = Path(manifest)
    data = target.with_name(f"{target.stem}_data")
    for path in (target, data):
        if os.path.lexists(path):
            raise UsageError("a new manifest", got=f"{path}, which exists", advice="Choose another name.")
    cases = _once_each(_wanted(find_cases(Path(out))))
    sources = {case.name: source_of(case.folder, images) for case in cases}
    stems = dict(zip((case.name for case in cases), _stems(cases), strict=True))
    with atomic_files(data, [], last="") as stage:
        items = [_item(case, sources[case.name], stage, data, stems[case.name]) for case in cases]
        content = _content(target.stem, cases, items, _digests(items, stage, data))
    try:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    return content


def _wanted(cases: Sequence[ReviewCase]) -> list[ReviewCase]:
    """The accepted and edited cases, by name; all must be of one kind."""
    found = [case for case in cases if not case.problem and _verdict(case) in _WANTED]
    if not found:
        raise UnsuitableError(
            "cases that a reviewer accepted or edited",
            got=f"none among {len(cases)}",
            advice="Review them first, and apply the decisions by `medseg review --apply`.",
        )
    kinds = {(str(case.record.get("task")), json.dumps(case.record["labels"])) for case in found}
    if len(kinds) > 1:
        raise UnsuitableError(
            "cases of one task with the same labels",
            got=f"those of {', '.join(sorted({task for task, _ in kinds}))}",
            advice="Collect each task from a folder of its own.",
        )
    others = [case.name for case in found if case.provenance.get("mode", _MODE) != _MODE]
    if others:
        raise UnsuitableError(
            f"masks of the mode {_MODE}, to train on",
            got=f"others in {', '.join(others[:5])}{' and more' if len(others) > 5 else ''}",
            advice="Move these cases to another folder first.",
        )
    return sorted(found, key=lambda case: case.name)


def _once_each(cases: Sequence[ReviewCase]) -> list[ReviewCase]:
    """Of the cases of one image the one that was reviewed last: a manifest names an image once."""
    last: dict[str, ReviewCase] = {}
    for case in sorted(cases, key=_reviewed_on):
        last[str(case.provenance.get("input_sha256") or case.name)] = case
    for case in cases:
        kept = last[str(case.provenance.get("input_sha256") or case.name)]
        if kept is not case:
            logger.warning(
                "%s is left out: %s has the same image, and its review is the last", case.name, kept.name
            )
    return [case for case in cases if case in last.values()]


def _reviewed_on(case: ReviewCase) -> float:
    """Seconds since 1970; 0 if the date is not known."""
    try:
        return date_of(case.record["review"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0


def _verdict(case: ReviewCase) -> str:
    review = case.record.get("review")
    return str(review.get("verdict")) if isinstance(review, dict) else ""


def _stems(cases: Sequence[ReviewCase]) -> list[str]:
    """A file name for each case, all different."""
    stems: list[str] = []
    for case in cases:
        stem, number = case.name.replace("/", "_"), 2
        while stem in stems:
            stem, number = f"{case.name.replace('/', '_')}-{number}", number + 1
        stems.append(stem)
    return stems


def _item(case: ReviewCase, source: Input, stage: Path, data: Path, stem: str) -> dict[str, str]:
    """Copy what has to be copied of one case into `stage`, which becomes `data`."""
    mask = Path(str(case.mask))
    label = f"{stem}_label.{mask.name.partition('.')[2]}"
    shutil.copyfile(mask, stage / label)
    image = os.path.abspath(str(source))
    if mask.suffix != ".png" and is_study(source):
        _write_nifti(case, source, stage / f"{stem}.nii.gz")
        image = str(data.absolute() / f"{stem}.nii.gz")
    return {"image": image, "label": str(data.absolute() / label), "subject": case.name}


def _write_nifti(case: ReviewCase, source: Input, path: Path) -> None:
    """Write the series that was segmented as NIfTI."""
    from medseg.bundle import open_bundle
    from medseg.io import nifti

    volume = read_volume(source, open_bundle(str(case.record.get("task"))).metadata.get("modality"))
    mask = read_labels(Path(str(case.mask)), case.record)
    grid = Mask(volume.array[0], affine=volume.affine)
    require_same_grid(mask, grid, f"the mask of {case.name}")
    nifti.write(volume.array[0], np.asarray(volume.affine), path)


def _content(
    name: str, cases: Sequence[ReviewCase], items: Sequence[dict[str, str]], digests: dict[str, str]
) -> dict[str, Any]:
    first = cases[0].record
    verdicts = [_verdict(case) for case in cases]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in _WANTED)
    return {
        "name": name,
        "description": f"Masks of {first.get('task')} that a person has reviewed: {counts}. {_SUBJECTS}",
        "labels": first["labels"],
        "licence": "not known: that of the images",
        "publisher": "not published",
        "citation": "none",
        "urls": [],
        "training": list(items),
        "validation": [],
        "test": [],
        "sha256": digests,
    }


def _digests(items: Sequence[dict[str, str]], stage: Path, data: Path) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the manifest; copies still lie in `stage`."""
    from medseg.bundle import sha256

    paths = [Path(item[key]) for item in items for key in ("image", "label")]
    return {
        str(path): sha256(stage / path.name if path.parent == data.absolute() else path) for path in paths
    }
