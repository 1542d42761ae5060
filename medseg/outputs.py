"""SegmentationResult, and its files in the formats that were asked for; see medseg.formats."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg import reports
from medseg.errors import UnsuitableError
from medseg.formats import ANY, DICOM, FORMATS, Format, check_formats, usual_formats
from medseg.instances import by_instance
from medseg.io import write_mask
from medseg.io.atomic import atomic_files
from medseg.io.nifti_affine import lean_warnings
from medseg.io.raster import write_picture
from medseg.volume import Mask, Window

_RECORD = "measurements.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What medseg says about one image.

    Attributes:
        mask: on the source's grid, (row, column) or (i, j, k).
        measurements: name to {"value", "unit", "reason" when the value is None}.
        quality: {"verdict": "pass" or "warn", "reasons": [...]}.
        warnings: sentences; empty when nothing is odd.
        provenance: bundle, method, weights, versions, input.
        image: (C, row, column) or (C, i, j, k), the source as it was read.
        field_of_view: (row, column), bool, where the image was analysed; None for everywhere.
        window: in which a volume is shown; None for all but the extremes of its values.
        codes: label name to its codes for DICOM SEG (dicom_codes in metadata.json); empty without any.
    """

    mask: Mask
    measurements: dict[str, dict[str, Any]]
    quality: dict[str, Any]
    warnings: list[str]
    provenance: dict[str, Any]
    image: np.ndarray
    field_of_view: np.ndarray | None = None
    window: Window | None = None
    codes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def by_instance(self) -> SegmentationResult:
        """The same with a number for each piece of a label, such as lesion_1 and lesion_2.

        Raises:
            UnsuitableError: see medseg.instances.by_instance.
        """
        mask = by_instance(self.mask)
        codes = {
            name: self.codes[label]
            for name in mask.labels.values()
            if (label := name.rpartition("_")[0]) in self.codes
        }
        return dataclasses.replace(self, mask=mask, codes=codes)

    def save(self, directory: str | Path, formats: Sequence[str] = ()) -> Path:
        """Write the mask, the overlay, report.html and measurements.json, the last one last.

        An empty mask makes no DICOM SEG, RTSTRUCT or mesh; a source that lacks an identifier makes no DICOM
        SEG or RTSTRUCT, and the record says so. Whatever goes wrong, the directory is as it was before. Of an
        earlier result nothing stays, in whatever format: the record speaks for all that lies beside it.

        Args:
            directory: made when it is missing; an earlier result in it is replaced.
            formats: names of medseg.formats.FORMATS; none for those that are usual for the image.

        Returns:
            The directory.

        Raises:
            UsageError: an unknown format.
            UnsuitableError: a format that the image can't be written in; nothing was written.
            OSError: the files can't be written; nothing was written.
        """
        directory = Path(directory)
        formats = formats or usual_formats(is_volume=self.mask.affine is not None)
        check_formats(formats)
        for name in formats:
            _require_fitting(FORMATS[name], self)
        result, formats = _without_unreferable(_with_lean(self, formats), formats)
        for warning in result.warnings[len(self.warnings) :]:
            logger.warning("%s: warning: %s", directory, warning)
        with atomic_files(directory, _earlier(directory), last=_RECORD) as stage:
            for name in formats:
                FORMATS[name].writer()(result, stage)
            _write_record(result, stage)
        return directory

    def warned(self, *texts: str) -> SegmentationResult:
        """The same with further warnings."""
        if not texts:
            return self
        quality = {"verdict": "warn", "reasons": [*self.quality["reasons"], *texts]}
        return dataclasses.replace(self, warnings=[*self.warnings, *texts], quality=quality)


def _with_lean(result: SegmentationResult, formats: Sequence[str]) -> SegmentationResult:
    """The result with what its user should know of a leaning grid in NIfTI."""
    if "nifti" not in formats or result.mask.affine is None:
        return result
    return result.warned(*lean_warnings(np.asarray(result.mask.affine), result.mask.array.shape))


def _earlier(directory: Path) -> list[Path]:
    """Where the files of an earlier result may be, its record apart."""
    labels = _labels_of(directory / _RECORD)
    names = [name for record in FORMATS.values() for name in record.files]
    found = [name.format(label=label) for name in names for label in (labels if "{label}" in name else [""])]
    return [directory / name for name in found]


def _labels_of(record: Path) -> list[str]:
    """The labels that a record names, none where there is none that can be read."""
    try:
        return [Path(name).name for name in json.loads(record.read_text("utf-8"))["labels"].values()]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def _without_unreferable(
    result: SegmentationResult, formats: Sequence[str]
) -> tuple[SegmentationResult, Sequence[str]]:
    """Leave out formats that refer to images where these lack the identifiers for it, with a warning.

    A series without them is sound for a mask, so the other formats are written.

    Raises:
        UnsuitableError: no format is left.
    """
    from medseg.io.dicom.planes import missing_uids

    referring = [name for name in formats if FORMATS[name].needs == DICOM]
    missing = " and ".join(missing_uids(result.mask.headers)) if referring else ""
    if not missing:
        return result, formats
    left = [name for name in formats if FORMATS[name].needs != DICOM]
    if not left:
        raise UnsuitableError(
            f"source images with {missing}, to write {' and '.join(referring)}",
            got="images without",
            advice="Ask for nifti or nrrd, or export the series again with these.",
        )
    warning = f"{' and '.join(referring)} not written: they refer to {missing}, which the source images lack"
    return result.warned(warning), left


def _require_fitting(record: Format, result: SegmentationResult) -> None:
    if record.needs != ANY and result.mask.affine is None:
        raise UnsuitableError(f"a volume, to write {record.name}", got="a picture", advice="Ask for png.")
    if record.needs == DICOM and not result.mask.headers:
        raise UnsuitableError(
            f"a DICOM series, whose slices {record.name} refers to",
            got="a volume from another kind of file",
            advice="Segment the DICOM series itself, or ask for nifti or nrrd.",
        )


def write_nifti(result: SegmentationResult, directory: Path) -> None:
    write_mask(result.mask, directory / "segmentation.nii.gz")


def write_nrrd(result: SegmentationResult, directory: Path) -> None:
    write_mask(result.mask, directory / "segmentation.nrrd")


def write_dicom_seg(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.dicom import seg

    if not result.mask.array.any():
        return
    about = result.provenance
    seg.write_seg(
        result.mask,
        directory / "segmentation.dcm",
        result.codes,
        algorithm=f"medseg {about['task']} {about['method']}",
        family=seg.FAMILIES[about["algorithm_family"]],
    )


def write_rtstruct(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.dicom import rtstruct

    if result.mask.array.any():
        rtstruct.write_rtstruct(result.mask, directory / "rtstruct.dcm")


def write_mesh(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.mesh import write_meshes

    write_meshes(result.mask, directory)


def write_png(result: SegmentationResult, directory: Path) -> None:
    """The overlay, and of a picture the mask."""
    if result.mask.affine is None:
        write_mask(result.mask, directory / "segmentation.png")
    overlay = reports.draw_overlay(result.image, result.mask, result.field_of_view, result.window)
    write_picture(overlay, directory / "overlay.png")


def write_html(result: SegmentationResult, directory: Path) -> None:
    reports.write_page(
        directory / "report.html",
        image=result.image,
        mask=result.mask,
        field_of_view=result.field_of_view,
        window=result.window,
        **_shared(result),
    )


def _write_record(result: SegmentationResult, directory: Path) -> None:
    reports.write_record(
        directory / _RECORD,
        task=result.provenance["task"],
        labels=result.mask.labels,
        **_shared(result),
    )


def _shared(result: SegmentationResult) -> dict[str, Any]:
    return {
        "measurements": result.measurements,
        "quality": result.quality,
        "warnings": result.warnings,
        "provenance": result.provenance,
    }
