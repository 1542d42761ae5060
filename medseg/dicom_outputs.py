"""A result as DICOM files for the archive that its images came from; see medseg.formats."""

from __future__ import annotations

from pathlib import Path

from medseg.outputs import SegmentationResult


def write_dicom_seg(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.dicom import seg

    if not result.mask.array.any():
        return
    about, segments = result.provenance, result.mask.segments
    categories = segments.category if segments else result.mask.labels
    codes = {
        result.mask.labels[value]: result.codes[category]
        for value, category in categories.items()
        if category in result.codes
    }
    seg.write_seg(
        result.mask,
        directory / "segmentation.dcm",
        codes,
        algorithm=f"medseg {about['task']} {about['method']}",
        family=seg.FAMILIES[about["algorithm_family"]],
        is_edited=_is_edited(result),
        description=_series_description(result, "segmentation"),
        stamp=result.stamp,
    )


def write_rtstruct(result: SegmentationResult, directory: Path) -> None:
    from medseg.io.dicom import rtstruct

    if result.mask.array.any():
        described = _series_description(result, "contours")
        path = directory / "rtstruct.dcm"
        rtstruct.write_rtstruct(
            result.mask, path, is_edited=_is_edited(result), description=described, stamp=result.stamp
        )


def write_dicom_sr(result: SegmentationResult, directory: Path) -> None:
    """Write the structured report; of a volume it refers to the DICOM SEG that was written before."""
    from medseg.io.dicom import seg, sr

    content = sr.Content(
        mask=result.mask,
        measurements=result.measurements,
        quality=result.quality,
        provenance=result.provenance,
        not_assessed=result.not_assessed,
        label_codes=result.codes,
        measurement_codes=result.measurement_codes,
        family=seg.FAMILIES[result.provenance["algorithm_family"]],
    )
    segments = directory / "segmentation.dcm"
    described = _series_description(result, "measurements")
    found = segments if segments.is_file() else None
    sr.write_sr(content, directory / "report.dcm", found, described, result.stamp)


def _series_description(result: SegmentationResult, what: str) -> str:
    """Such as "medseg lung_ct 0.6.0 segmentation"; with "edited" if a person has corrected the mask."""
    about = result.provenance
    edited = "edited" if _is_edited(result) else ""
    return " ".join(filter(None, ["medseg", about["task"], about.get("bundle_version"), what, edited]))


def _is_edited(result: SegmentationResult) -> bool:
    """Whether a person has corrected the mask."""
    return any(review["decision"] == "edit" for review in result.provenance.get("review", []))
