"""Can this input be used? It is read as `segment` would read it, and shown to the gates of the tasks."""

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
    """What one task says of an input.

    Attributes:
        task: its name.
        verdict: pass, warn or reject.
        reasons: sentences; empty after pass.
    """

    task: str
    verdict: str
    reasons: list[str]


@dataclass(frozen=True)
class Inspection:
    """What a file or a DICOM study holds, and whether it can be used.

    Attributes:
        verdict: pass, warn or reject; of several tasks the best one's.
        reasons: sentences; empty after pass.
        series: of a DICOM study, each with the reason why it was chosen or not.
        shape: of the image, (row, column) or (i, j, k); empty without any.
        spacing_mm: size of a voxel or pixel along each axis; empty where it is unknown.
        orientation: directions to which i, j and k grow, such as LPS; empty for a picture.
        tasks: the opinion of each task that takes such an image.
    """

    verdict: str
    reasons: list[str]
    series: Sequence[Series] = ()
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    orientation: str = ""
    tasks: list[Opinion] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
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
    """Look at a picture, a volume or a DICOM study as `segment` would, and say what is odd.

    Args:
        path: a file, a folder, a zip archive, or several DICOM files.
        task: whose gate decides; None asks all tasks that take such an image, and the best opinion counts.
        modality: DICOM's word for the kind of series to choose; None takes the tasks' own.

    Raises:
        UsageError: an unknown task.
    """
    gates = [_Gate(open_bundle(name)) for name in ([task] if task else tasks())]
    gates = [gate for gate in gates if modality in (None, gate.modality)]
    kinds = [modality] if modality else [gate.modality for gate in gates]
    looks = {kind: _look(path, kind) for kind in dict.fromkeys(kinds)}
    asked = [(gate, looks[gate.modality]) for gate in gates]
    opinions = [
        (gate.opinion(look.volume), look)
        for gate, look in asked
        if look.volume is not None and (task or look.volume.array.ndim - 1 == gate.spatial_dims)
    ]
    if not opinions:
        return _without_opinion(list(looks.values()), [gate.task for gate in gates])
    best, look = min(opinions, key=lambda pair: _RANK[pair[0].verdict])
    told = [opinion for opinion, _ in opinions]
    if len(told) == 1:
        return _inspection(best.verdict, best.reasons, look, [] if task else told)
    same = [opinion for opinion in told if opinion.verdict == best.verdict]
    reasons = [f"{opinion.task}: {reason}" for opinion in same for reason in opinion.reasons]
    return _inspection(best.verdict, reasons, look, told)


def _without_opinion(looks: Sequence[_Look], names: Sequence[str]) -> Inspection:
    """Of what can't be read, or what no task takes."""
    read = next((look for look in looks if look.volume is not None), None)
    if read is None or read.volume is None:
        errors = dict.fromkeys(str(look.error) for look in looks)
        return Inspection("reject", list(errors), looks[-1].series)
    if not names:  # the series of a modality that no task has: all that can be said is how it was read
        verdict = judge(read.volume.warnings)
        return _inspection(verdict["verdict"], verdict["reasons"], read, [])
    nobody = UnsuitableError(
        f"an image that one of the tasks takes: {', '.join(names)}",
        got=f"one with {read.volume.array.ndim - 1} axes",
        advice="Name the task by --task.",
    )
    return _inspection("reject", [str(nobody)], read, [])


@dataclass(frozen=True, eq=False)
class _Look:
    """What was read by one modality."""

    series: Sequence[Series]
    volume: Volume | None
    error: InputError | None


class _Gate:
    """How a task reads an image, and the step `gate` of its preprocessing, where it has one."""

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


def _look(path: Input, modality: str | None) -> _Look:
    from medseg.io import dicom, is_study, read_volume

    series: Sequence[Series] = ()
    try:
        series = dicom.inspect(path, modality) if is_study(path) else ()
        return _Look(series, read_volume(path, modality), None)
    except InputError as error:
        return _Look(series, None, error)


def _inspection(verdict: str, reasons: list[str], look: _Look, opinions: list[Opinion]) -> Inspection:
    volume = look.volume
    if volume is None:
        return Inspection(verdict, reasons, look.series, tasks=opinions)
    shape = volume.array.shape[1:]
    if volume.affine is None:
        known = volume.pixel_spacing_mm or ()
        return Inspection(verdict, reasons, look.series, shape, known, tasks=opinions)
    spacing = tuple(float(step) for step in np.linalg.norm(volume.affine[:3, :3], axis=0))
    return Inspection(verdict, reasons, look.series, shape, spacing, orientation(volume.affine), opinions)
