"""A slice: a DICOM file, or a frame of a multi-frame file, with its position and other header values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError
from medseg.io.dicom.files import DicomFile

# Direction cosines with three digits are off by 5e-4, so that lengths and right angles are off by up to 1e-3.
COSINE = 2e-3
# Pixel sizes outside this range occur in no detector and no image of a body.
LEAST_SPACING_MM, MOST_SPACING_MM = 0.01, 20.0
# CT has up to 2048 rows. A larger number is damaged, and no memory is allocated for it.
MOST_ROWS = 4096
MOST_FRAMES = 20_000

POSITION = "ImagePositionPatient (0020,0032)"
ORIENTATION = "ImageOrientationPatient (0020,0037)"
SPACING = "PixelSpacing (0028,0030)"

# The attributes of a slice that the reader needs.
_KEYWORDS = (
    "PatientID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "AcquisitionNumber",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of a stack.

    Attributes:
        file: the file that contains it.
        frame: number of the frame from 0; None in a file of one slice.
        values: header values of this slice by keyword; in a multi-frame file its functional groups replace
            values of the common header.
        position_mm: (3,) centre of the first pixel, LPS+ mm.
        axes: (2, 3) unit vectors, LPS+: along a row (to higher columns), along a column (to higher rows).
        spacing_mm: (2,) between rows, between columns.
    """

    file: DicomFile
    frame: int | None
    values: dict[str, Any]
    position_mm: np.ndarray
    axes: np.ndarray
    spacing_mm: np.ndarray

    @property
    def name(self) -> str:
        """The slice in messages: the file's base name, and the number of the frame from 1."""
        return f"file {self.file.name}" + ("" if self.frame is None else f", frame {self.frame + 1}")


def slices_of(file: DicomFile) -> list[Slice]:
    """The slices of one file.

    Raises:
        UnsuitableError: an attribute of the position or the size is missing or impossible.
    """
    if "PerFrameFunctionalGroupsSequence" not in file.header:
        if _number(file.header.get("NumberOfFrames", 1)) not in (1, -1):
            raise unsuitable(
                "a position for each frame (PerFrameFunctionalGroupsSequence (5200,9230))",
                f"none in file {file.name}",
            )
        return [_slice(file, None, _values(file.header))]
    common = _values(file.header)
    for shared in _items(file.header, "SharedFunctionalGroupsSequence"):
        common |= _grouped(shared)
    frames = _items(file.header, "PerFrameFunctionalGroupsSequence")
    declared = _number(file.header.get("NumberOfFrames"))
    if declared != len(frames) or not 0 < len(frames) <= MOST_FRAMES:
        raise unsuitable(
            "as many per-frame functional groups (5200,9230) as NumberOfFrames (0028,0008)",
            f"{len(frames)} for {file.header.get('NumberOfFrames')} frames in file {file.name}",
        )
    return [_slice(file, index, common | _grouped(frame)) for index, frame in enumerate(frames)]


def unsuitable(expected: str, got: str, advice: str = "") -> UnsuitableError:
    """An UnsuitableError about a series; by default the advice is to export the series again."""
    return UnsuitableError(expected, got=got, advice=advice or "Export the series again from its source.")


def place(ordered: Sequence[Slice], index: int) -> str:
    """A slice in words, such as "slice 57 of 133 (file 057.dcm, at z = -123.4 mm)"."""
    found = ordered[index]
    normal = np.cross(*found.axes)
    if abs(normal[2]) > 0.7:
        where = f"at z = {found.position_mm[2]:.1f} mm"
    else:
        where = f"at {found.position_mm @ normal:.1f} mm along the normal"
    return f"slice {index + 1} of {len(ordered)} ({found.name}, {where})"


def _values(data_set: Any) -> dict[str, Any]:
    return {keyword: data_set[keyword].value for keyword in _KEYWORDS if keyword in data_set}


def _grouped(functional_groups: Any) -> dict[str, Any]:
    """The values of one item of a functional groups sequence, gathered from the sequences in it."""
    values: dict[str, Any] = {}
    for element in functional_groups:
        if element.VR == "SQ" and len(element.value) == 1:
            values |= _values(element.value[0])
    return values


def _items(data_set: Any, keyword: str) -> list[Any]:
    return list(data_set[keyword].value) if keyword in data_set else []


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def _slice(file: DicomFile, frame: int | None, values: dict[str, Any]) -> Slice:
    name = f"file {file.name}" + ("" if frame is None else f", frame {frame + 1}")
    for keyword in ("Rows", "Columns"):
        count = _number(values.get(keyword))
        if not 0 < count <= MOST_ROWS:
            raise unsuitable(f"{keyword} from 1 to {MOST_ROWS}", f"{values.get(keyword, 'none')} in {name}")
    position_mm = _vector(values, "ImagePositionPatient", 3, POSITION, name)
    axes = _vector(values, "ImageOrientationPatient", 6, ORIENTATION, name).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > COSINE or abs(axes[0] @ axes[1]) > COSINE:
        raise unsuitable(
            f"two unit vectors at right angles in {ORIENTATION}",
            f"lengths of {lengths[0]:.4f} and {lengths[1]:.4f} and a cosine of {axes[0] @ axes[1]:.4f} "
            f"in {name}",
        )
    spacing_mm = _vector(values, "PixelSpacing", 2, SPACING, name)
    if spacing_mm.min() < LEAST_SPACING_MM or spacing_mm.max() > MOST_SPACING_MM:
        raise unsuitable(
            f"{SPACING} from {LEAST_SPACING_MM:g} to {MOST_SPACING_MM:g} mm",
            f"{spacing_mm[0]:g} x {spacing_mm[1]:g} mm in {name}",
        )
    return Slice(file, frame, values, position_mm, axes / lengths[:, None], spacing_mm)


def _vector(values: dict[str, Any], keyword: str, length: int, tag: str, name: str) -> np.ndarray:
    value = values.get(keyword)
    if value is None or not np.size(value):
        raise unsuitable(f"{tag} in every slice", f"none in {name}")
    try:
        numbers = np.array([float(v) for v in np.atleast_1d(np.asarray(value, dtype=object))])
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    # 1e5 mm is a hundred metres from the scanner's centre.
    if len(numbers) != length or not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e5:
        raise unsuitable(f"{length} numbers in {tag}", f"a damaged value in {name}")
    return numbers
