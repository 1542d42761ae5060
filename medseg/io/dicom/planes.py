"""Which source image each slice of a mask lies on, for what is written about DICOM images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError
from medseg.volume import Mask

# Patient coordinates of DICOM grow to the left, the back and the head; medseg's to the right and the front.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What a reference to an image consists of.
UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class Plane:
    """One source image or one frame of it.

    Attributes:
        header: the data set that holds it.
        frame: its number in a multi-frame data set, from 1; None where the data set is the image.
        corners_mm: (3, 3), LPS: centres of the first pixel, and of the last in its row and in its column.
    """

    header: Any
    frame: int | None
    corners_mm: np.ndarray


def planes(mask: Mask) -> list[Plane]:
    """The source image of each slice k of a mask (i, j, k) = (column, row, slice).

    Raises:
        UnsuitableError: the mask's image was not DICOM, lacks the UIDs to refer to, or the mask does not
            lie on its slices. Without this check a turned or resampled mask would be shown on the wrong
            pixels.
    """
    headers = mask.headers
    if not headers or mask.affine is None:
        raise UnsuitableError(
            "a mask of a DICOM series, whose slices can be referred to",
            got="a mask whose image was no DICOM series",
            advice="Write it as NIfTI, NRRD or MHA, or segment the DICOM series.",
        )
    missing = missing_uids(headers)
    if missing:
        raise UnsuitableError(
            "source images that can be referred to",
            got=f"some without {' and '.join(missing)}",
            advice="Export the series again with these, or write the mask as NIfTI or NRRD.",
        )
    expected = slice_corners(LPS_TO_RAS @ mask.affine, mask.array.shape)
    found = [plane for header in headers for plane in planes_of(header)]
    if len(headers) == 1 and found[0].frame is not None:
        starts = np.array([plane.corners_mm[0] for plane in found])
        found = [found[int(np.linalg.norm(starts - corners[0], axis=1).argmin())] for corners in expected]
    if len(found) != len(expected):
        raise _elsewhere(f"{len(expected)} slices for {len(found)} source images")
    apart_mm = np.array([np.abs(p.corners_mm - e).max() for p, e in zip(found, expected, strict=True)])
    # Half a voxel tells a flip or a wrong slice from the rounding of positions.
    if not apart_mm.max() < np.linalg.norm(mask.affine[:3, :3], axis=0).min() / 2:
        worst = int(apart_mm.argmax())
        raise _elsewhere(f"slice {worst + 1} of {len(found)} lying {apart_mm[worst]:.2f} mm from its source")
    return found


def missing_uids(headers: Sequence[Any]) -> list[str]:
    """The identifiers of UIDS that a source image lacks, by keyword; none for what is no DICOM."""
    return [name for name in UIDS if not all(header.get(name) for header in headers)]


def _elsewhere(got: str) -> UnsuitableError:
    return UnsuitableError(
        "a mask on the slices of its source images",
        got=got,
        advice="Bring the mask back to the grid of its image first.",
    )


def present_labels(mask: Mask) -> list[int]:
    """The labels that have a voxel.

    Raises:
        UnsuitableError: there are none; neither SEG nor RTSTRUCT can be empty.
    """
    present = [int(value) for value in np.unique(mask.array.ravel(order="K")) if value]
    if not present:
        raise UnsuitableError(
            "a mask with a labelled voxel",
            got="an empty mask",
            advice="Write an empty mask as NIfTI; the measurements say what was not found.",
        )
    return present


def slice_corners(lps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(k, 3, 3): the corners of each slice as Plane has them."""
    columns, rows, slices = shape
    index = np.array([[0, 0], [columns - 1, 0], [0, rows - 1]], dtype=np.float64)
    flat = index @ lps[:3, :2].T + lps[:3, 3]
    return flat[None] + np.arange(slices)[:, None, None] * lps[:3, 2]


def planes_of(header: Any) -> list[Plane]:
    """The planes of a data set: itself, or its frames."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if frames is None:
        return [Plane(header, None, _header_corners(header, header, header, header))]
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return [
        Plane(
            header,
            number,
            _header_corners(header, *(functional_group(header, frame, name) for name in names)),
        )
        for number, frame in enumerate(frames, start=1)
    ]


def functional_group(header: Any, frame: Any, name: str) -> Any:
    """What a multi-frame data set says of a frame, in the frame's own groups or in those of all frames."""
    return (frame if name in frame else header.SharedFunctionalGroupsSequence[0])[name].value[0]


def _header_corners(header: Any, position: Any, orientation: Any, measures: Any) -> np.ndarray:
    """The corners of a plane as Plane has them; PS3.3 C.7.6.2.1.1."""
    start = np.array(position.ImagePositionPatient, dtype=np.float64)
    along_row, along_column = np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_step, column_step = (float(step) for step in measures.PixelSpacing)
    last_column = start + along_row * column_step * (int(header.Columns) - 1)
    last_row = start + along_column * row_step * (int(header.Rows) - 1)
    return np.array([start, last_column, last_row])
