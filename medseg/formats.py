"""The output formats: one record each, from which help, checks and clean-up follow. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from medseg.errors import UsageError, did_you_mean

# What a format may require of the result.
ANY, VOLUME, DICOM, SEGMENTS, TISSUES = "any", "volume", "dicom", "segments", "tissues"
DICOM_IMAGE = "dicom-image"
ARCHIVED = (DICOM, DICOM_IMAGE)  # what goes to an archive


@dataclass(frozen=True)
class Format:
    """One way to write a result.

    Attributes:
        name: the name that the user gives.
        summary: a description for the help.
        files: the files that it may write into a result's folder; {label} stands for the name of each label.
        needs: what it requires of the result: ANY for pictures and volumes, VOLUME for volumes, DICOM for a
            series of DICOM images with their identifiers, DICOM_IMAGE for such a series or a DICOM picture,
            SEGMENTS for a mask whose objects have numbers, TISSUES for a task that tells what its labels
            hold.
        write: "module:function" that takes (SegmentationResult, folder); imported when it is called.
        usual: whether it is written by default for a result that meets `needs`; with SEGMENTS in the mode
            panoptic alone.
    """

    name: str
    summary: str
    files: tuple[str, ...]
    write: str
    needs: str = ANY
    usual: bool = False

    def writer(self) -> Callable[[Any, Any], None]:
        """Import the function that writes this format."""
        module, _, function = self.write.partition(":")
        found: Callable[[Any, Any], None] = getattr(import_module(module), function)
        return found


FORMATS = {
    record.name: record
    for record in (
        Format(
            "nifti",
            "label map of a volume",
            ("segmentation.nii.gz",),
            "medseg.outputs:write_nifti",
            VOLUME,
            usual=True,
        ),
        Format("nrrd", "label map of a volume", ("segmentation.nrrd",), "medseg.outputs:write_nrrd", VOLUME),
        Format(
            "dicom-seg",
            "DICOM SEG of a DICOM series",
            ("segmentation.dcm",),
            "medseg.dicom_outputs:write_dicom_seg",
            DICOM,
        ),
        Format(
            "rtstruct",
            "DICOM RT structure set of a DICOM series",
            ("rtstruct.dcm",),
            "medseg.dicom_outputs:write_rtstruct",
            DICOM,
        ),
        Format(
            "dicom-sr",
            "DICOM structured report of the measurements; of a series the DICOM SEG, too",
            ("report.dcm",),
            "medseg.dicom_outputs:write_dicom_sr",
            DICOM_IMAGE,
        ),
        Format(
            "mesh", "surface of each label of a volume", ("{label}.stl",), "medseg.outputs:write_mesh", VOLUME
        ),
        Format(
            "png",
            "overlay, and the label map of a picture",
            ("overlay.png", "segmentation.png"),
            "medseg.outputs:write_png",
            usual=True,
        ),
        Format(
            "coco-panoptic",
            "segments in COCO's panoptic form, of a result with numbered objects",
            ("panoptic.json", "panoptic.png"),
            "medseg.outputs:write_panoptic",
            SEGMENTS,
            usual=True,
        ),
        Format(
            "tissue",
            "second label map of a volume: the tissues inside the labels; their volumes in measurements.json",
            ("tissue.nii.gz", "tissue.png"),
            "medseg.outputs:write_tissue",
            TISSUES,
        ),
        Format("html", "page for review", ("report.html",), "medseg.outputs:write_html", usual=True),
    )
}


def usual_formats(is_volume: bool, is_panoptic: bool = False) -> list[str]:
    """The formats that are written by default."""
    needs = {ANY} | ({VOLUME} if is_volume else set()) | ({SEGMENTS} if is_panoptic else set())
    return [record.name for record in FORMATS.values() if record.usual and record.needs in needs]


def check_formats(names: Sequence[str]) -> None:
    """Check that each name is a known format.

    Raises:
        UsageError: a name is unknown; the message suggests the nearest known names.
    """
    for name in names:
        if name not in FORMATS:
            raise UsageError("an output format", got=name or "nothing", advice=did_you_mean(name, FORMATS))
