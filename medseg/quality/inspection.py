"""Check whether an input can be used: read it as `segment` would, and run the gates of the tasks on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.bundle import Bundle, built_from, inference_files, open_bundle, parse, tasks
from medseg.case import WARNING
from medseg.errors import BundleError, InputError, UnsuitableError
from medseg.quality.ranges import judge
from medseg.volume import Volume, orientation

if TYPE_CHECKING:
    from medseg.io import Input
    from medseg.io.dicom import Series

logger = logging.getLogger(__name__)

_RANK = {"pass": 0, "warn": 1, "reject": 2}


@dataclass(frozen=True)
class TaskVerdict:
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
    tasks: list[TaskVerdict] = field(default_factory=list)

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
        for verdict in self.tasks:
            lines += [f"{verdict.task}: {verdict.verdict}", *(f"- {reason}" for reason in verdict.reasons)]
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
        BundleError: the bundle of `task` is faulty; of other tasks that is logged.
    """
    gates = [_Gate(open_bundle(task))] if task else _all_gates()
    gates = [gate for gate in gates if modality in (None, gate.modality)]
    kinds = [modality] if modality else [gate.modality for gate in gates] or [None]
    readings = {kind: _read(path, kind) for kind in dict.fromkeys(kinds)}
    pairs: list[tuple[TaskVerdict, _Reading]] = []
    for gate in gates:
        reading = readings[gate.modality]
        if reading.volume is None or not (task or gate.takes(reading.volume)):
            continue
        with nullcontext() if task else _reported(gate.task):
            pairs.append((gate.verdict(reading.volume), reading))
    if not pairs:
        return _without_verdict(list(readings.values()), [gate.task for gate in gates])
    best, reading = min(pairs, key=lambda pair: _RANK[pair[0].verdict])
    verdicts = [verdict for verdict, _ in pairs]
    if len(verdicts) == 1:
        return _inspection(best.verdict, best.reasons, reading, [] if task else verdicts)
    same = [verdict for verdict in verdicts if verdict.verdict == best.verdict]
    reasons = [f"{verdict.task}: {reason}" for verdict in same for reason in verdict.reasons]
    return _inspection(best.verdict, reasons, reading, verdicts)


def _all_gates() -> list[_Gate]:
    """Of every task; a faulty bundle in the working directory must not keep the others from being asked."""
    gates = []
    for name in tasks():
        with _reported(name):
            gates.append(_Gate(open_bundle(name)))
    return gates


@contextmanager
def _reported(task: str) -> Iterator[None]:
    """Log that a bundle can't be used, and go on without it."""
    try:
        yield
    except BundleError as error:
        logger.warning("%s was not asked: %s", task, error)


def _without_verdict(readings: Sequence[_Reading], names: Sequence[str]) -> Inspection:
    """The inspection of an input that can't be read, or that no task takes."""
    held = {one.modality for reading in readings for one in reading.series}
    failed = [reading for reading in readings if reading.error is not None]
    # Of a CT study it says nothing that it holds no ultrasound picture.
    telling = [reading for reading in failed if reading.modality in held] or failed
    if telling:
        errors = dict.fromkeys(str(reading.error) for reading in telling)
        return Inspection("reject", list(errors), telling[0].series)
    read = readings[0]
    unsuitable = UnsuitableError(
        f"an image for one of the tasks {', '.join(names or tasks())}",
        got=f"one with {read.axes} axes" + (f" of the modality {read.modality}" if read.modality else ""),
        advice="Choose the task that fits the image.",
    )
    return _inspection("reject", [str(unsuitable)], read, [])


@dataclass(frozen=True, eq=False)
class _Reading:
    """What was read for one modality: a volume, or the error."""

    modality: str | None
    series: Sequence[Series]
    volume: Volume | None
    error: InputError | None

    @property
    def axes(self) -> int:
        return 0 if self.volume is None else self.volume.array.ndim - 1


class _Gate:
    """The steps `load` and, if there is one, `gate` of a task's preprocessing.

    Raises:
        BundleError: the bundle is faulty.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.task = bundle, bundle.task
        with built_from(bundle):
            self.parser = parse(bundle, *inference_files(bundle))
            steps: Any = self.parser.config["preprocessing"]  # type: ignore[index]
            self.has_gate = "gate" in steps
            self.modality: str | None = steps["load"].get("modality")
            self.spatial_dims = int(steps["load"].get("spatial_dims", 2))

    def takes(self, volume: Volume) -> bool:
        """Whether the image has as many axes as the task's."""
        return volume.array.ndim - 1 == self.spatial_dims

    def verdict(self, volume: Volume) -> TaskVerdict:
        """What the gate says of an image.

        Raises:
            BundleError: a step that can't be built or used.
        """
        data: Any = {"image": volume}
        try:
            with built_from(self.bundle):
                for name in ("load", "gate") if self.has_gate else ("load",):
                    data = self.parser.get_parsed_content(f"preprocessing::{name}")(data)
                warnings = data["image"].meta["origin"].texts(WARNING)
        except InputError as error:
            return TaskVerdict(self.task, "reject", [str(error)])
        if not self.has_gate:
            warnings.append("the task has no checks of its own: its preprocessing has no step `gate`")
        verdict = judge(warnings)
        return TaskVerdict(self.task, verdict["verdict"], verdict["reasons"])


def _read(path: Input, modality: str | None) -> _Reading:
    from medseg.io import dicom, is_study, read_volume

    series: Sequence[Series] = ()
    try:
        series = dicom.inspect(path, modality) if is_study(path) else ()
        return _Reading(modality, series, read_volume(path, modality), None)
    except InputError as error:
        return _Reading(modality, series, None, error)


def _inspection(
    verdict: str, reasons: list[str], reading: _Reading, verdicts: list[TaskVerdict]
) -> Inspection:
    volume, series = reading.volume, reading.series
    if volume is None:
        return Inspection(verdict, reasons, series, tasks=verdicts)
    shape = volume.array.shape[1:]
    if volume.affine is None:
        known = volume.pixel_spacing_mm or ()
        return Inspection(verdict, reasons, series, shape, known, tasks=verdicts)
    spacing = tuple(float(step) for step in np.linalg.norm(volume.affine[:3, :3], axis=0))
    return Inspection(verdict, reasons, series, shape, spacing, orientation(volume.affine), verdicts)
