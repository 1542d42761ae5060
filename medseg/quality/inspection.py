"""Can this input be used, and this result be trusted? Checks, and the verdict: pass, warn or reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.errors import InputError
from medseg.volume import Volume, orientation

if TYPE_CHECKING:
    from medseg.io.dicom import Series


@dataclass(frozen=True)
class Inspection:
    """What a file or a DICOM study holds, and whether it can be used.

    Attributes:
        verdict: pass, warn or reject.
        reasons: sentences; empty after pass.
        series: of a DICOM study, each with the reason why it was chosen or not.
        shape: of the image, (row, column) or (i, j, k); empty without any.
        spacing_mm: size of a voxel or pixel along each axis; empty where it is unknown.
        orientation: directions to which i, j and k grow, such as LPS; empty for a picture.
    """

    verdict: str
    reasons: list[str]
    series: Sequence[Series] = ()
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    orientation: str = ""

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
        return "\n".join([*lines, *(f"- {reason}" for reason in self.reasons), f"verdict: {self.verdict}"])


def inspect(path: str | Path, modality: str = "CT") -> Inspection:
    """Look at a picture, a volume or a DICOM study as `segment` would, and say what is odd.

    Args:
        path: a file, a folder or a zip archive.
        modality: DICOM's word for the kind of series to choose. A CT is checked to show a chest, a picture
            to be a scan for US and a fundus photograph for any other word.
    """
    from medseg.io import dicom, is_study, read_volume

    series: Sequence[Series] = ()
    try:
        series = dicom.inspect(path, modality) if is_study(path) else ()
        volume = read_volume(path, modality)
        reasons = [*volume.warnings, *_look_at(volume, modality)]
    except InputError as error:
        return Inspection("reject", [str(error)], series)
    verdict, shape = judge(reasons)["verdict"], volume.array.shape[1:]
    if volume.affine is None:
        return Inspection(verdict, reasons, series, shape, volume.pixel_spacing_mm or ())
    spacing = tuple(float(step) for step in np.linalg.norm(volume.affine[:3, :3], axis=0))
    return Inspection(verdict, reasons, series, shape, spacing, orientation(volume.affine))


def _look_at(volume: Volume, modality: str) -> list[str]:
    """Warnings about what an image shows."""
    if volume.affine is None and modality == "US":
        from medseg.quality.ultrasound import find_region

        return list(find_region(volume.array, volume.region_box).warnings)
    if volume.affine is None:
        from medseg.quality.fundus import find_field_of_view

        return list(find_field_of_view(volume.array).warnings)
    if modality == "CT":
        from medseg.quality.chest_ct import check_chest_ct

        return check_chest_ct(volume.array[0], volume.affine)
    return []


def check_ranges(
    measurements: Mapping[str, Mapping[str, Any]], plausible: Mapping[str, Sequence[float]]
) -> list[str]:
    """A warning for each measurement outside its plausible range.

    Args:
        measurements: name to {"value": ..., "unit": ...}; one without a value is passed over.
        plausible: name to [low, high], in the measurement's unit.
    """
    warnings = []
    for name, (low, high) in plausible.items():
        value = measurements[name]["value"]
        if value is not None and not low <= value <= high:
            readable, unit = name.replace("_", " "), measurements[name]["unit"]
            warnings.append(
                f"the {readable} of {value:.3g} ({unit}) is outside the usual {low:g} to {high:g}"
            )
    return warnings


def judge(warnings: Sequence[str]) -> dict[str, Any]:
    """The verdict of all checks: "warn" with the reasons when there is any warning, else "pass"."""
    return {"verdict": "warn" if warnings else "pass", "reasons": list(warnings)}
