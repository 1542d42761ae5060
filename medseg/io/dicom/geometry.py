"""Order the slices of a stack by position and check that they form one regular grid.

Slices are ordered by their position along the normal, never by file name or instance number. A tilted gantry
and duplicate slices are exactly known and accepted with a warning. Any other irregularity is refused with the
slice, the tag and the step in mm. Positions are in DICOM's LPS+ mm; only `Grid.affine` is in RAS+ mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medseg.errors import UnsuitableError
from medseg.io.dicom.slices import ORIENTATION, POSITION, SPACING, Slice, place, unsuitable
from medseg.io.dicom.steps import require_even, require_straight

# Three slices have two steps; where these differ, neither is known to be the wrong one.
FEWEST_SLICES = 4
# Slices nearer than this are at the same position; the smallest steps of CT are 0.1 mm (micro-CT excepted).
SAME_POSITION_MM = 0.01
# Within a series a scanner writes the same digits in each slice; 1e-4 is 0.05 mm over 500 mm.
SAME_COSINE, SAME_SPACING = 1e-4, 1e-4
MOST_STEP_MM = 50.0
MOST_VOXELS = 2**31  # 4 GiB as 16 bits

# Tags that are equal in all slices of a stack; a difference means damage or a mixture of series.
SAME_TAGS = {
    "PatientID": "(0010,0020)",
    "StudyInstanceUID": "(0020,000D)",
    "FrameOfReferenceUID": "(0020,0052)",
    "Modality": "(0008,0060)",
    "Rows": "(0028,0010)",
    "Columns": "(0028,0011)",
    "SamplesPerPixel": "(0028,0002)",
    "PhotometricInterpretation": "(0028,0004)",
    "BitsAllocated": "(0028,0100)",
    "BitsStored": "(0028,0101)",
    "HighBit": "(0028,0102)",
    "PixelRepresentation": "(0028,0103)",
}
_PRIVATE_TAGS = {"PatientID", "StudyInstanceUID", "FrameOfReferenceUID"}


@dataclass(frozen=True, eq=False)
class Grid:
    """Slices in order along the normal, and the affine of their voxels.

    Attributes:
        slices: one per k, ascending along the normal.
        affine: 4x4, voxel (i, j, k) = (column, row, slice) to RAS+ mm. Its third column is the step from
            slice to slice, so that it is sheared when the gantry was tilted.
        step_mm: distance of neighbouring slices along the normal.
        warnings: irregularities that were accepted or corrected.
    """

    slices: tuple[Slice, ...]
    affine: np.ndarray
    step_mm: float
    warnings: tuple[str, ...]


def arrange(slices: Sequence[Slice], same_pixels: Callable[[Slice, Slice], bool]) -> Grid:
    """Order slices and check that they form one regular grid.

    Args:
        slices: of one series, in any order.
        same_pixels: whether two slices at the same position have the same values.

    Raises:
        UnsuitableError: they don't form one; the message names the slice, the tag and the step.
    """
    axes = _common(np.array([s.axes for s in slices]))
    normal = np.cross(*axes) / np.linalg.norm(np.cross(*axes))
    ordered = sorted(slices, key=lambda s: (float(s.position_mm @ normal), s.frame or 0, s.file.name))
    _require_same(ordered)
    _require_same_axes(ordered, axes)
    ordered, doubled = _without_doubles(ordered, normal, same_pixels)
    if len(ordered) < FEWEST_SLICES:
        raise unsuitable(f"at least {FEWEST_SLICES} slices", f"{len(ordered)}: too few slices for a volume")
    positions = np.array([s.position_mm for s in ordered])
    distances_mm = positions @ normal
    require_even(ordered, distances_mm)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    step_mm = float(step @ normal)
    tilt = require_straight(ordered, positions, normal)
    if not tilt:
        step = normal * step_mm
    _require_size(ordered, step_mm)
    affine = _affine(ordered[0], axes, step)
    return Grid(tuple(ordered), affine, step_mm, (*doubled, *tilt, *_gaps(ordered, step_mm)))


def _common(values: np.ndarray) -> np.ndarray:
    """The most common value, or the median where all values differ slightly.

    Args:
        values: one value (of any shape) per slice along the first axis.
    """
    unique, counts = np.unique(values, axis=0, return_counts=True)
    return np.asarray(unique[counts.argmax()] if counts.max() > 1 else np.median(values, axis=0))


def _require_same(ordered: Sequence[Slice]) -> None:
    """Check that every slice has the most common value of each tag in SAME_TAGS."""
    for keyword, tag in SAME_TAGS.items():
        values = [str(s.values.get(keyword, "missing")) for s in ordered]
        usual = max(set(values), key=values.count)
        odd = [index for index, value in enumerate(values) if value != usual]
        if not odd:
            continue
        # A message never shows the value of an identifier.
        difference = "another one" if keyword in _PRIVATE_TAGS else f"{values[odd[0]]} instead of {usual}"
        raise unsuitable(
            f"slices with the same {keyword} {tag}",
            f"{difference} at {place(ordered, odd[0])}{_and_more(odd)}",
            "The series is mixed with another one or damaged; export it again from its source.",
        )


def _and_more(odd: Sequence[int]) -> str:
    return f" and {len(odd) - 1} more" if len(odd) > 1 else ""


def _require_same_axes(ordered: Sequence[Slice], axes: np.ndarray) -> None:
    turned = np.abs(np.array([s.axes for s in ordered]) - axes).max(axis=(1, 2))
    odd = np.flatnonzero(turned > SAME_COSINE)
    if len(odd):
        cosine = np.clip(np.cross(*ordered[odd[0]].axes) @ np.cross(*axes), -1, 1)
        row = np.clip(ordered[odd[0]].axes[0] @ axes[0], -1, 1)
        degrees = max(np.degrees(np.arccos(cosine)), np.degrees(np.arccos(row)))
        raise unsuitable(
            f"slices with the same {ORIENTATION}",
            f"mixed orientation: {place(ordered, odd[0])} is rotated by {degrees:.2f} degrees against most "
            f"others{_and_more(list(odd))}",
        )
    spacings_mm = np.array([s.spacing_mm for s in ordered])
    usual_mm = _common(spacings_mm)
    odd = np.flatnonzero((np.abs(spacings_mm / usual_mm - 1) > SAME_SPACING).any(axis=1))
    if len(odd):
        raise unsuitable(
            f"slices with the same {SPACING}",
            f"{_pair(spacings_mm[odd[0]])} mm instead of {_pair(usual_mm)} mm at "
            f"{place(ordered, odd[0])}{_and_more(list(odd))}",
        )


def _pair(values: np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _without_doubles(
    ordered: list[Slice], normal: np.ndarray, same_pixels: Callable[[Slice, Slice], bool]
) -> tuple[list[Slice], list[str]]:
    """Leave out duplicate slices; two different slices at one position are refused."""
    kept = [ordered[0]]
    dropped: list[int] = []
    for index in range(1, len(ordered)):
        found, before = ordered[index], kept[-1]
        if (found.position_mm - before.position_mm) @ normal > SAME_POSITION_MM:
            kept.append(found)
            continue
        if np.abs(found.position_mm - before.position_mm).max() > SAME_POSITION_MM or not same_pixels(
            before, found
        ):
            raise _two_at_one_place(ordered, index, normal)
        dropped.append(index)
    if not dropped:
        return kept, []
    named = f"{ordered[dropped[0]].name}{_and_more(dropped)}"
    return kept, [f"duplicate slices were read once ({named})"]


def _two_at_one_place(ordered: Sequence[Slice], index: int, normal: np.ndarray) -> UnsuitableError:
    distances_mm = np.array([s.position_mm @ normal for s in ordered])
    pairs = int((np.diff(distances_mm) <= SAME_POSITION_MM).sum())
    acquisitions = {str(s.values.get("AcquisitionNumber", "")) for s in ordered}
    if pairs == len(ordered) - 1:
        got = f"all {len(ordered)} slices at one position, {place(ordered, 0)}: a bolus or perfusion series"
    else:
        got = (
            f"two different slices at one position, {place(ordered, index - 1)} and "
            f"{ordered[index].name}{f'; {pairs} such pairs' if pairs > 1 else ''}"
        )
    if len(acquisitions) > 1:
        got += f"; {len(acquisitions)} acquisitions (0020,0012) in one series"
    return unsuitable(f"one slice at each {POSITION}", got, "Export one acquisition as a series of its own.")


def _require_size(ordered: Sequence[Slice], step_mm: float) -> None:
    rows, columns = int(ordered[0].values["Rows"]), int(ordered[0].values["Columns"])
    voxels = rows * columns * len(ordered)
    if voxels > MOST_VOXELS:
        raise unsuitable(
            f"at most {MOST_VOXELS} voxels",
            f"{len(ordered)} slices of {rows}x{columns}",
            "Export a part of the series.",
        )
    if step_mm > MOST_STEP_MM:
        raise unsuitable(f"steps of at most {MOST_STEP_MM:g} mm ({POSITION})", f"{step_mm:.1f} mm")


def _gaps(ordered: Sequence[Slice], step_mm: float) -> list[str]:
    """A warning about gaps between thin slices, as in early high-resolution CT: volumes in ml are wrong."""
    try:
        thickness_mm = float(ordered[0].values.get("SliceThickness") or 0)
    except (TypeError, ValueError):
        return []
    if thickness_mm > 0 and step_mm > 1.5 * thickness_mm:
        return [
            f"slices of {thickness_mm:g} mm lie {step_mm:g} mm apart; the gaps between them were not imaged"
        ]
    return []


def _affine(first: Slice, axes: np.ndarray, step: np.ndarray) -> np.ndarray:
    """4x4, voxel (column, row, slice) to RAS+ mm: PS3.3 equation C.7.6.2.1-1, then LPS to RAS."""
    lps = np.eye(4)
    lps[:3, 0] = axes[0] * first.spacing_mm[1]
    lps[:3, 1] = axes[1] * first.spacing_mm[0]
    lps[:3, 2] = step
    lps[:3, 3] = first.position_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
