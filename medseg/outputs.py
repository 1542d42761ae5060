"""SegmentationResult, and the files that it is written to; see medseg.formats."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg import reports
from medseg.errors import UnsuitableError
from medseg.formats import (
    ANY,
    ARCHIVED,
    DICOM,
    DICOM_IMAGE,
    FORMATS,
    SEGMENTS,
    TISSUES,
    Format,
    check_formats,
    usual_formats,
)
from medseg.io import write_mask
from medseg.io.atomic import atomic_files
from medseg.io.nifti_affine import lean_warnings
from medseg.io.raster import write_picture
from medseg.modes import PANOPTIC
from medseg.reports.seal import digests_of_files
from medseg.stamp import Stamp, new_stamp
from medseg.volume import Mask, Window

_RECORD = "measurements.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The mask of one image with its measurements, warnings and provenance.

    Attributes:
        mask: on the source's grid, (row, column) or (i, j, k).
        measurements: name to {"value", "unit"}, and "reason" if the value is None.
        quality: {"verdict": "pass", "warn" or "reject", "reasons": [...]}, and `predicted_dice`, label to
            {"value", "interval"}, and `novelty`, or `predicted_dice_reason`; see medseg.quality.prediction.
        warnings: sentences; empty if there are none.
        provenance: bundle, method, weights, versions, input; where persons have reviewed the result also
            `review`, what each decided, the last one last (see medseg.review.apply).
        image: (C, row, column) or (C, i, j, k), the source as it was read.
        field_of_view: (row, column) bool, True where the image was analysed; None for everywhere.
        window: the range of a volume's values that is shown; None for all but the extremes.
        codes: label or category to its codes for DICOM SEG (dicom_codes in metadata.json); empty if the
            bundle has none.
        measurement_codes: how measurements are called in DICOM (dicom_measurements in metadata.json); see
            medseg.io.dicom.sr_codes. Empty if the bundle has none.
        find_tissues: computes what the labels hold: a second mask on the same grid, and its measurements;
            None for a task that tells no tissues apart. It is called where the format tissue is asked for.
        tissues: that second mask, once it was asked for.
        not_assessed: what the task does not look for (not_assessed in metadata.json), as noun phrases.
        stamp: what `save` writes into each file while it runs; None before.
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
    measurement_codes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    find_tissues: Callable[[], tuple[Mask, dict[str, dict[str, Any]]]] | None = None
    tissues: Mask | None = None
    not_assessed: Sequence[str] = ()
    stamp: Stamp | None = None

    def save(self, directory: str | Path, formats: Sequence[str] = (), even_rejected: bool = False) -> Path:
        """Write the result in the given formats, and measurements.json as the last file.

        An empty mask is written as no DICOM SEG, RTSTRUCT or mesh. If the source lacks a DICOM identifier, no
        DICOM SEG, RTSTRUCT or structured report is written, and the record has a warning; likewise where the
        verdict is reject and no person has reviewed it. A report of a volume refers to the DICOM SEG, which
        is written with it. If anything fails, the directory stays as it was. All files of an earlier result
        are removed, because measurements.json describes everything in the directory.

        Args:
            directory: created if it is missing; an earlier result in it is replaced.
            formats: names of medseg.formats.FORMATS; empty for the usual formats of such an image.
            even_rejected: write DICOM files of a rejected mask, too.

        Returns:
            The directory.

        Raises:
            UsageError: a format is unknown.
            UnsuitableError: the image can't be written in one of the formats, or a person has reviewed the
                earlier result; nothing was written.
            OSError: the files can't be written; nothing was written.
        """
        directory = Path(directory)
        require_unreviewed(directory, but=self.provenance.get("review", []))
        is_panoptic = self.provenance.get("mode") == PANOPTIC
        formats = formats or usual_formats(self.mask.affine is not None, is_panoptic)
        check_formats(formats)
        for name in formats:
            _require_fitting(FORMATS[name], self)
        formats = _with_seg(self, formats)
        result, formats = _without_unreferable(_with_lean(_with_tissues(self, formats), formats), formats)
        if not even_rejected:
            result, formats = _without_rejected(result, formats)
        for warning in result.warnings[len(self.warnings) :]:
            logger.warning("%s: warning: %s", directory, warning)
        result = dataclasses.replace(result, stamp=new_stamp(result.provenance))
        with atomic_files(directory, _earlier(directory), last=_RECORD) as stage:
            for name in formats:
                FORMATS[name].writer()(result, stage)
            _write_record(result, stage)
        return directory

    def warned(self, *texts: str) -> SegmentationResult:
        """A copy with further warnings."""
        if not texts:
            return self
        reasons = list(dict.fromkeys([*self.quality["reasons"], *texts]))
        verdict = "warn" if self.quality["verdict"] == "pass" else self.quality["verdict"]
        quality = {**self.quality, "verdict": verdict, "reasons": reasons}
        return dataclasses.replace(self, warnings=[*self.warnings, *texts], quality=quality)


def require_unreviewed(directory: str | Path, but: Sequence[Mapping[str, Any]] = ()) -> None:
    """Refuse to replace a result that a person has reviewed; without a result there is nothing to refuse.

    Args:
        directory: the folder of a case.
        but: reviews that the new result goes on from: its provenance holds them too.

    Raises:
        UnsuitableError: the folder holds another review.
    """
    about = _read(Path(directory) / _RECORD).get("provenance")
    reviews = about.get("review") if isinstance(about, dict) else None
    if reviews and list(but)[: len(reviews)] != reviews:
        decisions = ", ".join(f"{review.get('decision')} by {review.get('reviewer')}" for review in reviews)
        raise UnsuitableError(
            "a folder whose result no person has reviewed",
            got=f"{Path(directory).name} with a review ({decisions})",
            advice="Name another folder for the results, or move the reviewed one away first.",
        )


def formats_in(directory: str | Path) -> list[str]:
    """The formats of which a result's folder holds files."""
    folder = Path(directory)
    labels = _labels_of(folder / _RECORD)
    return [
        name
        for name, record in FORMATS.items()
        if any(path.is_file() for path in _paths(folder, record, labels))
    ]


def _with_tissues(result: SegmentationResult, formats: Sequence[str]) -> SegmentationResult:
    """The result with the tissues and their measurements, if a format needs them."""
    asked_for = any(FORMATS[name].needs == TISSUES for name in formats)
    if not asked_for or result.tissues is not None or result.find_tissues is None:
        return result
    tissues, measurements = result.find_tissues()
    return dataclasses.replace(result, tissues=tissues, measurements=result.measurements | measurements)


def _with_seg(result: SegmentationResult, formats: Sequence[str]) -> Sequence[str]:
    """The formats with the DICOM SEG before the structured report that refers to it, once each."""
    if "dicom-sr" not in formats or result.mask.affine is None:
        return formats
    return [*(name for name in dict.fromkeys(["dicom-seg", *formats]) if name != "dicom-sr"), "dicom-sr"]


def _with_lean(result: SegmentationResult, formats: Sequence[str]) -> SegmentationResult:
    """The result with a warning if NIfTI can't hold its sheared grid exactly in every program."""
    if "nifti" not in formats or result.mask.affine is None:
        return result
    return result.warned(*lean_warnings(np.asarray(result.mask.affine), result.mask.array.shape))


def _earlier(directory: Path) -> list[Path]:
    """The paths that files of an earlier result may have, measurements.json excepted."""
    labels = _labels_of(directory / _RECORD)
    return [path for record in FORMATS.values() for path in _paths(directory, record, labels)]


def _paths(directory: Path, record: Format, labels: Sequence[str]) -> list[Path]:
    """The paths that the files of a format may have."""
    return [
        directory / name.format(label=label)
        for name in record.files
        for label in (labels if "{label}" in name else [""])
    ]


def _labels_of(record: Path) -> list[str]:
    """The labels that a measurements.json names; empty if it is missing or unreadable."""
    try:
        return [Path(name).name for name in _read(record)["labels"].values()]
    except (KeyError, AttributeError, TypeError):
        return []


def _read(record: Path) -> dict[str, Any]:
    """A measurements.json; empty if it is missing or unreadable."""
    try:
        content = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _without_unreferable(
    result: SegmentationResult, formats: Sequence[str]
) -> tuple[SegmentationResult, Sequence[str]]:
    """Leave out formats that refer to the source images if these lack the identifiers, with a warning.

    Such a series can still be segmented, so the other formats are written.

    Raises:
        UnsuitableError: no format is left.
    """
    from medseg.io.dicom.planes import missing_uids

    referring = [name for name in formats if FORMATS[name].needs in ARCHIVED]
    needed = missing_uids(result.mask.headers) if referring else []
    if result.mask.affine is None:  # a picture has no place in a patient
        needed = [name for name in needed if name != "FrameOfReferenceUID"]
    missing = " and ".join(needed)
    if not missing:
        return result, formats
    left = [name for name in formats if name not in referring]
    if not left:
        raise UnsuitableError(
            f"source images with {missing}, to write {' and '.join(referring)}",
            got="images without them",
            advice="Ask for nifti or nrrd, or export the series again with these identifiers.",
        )
    warning = f"{' and '.join(referring)} not written: they refer to {missing}, which the source images lack"
    return result.warned(warning), left


def _without_rejected(
    result: SegmentationResult, formats: Sequence[str]
) -> tuple[SegmentationResult, Sequence[str]]:
    """Leave out what goes to an archive of a rejected mask that nobody has reviewed, with a warning.

    Raises:
        UnsuitableError: no format is left.
    """
    left_out = [name for name in formats if FORMATS[name].needs in ARCHIVED]
    if result.quality["verdict"] != "reject" or result.provenance.get("review") or not left_out:
        return result, formats
    left = [name for name in formats if name not in left_out]
    names = " and ".join(left_out)
    if not left:
        raise UnsuitableError(
            f"a mask whose predicted Dice is high enough, to write {names}",
            got="one that is rejected",
            advice="Look at it in another format, or ask for it by --even-rejected.",
        )
    text = f"{names} not written: the predicted Dice is too low; --even-rejected writes it all the same"
    return result.warned(text), left


def _require_fitting(record: Format, result: SegmentationResult) -> None:
    if record.needs == SEGMENTS:
        if result.mask.segments is None:
            raise UnsuitableError(
                f"a result whose objects have numbers, to write {record.name}",
                got="one with labels alone",
                advice="Choose the mode panoptic or instance.",
            )
        return
    if record.needs not in (ANY, DICOM_IMAGE) and result.mask.affine is None:
        raise UnsuitableError(f"a volume, to write {record.name}", got="a picture", advice="Ask for png.")
    if record.needs == TISSUES and result.find_tissues is None:
        raise UnsuitableError(
            f"a task that tells tissues apart, to write {record.name}",
            got=str(result.provenance["task"]),
            advice="Leave the format out, or see the result of that task's bundle.",
        )
    if record.needs == DICOM and not result.mask.headers:
        raise UnsuitableError(
            f"a DICOM series, to write {record.name}, which refers to its slices",
            got="a volume from another kind of file",
            advice="Segment the DICOM series itself, or ask for nifti or nrrd.",
        )
    if record.needs == DICOM_IMAGE and not result.mask.headers:
        raise UnsuitableError(
            f"a DICOM image, to write {record.name}, which refers to it",
            got="an image from another kind of file",
            advice="Segment the DICOM file itself, or take the numbers from measurements.json.",
        )


def write_nifti(result: SegmentationResult, directory: Path) -> None:
    write_mask(result.mask, directory / "segmentation.nii.gz", result.stamp)


def write_nrrd(result: SegmentationResult, directory: Path) -> None:
    write_mask(result.mask, directory / "segmentation.nrrd", result.stamp)


def write_mesh(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.mesh import write_meshes

    write_meshes(result.mask, directory, result.stamp)


def write_png(result: SegmentationResult, directory: Path) -> None:
    """Write the overlay and, for a picture, the mask."""
    if result.mask.affine is None:
        write_mask(result.mask, directory / "segmentation.png", result.stamp)
    overlay = reports.draw_overlay(result.image, result.mask, result.field_of_view, result.window)
    write_picture(overlay, directory / "overlay.png", result.stamp)


def write_tissue(result: SegmentationResult, directory: Path) -> None:
    """Write the second label map, and its picture."""
    if result.tissues is not None:
        write_mask(result.tissues, directory / "tissue.nii.gz", result.stamp)
        picture = reports.draw_regions(result.image, result.tissues, result.window)
        write_picture(picture, directory / "tissue.png", result.stamp)


def write_panoptic(result: SegmentationResult, directory: Path) -> None:
    """Write panoptic.json in COCO's form and, for a picture, the map in colours that belongs to it."""
    reports.write_panoptic(result.mask, directory, result.provenance["input"], result.stamp)


def write_html(result: SegmentationResult, directory: Path) -> None:
    reports.write_page(
        directory / "report.html",
        image=result.image,
        mask=result.mask,
        field_of_view=result.field_of_view,
        window=result.window,
        tissues=result.tissues,
        not_assessed=result.not_assessed,
        stamp=result.stamp,
        **_shared(result),
    )


def _write_record(result: SegmentationResult, directory: Path) -> None:
    reports.write_record(
        directory / _RECORD,
        task=result.provenance["task"],
        labels=result.mask.labels,
        tissues=result.tissues.labels if result.tissues else {},
        stamp=result.stamp,
        files=digests_of_files(directory.iterdir()),
        **_shared(result),
    )


def _shared(result: SegmentationResult) -> dict[str, Any]:
    return {
        "measurements": result.measurements,
        "quality": result.quality,
        "warnings": result.warnings,
        "provenance": result.provenance,
    }
