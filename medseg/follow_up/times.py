"""The visits of a follow-up: read, or segmented, and refused where they can't be compared.

Whether two images are of one person is told by their DICOM headers, compared as digests: no name or number
leaves this module, and no message holds one.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import InputError, UnreadableError, UnsuitableError, UsageError
from medseg.follow_up.doubts import doubts
from medseg.follow_up.headers import acquisition_of, differences, require_one_patient, study_date
from medseg.follow_up.identity import require_different_images, require_possible_date
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
    "settings": "the settings that were changed by --set",
}


Segment = Callable[[str, Input], SegmentationResult]
Ready = Callable[[Sequence[Volume]], None]


@dataclass(frozen=True, eq=False)
class Times:
    """What was read for a follow-up.

    Attributes:
        visits: in the order of their dates.
        warnings, notes: sentences.
    """

    visits: list[Visit]
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
    task: str | None = None,
    segment: Segment | None = None,
    ready: Ready | None = None,
) -> Times:
    """Read the visits of one patient.

    All images are read and compared before the first is segmented.

    Args:
        sources: folders of results (OUT/<case>), and images or DICOM studies to segment.
        images: where the images of results are looked for; see medseg.sources.source_of.
        dates: of the studies, in the order of the sources; empty to take them from the headers.
        task: of the images to segment; None where all sources are results.
        segment: segments an image, given the name of its case too; None likewise.
        ready: is called with all images before the first is segmented, and may refuse.

    Raises:
        UsageError: fewer than two times; one image twice; dates that are missing, impossible, of another
            number, or equal; an image to segment, and no task for it; or results of different tasks, methods,
            weights or versions, or of a mode other than semantic.
        UnreadableError: a folder without a result, or a file that is missing or can't be read.
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
    read = [_image(each, images, task) for each in found]
    days = _days([each.case for each in found], read, dates)
    warnings = require_one_patient([image.headers for image in read])
    if ready is not None:
        ready(read)
    visits, doubted = [], []
    for each, image, day in zip(found, read, days, strict=True):
        visit, quality = _visit(each, image, day, segment)
        visits.append(visit)
        doubted += doubts(each.case, quality, visit.provenance)
    _require_one_origin(visits, images, found)
    ordered = sorted(visits, key=lambda visit: visit.date)
    notes = [] if ordered == visits else ["the visits were put in the order of their dates"]
    return Times(ordered, [*doubted, *warnings, *differences(ordered)], notes)


def _days(cases: Sequence[str], images: Sequence[Volume], given: Sequence[date]) -> list[date]:
    """The date of each study; one image twice, impossible dates and equal ones are refused."""
    require_different_images(cases, images)
    days = list(given) or [study_date(image.headers, case) for image, case in zip(images, cases, strict=True)]
    for day, case in zip(days, cases, strict=True):
        require_possible_date(day, case)
    ordered = sorted(zip(days, cases, strict=True))
    for (day, case), (next_day, next_case) in pairwise(ordered):
        if day == next_day:
            raise UsageError(
                "studies of different dates",
                got=f"{case} and {next_case}, both of {day.isoformat()}",
                advice="If the headers are wrong, give the dates by --dates.",
            )
    return days


def _time(source: str | Path) -> _Time:
    path = Path(source)
    if (path / RECORD).is_file():
        return _Time(path.resolve().name, path, path, _record(path))
    if not os.path.lexists(path) and not glob.has_magic(str(source)):
        raise UnreadableError(
            "results, images or studies that exist", got=f"no {source}", advice="Check the path."
        )
    if any((path / name).is_file() for name in MASKS):
        raise UnreadableError(
            f"a result with {RECORD}", got=f"{path.name} without one", advice="Segment the image anew."
        )
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
    except (OSError, ValueError, RecursionError):
        record = None
    if not _is_whole(record):
        raise UnreadableError(
            f"a whole {RECORD}", got=f"a damaged one in {folder.name}", advice="Segment the image anew."
        )
    whole: Mapping[str, Any] = record
    return whole


def _is_whole(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("task"), str):
        return False
    if not all(isinstance(record.get(key), dict) for key in ("labels", "measurements", "provenance")):
        return False
    return all(value.isdecimal() and isinstance(name, str) for value, name in record["labels"].items())


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
                got=f"{_short(key, first)} and {_short(key, other)}",
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


def _short(key: str, value: Any) -> str:
    """A value of provenance for a message; of digests the start."""
    values = value if isinstance(value, list) else [value]
    most = 12 if key == "weights_sha256" else None
    return ", ".join("none" if each is None else str(each)[:most] for each in values[:3])


def _image(time: _Time, images: Sequence[str | Path], task: str | None) -> Volume:
    if time.folder is not None and time.record is not None:
        return read_volume(source_of(time.folder, images), modality_of(time.record["task"]))
    if task is None:
        raise UsageError(
            "a task to segment images with",
            got=f"{time.case}, an image, and no --task",
            advice="Add --task, such as --task lung_ct, or name the folders of results.",
        )
    return read_volume(time.source, modality_of(task))


def _visit(time: _Time, image: Volume, day: date, segment: Segment | None) -> tuple[Visit, Any]:
    """A visit, and what was judged of its mask's quality."""
    if time.folder is not None and time.record is not None:
        return _saved(time, time.folder, time.record, image, day), time.record.get("quality")
    if segment is None:
        raise TypeError("an image to segment needs `segment`")
    result = segment(time.case, time.source)
    visit = Visit(
        time.case,
        day,
        result.mask,
        image,
        result.measurements,
        result.provenance,
        result.window,
        result.field_of_view,
        acquisition_of(image),
        result.warnings,
    )
    return visit, result.quality


def _saved(time: _Time, folder: Path, record: Mapping[str, Any], image: Volume, day: date) -> Visit:
    """The visit of a result folder."""
    labels = {int(value): name for value, name in record["labels"].items()}
    path = next((folder / name for name in MASKS if (folder / name).is_file()), None)
    if path is None:
        raise UnreadableError(
            f"a mask: {' or '.join(MASKS)}",
            got=f"none in {folder.name}",
            advice="Segment the image anew, with the usual formats.",
        )
    mask = read_mask(path, labels)
    _require_one_grid(mask, image, time.case)
    spacing = mask.pixel_spacing_mm or image.pixel_spacing_mm
    mask = dataclasses.replace(mask, affine=image.affine, pixel_spacing_mm=spacing, headers=image.headers)
    return Visit(
        time.case,
        day,
        mask,
        image,
        record["measurements"],
        record["provenance"],
        acquisition=acquisition_of(image),
        warnings=record.get("warnings", []),
    )


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
                got=f"{_short(key, made[0].get(key))} and {_short(key, other)}",
                advice=_anew(found, images),
            )
    if len({visit.mask.affine is None for visit in visits}) > 1:
        raise UnsuitableError(
            "images of one kind",
            got="a picture and a volume",
            advice="Compare images of one modality and one part of the body.",
        )


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
