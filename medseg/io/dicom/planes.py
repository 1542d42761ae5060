"""Match each slice of a mask to its source image, for SEG and RTSTRUCT, which refer to source images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError
from medseg.volume import Mask

# DICOM's patient coordinates are LPS+, medseg's are RAS+.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# The identifiers that a reference to an image consists of.
UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class Plane:
    """A source image: a data set of one slice, or one frame of a multi-frame data set.

    Attributes:
        header: the data set.
        frame: number of the frame, from 1; None for a data set of one slice.
        corners_mm: (3, 3) in LPS+ mm: the centres of the first pixel, of the last pixel in its row, and of
            the last pixel in its column.
    """

    header: Any
    frame: int | None
    corners_mm: np.ndarray


def planes(mask: Mask) -> list[Plane]:
    """The source image of each slice k of a mask (i, j, k) = (column, row, slice).

    Raises:
        UnsuitableError: the mask's image is not DICOM, it lacks the UIDs of a reference, or the mask does not
            lie on its slices. Without this check a flipped or resampled mask would be shown on wrong pixels.
    """
    headers = mask.headers
    if not headers or mask.affine is None:
        raise UnsuitableError(
            "a mask of a DICOM series, to whose slices the file refers",
            got="a mask of an image in another format",
            advice="Write it as NIfTI, NRRD or MHA, or segment the DICOM series.",
        )
    missing = missing_uids(headers)
    if missing:
        raise UnsuitableError(
            f"source images with {' and '.join(UIDS)}",
            got=f"images without {' and '.join(missing)}",
            advice="Export the series again with these, or write the mask as NIfTI or NRRD.",
        )
    expected = slice_corners(LPS_TO_RAS @ mask.affine, mask.array.shape)
    found = [plane for header in headers for plane in planes_of(header)]
    if len(headers) == 1 and found[0].frame is not None:
        starts = np.array([plane.corners_mm[0] for plane in found])
        found = [found[int(np.linalg.norm(starts - corners[0], axis=1).argmin())] for corners in expected]
    if len(found) != len(expected):
        raise _elsewhere(f"a mask of {len(expected)} slices for {len(found)} source images")
    apart_mm = np.array([np.abs(p.corners_mm - e).max() for p, e in zip(found, expected, strict=True)])
    # A flipped mask or a wrong slice is off by more than half a voxel, rounded positions by far less.
    if not apart_mm.max() < np.linalg.norm(mask.affine[:3, :3], axis=0).min() / 2:
        worst = int(apart_mm.argmax())
        raise _elsewhere(
            f"slice {worst + 1} of {len(found)}, which lies {apart_mm[worst]:.2f} mm from its source"
        )
    return found


def missing_uids(headers: Sequence[Any]) -> list[str]:
    """The keywords of UIDS that are missing in a source image; none when there is no header."""
    return [name for name in UIDS if not all(header.get(name) for header in headers)]


def _elsewhere(got: str) -> UnsuitableError:
    return UnsuitableError(
        "a mask on the slices of its source images",
        got=got,
        advice="Resample the mask to the grid of its image first.",
    )


def present_labels(mask: Mask) -> list[int]:
    """The labels that have a voxel.

    Raises:
        UnsuitableError: no label has a voxel; neither SEG nor RTSTRUCT can be empty.
    """
    present = [int(value) for value in np.unique(mask.array.ravel(order="K")) if value]
    if not present:
        raise UnsuitableError(
            "a mask with a labelled voxel",
            got="an empty mask",
            advice="Write an empty mask as NIfTI; the measurements name the labels that were not found.",
        )
    return present


def slice_corners(lps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The corners of each slice as in Plane.corners_mm, (k, 3, 3).

    Args:
        lps: 4x4, voxel index to LPS+ mm.
        shape: (i, j, k) = (column, row, slice).
    """
    columns, rows, slices = shape
    index = np.array([[0, 0], [columns - 1, 0], [0, rows - 1]], dtype=np.float64)
    flat = index @ lps[:3, :2].T + lps[:3, 3]
    return flat[None] + np.arange(slices)[:, None, None] * lps[:3, 2]


def planes_of(header: Any) -> list[Plane]:
    """The planes of a data set: one for a single slice, else one per frame."""
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
    """The item of a functional group of a frame, from the frame's own groups or else the shared ones."""
    return (frame if name in frame else header.SharedFunctionalGroupsSequence[0])[name].value[0]


def _header_corners(header: Any, position: Any, orientation: Any, measures: Any) -> np.ndarray:
    """The corners as in Plane.corners_mm, by PS3.3 C.7.6.2.1.1."""
    start = np.array(position.ImagePositionPatient, dtype=np.float64)
    along_row, along_column = np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_step, column_step = (float(step) for step in measures.PixelSpacing)
    last_column = start + along_row * column_step * (int(header.Columns) - 1)
    last_row = start + along_column * row_step * (int(header.Rows) - 1)
    return np.array([start, last_column, last_row])
