"""The visits of a follow-up: read, or segmented, and refused where they can't be compared.

Whether two images are of one person is told by their DICOM headers, compared as digests: no name or number
leaves this module, and no message holds one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import InputError, UnreadableError, UnsuitableError, UsageError
from medseg.follow_up.headers import acquisition_of, differences, require_one_patient, study_date
from medseg.follow_up.record import Visit
from medseg.io import Input, case_names, find_inputs, read_mask, read_volume
from medseg.outputs import SegmentationResult
from medseg.sources import RECORD, source_of
from medseg.volume import Mask, Volume

MASKS = ("segmentation.nii.gz", "segmentation.png")
SAME_GRID_MM = 0.05  # the largest distance of a voxel in the mask and in the image
ALIKE = {
    "task": "the task",
    "method": "the method",
    "weights_sha256": "the weights",
    "bundle_version": "the version of the bundle",
}


Segment = Callable[[Input], SegmentationResult]


@dataclass(frozen=True, eq=False)
class Times:
    """What was read for a follow-up.

    Attributes:
        visits: in the order of their dates.
        results: case to the result of an image that was segmented for it.
        warnings, notes: sentences.
    """

    visits: list[Visit]
    results: Mapping[str, SegmentationResult]
    warnings: list[str]
    notes: list[str]


@dataclass(frozen=True, eq=False)
class _Time:
    """An argument: the folder of a result with its record, or an image to segment."""

    case: str
    source: Input
    folder: Path | None = None
    record: Mapping[str, Any] | None = None


def times_of(
    sources: Sequence[str | Path],
    images: Sequence[str | Path] = (),
    dates: Sequence[date] = (),
    segment: Segment | None = None,
) -> Times:
    """Read the visits of one patient.

    Args:
        sources: folders of results (OUT/<case>), and images or DICOM studies to segment.
        images: where the images of results are looked for; see medseg.sources.source_of.
        dates: of the studies, in the order of the sources; empty to take them from the headers.
        segment: segments an image; None where all sources are results.

    Raises:
        UsageError: fewer than two times; dates that are missing, of another number, or equal; an image to
            segment, and no task for it; or results of different tasks, methods, weights or versions, or of a
            mode other than semantic.
        UnreadableError: a folder without a result, or a file that can't be read.
        UnsuitableError: images of two patients or of two sides; an image that is gone or has changed; or a
            mask on another grid.
    """
    if len(sources) < 2:
        raise UsageError(
            "two or more times of one patient",
            got=f"{len(sources)}",
            advice="Name the earlier result, then the later one.",
        )
    if dates and len(dates) != len(sources):
        raise UsageError(
            f"{len(sources)} dates, one for each time",
            got=f"{len(dates)}",
            advice="Give --dates in the order of the results.",
        )
    found = _named([_time(source) for source in sources])
    _require_alike(found, images)
    results: dict[str, SegmentationResult] = {}
    visits = []
    for number, each in enumerate(found):
        given = dates[number] if dates else None
        visits.append(_visit(each, images, given, segment, results))
    _require_one_origin(visits, images, found)
    warnings = require_one_patient([visit.image.headers for visit in visits])
    ordered = _ordered(visits)
    notes = [] if ordered == visits else ["the visits were put in the order of their dates"]
    return Times(ordered, results, [*warnings, *differences(ordered)], notes)


def _time(source: str | Path) -> _Time:
    path = Path(source)
    if (path / RECORD).is_file():
        return _Time(path.resolve().name, path, path, _record(path))
    inner = sorted(each.parent.name for each in path.glob(f"*/{RECORD}")) if path.is_dir() else []
    if inner:
        raise UsageError(
            "the folder of one case",
            got=f"{path.name}, which holds {len(inner)}",
            advice=f"Name one of them, such as {path / inner[0]}.",
        )
    inputs = find_inputs([source])
    if len(inputs) != 1:
        raise UsageError(
            "one image or study for each time",
            got=f"{len(inputs)} in {path.name}",
            advice="Name each by itself.",
        )
    return _Time(next(iter(case_names(inputs).values())), inputs[0])


def _record(folder: Path) -> Mapping[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        record = None
    wanted = ("task", "labels", "measurements", "provenance")
    if not isinstance(record, dict) or any(key not in record for key in wanted):
        raise UnreadableError(
            f"a whole {RECORD}", got=f"a damaged one in {folder.name}", advice="Segment the image anew."
        )
    return record


def _named(found: Sequence[_Time]) -> list[_Time]:
    """The same with names that differ: two result folders of two days may have one name."""
    taken: dict[str, int] = {}
    named = []
    for each in found:
        taken[each.case] = taken.get(each.case, 0) + 1
        more = f"-{taken[each.case]}" if taken[each.case] > 1 else ""
        named.append(dataclasses.replace(each, case=each.case + more))
    return named


def _require_alike(found: Sequence[_Time], images: Sequence[str | Path]) -> None:
    """Refuse results that were not made in one way; medseg compares no others."""
    records = [each.record for each in found if each.record is not None]
    for record in records:
        mode = record["provenance"].get("mode", "semantic")
        if mode != "semantic":
            raise UsageError(
                "results of the mode semantic", got=f"one of {mode}", advice=_anew(found, images)
            )
    made = [{"task": record["task"], **record["provenance"]} for record in records]
    for key, noun in ALIKE.items():
        first, *others = [each.get(key) for each in made] or [None]
        other = next((value for value in others if value != first), first)
        if other != first:
            raise UsageError(
                f"results that agree in {noun}",
                got=f"{_short(first)} and {_short(other)}",
                advice=_anew(found, images) if key != "task" else "Compare results of one task.",
            )


def _anew(found: Sequence[_Time], images: Sequence[str | Path]) -> str:
    """The command that segments all images of some results anew, in one way, and compares them."""
    names = []
    for each in found:
        try:
            source = each.source if each.folder is None else source_of(each.folder, images)
        except InputError:
            source = Path(f"IMAGE-OF-{each.case}")
        names.append(str(Path(source[0]).parent if isinstance(source, tuple) else source))
    task = next(each.record["task"] for each in found if each.record is not None)
    return f"Segment all anew: medseg follow-up {' '.join(names)} --task {task} -o OUT."


def _short(value: Any) -> str:
    """A value for a message; of a digest the start."""
    values = value if isinstance(value, list) else [value]
    return ", ".join("none" if each is None else str(each)[:12] for each in values[:3])


def _visit(
    time: _Time,
    images: Sequence[str | Path],
    given: date | None,
    segment: Segment | None,
    results: dict[str, SegmentationResult],
) -> Visit:
    if time.folder is not None:
        visit = _saved(time, time.folder, images)
    else:
        visit, results[time.case] = _segmented(time, segment)
    return dataclasses.replace(visit, date=given or study_date(visit.image.headers, time.case))


def _saved(time: _Time, folder: Path, images: Sequence[str | Path]) -> Visit:
    """The visit of a result folder."""
    record = time.record or {}
    labels = {int(value): name for value, name in record["labels"].items()}
    path = next((folder / name for name in MASKS if (folder / name).is_file()), None)
    if path is None:
        raise UnreadableError(
            f"a mask: {' or '.join(MASKS)}",
            got=f"none in {folder.name}",
            advice="Segment the image anew, with the usual formats.",
        )
    mask = read_mask(path, labels)
    image = read_volume(source_of(folder, images), modality_of(record["task"]))
    _require_one_grid(mask, image, time.case)
    spacing = mask.pixel_spacing_mm or image.pixel_spacing_mm
    mask = dataclasses.replace(mask, affine=image.affine, pixel_spacing_mm=spacing, headers=image.headers)
    return Visit(
        time.case,
        date.min,
        mask,
        image,
        record["measurements"],
        record["provenance"],
        acquisition=acquisition_of(image),
        warnings=record.get("warnings", []),
    )


def _segmented(time: _Time, segment: Segment | None) -> tuple[Visit, SegmentationResult]:
    if segment is None:
        raise UsageError(
            "a task to segment images with",
            got=f"{time.case}, an image, and no --task",
            advice="Add --task, such as --task lung_ct, or name the folders of results.",
        )
    result = segment(time.source)
    image = read_volume(time.source, modality_of(result.provenance["task"]))
    visit = Visit(
        time.case,
        date.min,
        result.mask,
        image,
        result.measurements,
        result.provenance,
        result.window,
        result.field_of_view,
        acquisition_of(image),
        result.warnings,
    )
    return visit, result


def _require_one_grid(mask: Mask, image: Volume, case: str) -> None:
    shape = image.array.shape[1:]
    if mask.array.shape != shape:
        raise UnsuitableError(
            f"a mask of the shape {shape} for {case}, that of its image",
            got=f"shape {mask.array.shape}",
            advice="Name the image that was segmented by --images, or segment it anew.",
        )
    if mask.affine is None or image.affine is None:
        return
    corners = np.array(np.meshgrid(*((0, n - 1) for n in shape), [1])).reshape(4, -1)
    apart = np.linalg.norm(((mask.affine - image.affine) @ corners)[:3], axis=0).max()
    if apart > SAME_GRID_MM:
        raise UnsuitableError(
            f"a mask on the grid of the image for {case}",
            got=f"one that lies {apart:.1f} mm beside it",
            advice="Name the image that was segmented by --images, or segment it anew.",
        )


def _require_one_origin(
    visits: Sequence[Visit], images: Sequence[str | Path], found: Sequence[_Time]
) -> None:
    """Refuse results beside images that were just segmented in another way, and two kinds of image."""
    made = [
        {"task": visit.provenance.get("task"), **visit.provenance, "mode": visit.provenance.get("mode")}
        for visit in visits
    ]
    for key, noun in ALIKE.items():
        other = next((each.get(key) for each in made if each.get(key) != made[0].get(key)), None)
        if any(each.get(key) != made[0].get(key) for each in made):
            raise UsageError(
                f"visits that agree in {noun}",
                got=f"{_short(made[0].get(key))} and {_short(other)}",
                advice=_anew(found, images),
            )
    if len({visit.mask.affine is None for visit in visits}) > 1:
        raise UnsuitableError(
            "images of one kind",
            got="a picture and a volume",
            advice="Compare images of one modality and one part of the body.",
        )


def _ordered(visits: Sequence[Visit]) -> list[Visit]:
    """By date; refused where two are equal."""
    ordered = sorted(visits, key=lambda visit: visit.date)
    for first, second in pairwise(ordered):
        if first.date == second.date:
            raise UsageError(
                "studies of different dates",
                got=f"{first.case} and {second.case}, both of {first.date.isoformat()}",
                advice="If the headers are wrong, give the dates by --dates.",
            )
    return ordered


def modality_of(task: str) -> str | None:
    """The DICOM modality that a task reads; None for any.

    Raises:
        UsageError: the task is unknown.
    """
    import yaml

    from medseg.bundle import open_bundle

    text = open_bundle(task).config("inference.yaml").read_text("utf-8")
    loading = yaml.safe_load(text).get("preprocessing", {}).get("load", {})
    found: str | None = loading.get("modality")
    return found
