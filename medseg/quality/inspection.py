"""Check whether an input can be used: read it as `segment` would, and run the gates of the tasks on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.bundle import Bundle, inference_files, open_bundle, parse, tasks, typed_errors
from medseg.case import WARNING
from medseg.errors import InputError, UnsuitableError
from medseg.quality.ranges import judge
from medseg.volume import Volume, orientation

if TYPE_CHECKING:
    from medseg.io import Input
    from medseg.io.dicom import Series

_RANK = {"pass": 0, "warn": 1, "reject": 2}


@dataclass(frozen=True)
class Opinion:
    """The verdict of one task's gate on an input.

    Attributes:
        task: the name of the task.
        verdict: pass, warn or reject.
        reasons: sentences; empty if the verdict is pass.
    """

    task: str
    verdict: str
    reasons: list[str]


@dataclass(frozen=True)
class Inspection:
    """The content of a file or a DICOM study, and whether it can be used.

    Attributes:
        verdict: pass, warn or reject; the best verdict if several tasks were asked.
        reasons: sentences; empty if the verdict is pass.
        series: the series of a DICOM study, each with the reason why it was chosen or not.
        shape: (row, column) or (i, j, k); empty if no image could be read.
        spacing_mm: size of a voxel or pixel along each axis; empty if unknown.
        orientation: the directions of increasing i, j and k, such as LPS; empty for a picture.
        tasks: the verdict of each task that takes such an image.
    """

    verdict: str
    reasons: list[str]
    series: Sequence[Series] = ()
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    orientation: str = ""
    tasks: list[Opinion] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """The inspection as a dictionary for JSON."""
        from medseg.io import dicom

        return {**asdict(self), "series": dicom.to_json(self.series)}

    def __str__(self) -> str:
        from medseg.io import dicom

        lines = [dicom.to_table(self.series)] if self.series else []
        if self.shape:
            size = " x ".join(map(str, self.shape))
            spacing = " x ".join(f"{step:.4g}" for step in self.spacing_mm)
            known = [size if self.orientation else f"{size} px", f"{spacing} mm" if spacing else ""]
            lines.append(", ".join(filter(None, [*known, self.orientation])))
        for opinion in self.tasks:
            lines += [f"{opinion.task}: {opinion.verdict}", *(f"- {reason}" for reason in opinion.reasons)]
        lines += [] if self.tasks else [f"- {reason}" for reason in self.reasons]
        return "\n".join([*lines, f"verdict: {self.verdict}"])


def inspect(path: Input, task: str | None = None, modality: str | None = None) -> Inspection:
    """Read a picture, a volume or a DICOM study as `segment` would, and report its problems.

    Args:
        path: a file, a folder, a zip archive, or several DICOM files.
        task: the task whose gate decides; None asks all tasks that take such an image, and the best verdict
            counts.
        modality: the DICOM modality of the series to choose; None for that of each task.

    Raises:
        UsageError: the task is unknown.
    """
    gates = [_Gate(open_bundle(name)) for name in ([task] if task else tasks())]
    gates = [gate for gate in gates if modality in (None, gate.modality)]
    kinds = [modality] if modality else [gate.modality for gate in gates]
    readings = {kind: _read(path, kind) for kind in dict.fromkeys(kinds)}
    asked = [(gate, readings[gate.modality]) for gate in gates]
    pairs = [
        (gate.opinion(reading.volume), reading)
        for gate, reading in asked
        if reading.volume is not None and (task or reading.volume.array.ndim - 1 == gate.spatial_dims)
    ]
    if not pairs:
        return _without_opinion(list(readings.values()), [gate.task for gate in gates])
    best, reading = min(pairs, key=lambda pair: _RANK[pair[0].verdict])
    opinions = [opinion for opinion, _ in pairs]
    if len(opinions) == 1:
        return _inspection(best.verdict, best.reasons, reading, [] if task else opinions)
    same = [opinion for opinion in opinions if opinion.verdict == best.verdict]
    reasons = [f"{opinion.task}: {reason}" for opinion in same for reason in opinion.reasons]
    return _inspection(best.verdict, reasons, reading, opinions)


def _without_opinion(readings: Sequence[_Reading], names: Sequence[str]) -> Inspection:
    """The inspection of an input that can't be read, or that no task takes."""
    read = next((reading for reading in readings if reading.volume is not None), None)
    if read is None or read.volume is None:
        errors = dict.fromkeys(str(reading.error) for reading in readings)
        return Inspection("reject", list(errors), readings[-1].series)
    if not names:  # no task takes this modality, so only the warnings of reading it are known
        verdict = judge(read.volume.warnings)
        return _inspection(verdict["verdict"], verdict["reasons"], read, [])
    unsuitable = UnsuitableError(
        f"an image for one of the tasks {', '.join(names)}",
        got=f"an image with {read.volume.array.ndim - 1} axes",
        advice="Choose the task with --task.",
    )
    return _inspection("reject", [str(unsuitable)], read, [])


@dataclass(frozen=True, eq=False)
class _Reading:
    """What was read for one modality: a volume, or the error."""

    series: Sequence[Series]
    volume: Volume | None
    error: InputError | None


class _Gate:
    """The steps `load` and, if there is one, `gate` of a task's preprocessing."""

    def __init__(self, bundle: Bundle) -> None:
        self.task = bundle.task
        self.parser = parse(bundle, *inference_files(bundle))
        steps: Any = self.parser.config["preprocessing"]  # type: ignore[index]
        self.names = [name for name in ("load", "gate") if name in steps]
        self.modality: str | None = steps["load"].get("modality")
        self.spatial_dims = int(steps["load"].get("spatial_dims", 2))

    def opinion(self, volume: Volume) -> Opinion:
        data: Any = {"image": volume}
        try:
            with typed_errors():
                for name in self.names:
                    data = self.parser.get_parsed_content(f"preprocessing::{name}")(data)
        except InputError as error:
            return Opinion(self.task, "reject", [str(error)])
        verdict = judge(data["image"].meta["origin"].texts(WARNING))
        return Opinion(self.task, verdict["verdict"], verdict["reasons"])


def _read(path: Input, modality: str | None) -> _Reading:
    from medseg.io import dicom, is_study, read_volume

    series: Sequence[Series] = ()
    try:
        series = dicom.inspect(path, modality) if is_study(path) else ()
        return _Reading(series, read_volume(path, modality), None)
    except InputError as error:
        return _Reading(series, None, error)


def _inspection(verdict: str, reasons: list[str], reading: _Reading, opinions: list[Opinion]) -> Inspection:
    volume, series = reading.volume, reading.series
    if volume is None:
        return Inspection(verdict, reasons, series, tasks=opinions)
    shape = volume.array.shape[1:]
    if volume.affine is None:
        known = volume.pixel_spacing_mm or ()
        return Inspection(verdict, reasons, series, shape, known, tasks=opinions)
    spacing = tuple(float(step) for step in np.linalg.norm(volume.affine[:3, :3], axis=0))
    return Inspection(verdict, reasons, series, shape, spacing, orientation(volume.affine), opinions)
