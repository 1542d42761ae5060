"""Check that the slices of a stack follow each other at equal steps and along a straight line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.errors import UnsuitableError
from medseg.io.dicom.slices import ORIENTATION, POSITION, Slice, place, unsuitable

# Positions that are rounded to 0.1 mm are off by up to 0.05 mm. Thick slices may be off by 2 % of their step,
# which is not visible; thin slices by no more than 10 %, so that a duplicate slice never passes.
ROUNDING_MM, STEP_SHARE, MOST_STEP_SHARE = 0.06, 0.02, 0.10
# A gantry tilts by at most 30 degrees.
MOST_TILT_DEGREES = 45.0
MOST_NAMED = 3  # gaps that a message names


def tolerance_mm(step_mm: float) -> float:
    """The distance in mm by which a slice may be off its place on a regular grid; see ROUNDING_MM."""
    return min(max(ROUNDING_MM, STEP_SHARE * step_mm), MOST_STEP_SHARE * step_mm)


def require_even(ordered: Sequence[Slice], distances_mm: np.ndarray) -> None:
    """Check that the steps between slices are equal.

    Args:
        ordered: slices, ascending along the normal.
        distances_mm: (slice,) position of each along the normal.

    Raises:
        UnsuitableError: slices are missing, are off their place, or the steps drift.
    """
    steps_mm = np.diff(distances_mm)
    usual_mm = float(np.median(steps_mm))
    odd = np.flatnonzero(np.abs(steps_mm - usual_mm) > 2 * tolerance_mm(usual_mm))
    if len(odd):
        raise _odd_steps(ordered, steps_mm, usual_mm, odd)
    even_mm = np.linspace(distances_mm[0], distances_mm[-1], len(distances_mm))
    off_mm = np.abs(distances_mm - even_mm)
    if off_mm.max() > max(2 * tolerance_mm(usual_mm), STEP_SHARE * usual_mm):
        worst = int(off_mm.argmax())
        raise unsuitable(
            f"slices at equal steps ({POSITION})",
            f"steps that drift from {steps_mm.min():.3f} to {steps_mm.max():.3f} mm, so that "
            f"{place(ordered, worst)} is {off_mm[worst]:.2f} mm off a regular grid",
        )


def _odd_steps(
    ordered: Sequence[Slice], steps_mm: np.ndarray, usual_mm: float, odd: np.ndarray
) -> UnsuitableError:
    expected = f"slices at equal steps ({POSITION})"
    # Where most slices are missing, the usual step is too long and the smallest step is the true one.
    for true_mm in (usual_mm, float(steps_mm.min())):
        times = np.round(steps_mm / true_mm)
        if times.min() > 0 and (np.abs(steps_mm - times * true_mm) <= 2 * tolerance_mm(true_mm)).all():
            got = _missing(ordered, steps_mm, true_mm)
            return unsuitable(expected, got, "Copy the series again: some files are missing or damaged.")
    first, usual = int(odd[0]), f"{usual_mm:.2f} mm"
    if len(odd) == 2 and odd[1] == odd[0] + 1:
        off_mm = steps_mm[first] - (steps_mm[first] + steps_mm[first + 1]) / 2
        got = f"{place(ordered, first + 1)} lies {abs(off_mm):.2f} mm off its place between its neighbours"
    else:
        got = (
            f"{_number(len(odd), 'step', 'steps')} unequal to the usual {usual}, from {steps_mm.min():.2f} "
            f"to {steps_mm.max():.2f} mm; the first is {steps_mm[first]:.2f} mm between "
            f"{place(ordered, first)} and {place(ordered, first + 1)}"
        )
    return unsuitable(expected, got)


def _missing(ordered: Sequence[Slice], steps_mm: np.ndarray, true_mm: float) -> str:
    gaps = [(index, round(times) - 1) for index, times in enumerate((steps_mm / true_mm).tolist())]
    gaps = [(index, count) for index, count in gaps if count]
    named = [
        f"{_number(count, 'slice is', 'slices are')} missing between {place(ordered, index)} "
        f"and {place(ordered, index + 1)}, a step of {steps_mm[index]:.2f} mm instead of {true_mm:.2f} mm"
        for index, count in gaps[:MOST_NAMED]
    ]
    return "; ".join(named) + (f"; {len(gaps) - MOST_NAMED} more gaps" if len(gaps) > MOST_NAMED else "")


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def require_straight(ordered: Sequence[Slice], positions: np.ndarray, normal: np.ndarray) -> list[str]:
    """Check that the slices lie along a straight line, which may be oblique to them (a tilted gantry).

    Args:
        ordered: slices, ascending along the normal.
        positions: (slice, 3) ImagePositionPatient in LPS+ mm.
        normal: (3,) unit normal of the slices.

    Returns:
        A warning with the angle between the line and the normal; empty when there is none.

    Raises:
        UnsuitableError: a slice lies beside the line, or the angle is above MOST_TILT_DEGREES.
    """
    along_mm = positions @ normal
    sideways = positions - along_mm[:, None] * normal
    share = ((along_mm - along_mm[0]) / (along_mm[-1] - along_mm[0]))[:, None]
    off_mm = np.linalg.norm(sideways - sideways[0] - share * (sideways[-1] - sideways[0]), axis=1)
    usual_mm = float(np.median(np.diff(along_mm)))
    if off_mm.max() > 2 * tolerance_mm(usual_mm):
        worst = _moved(sideways)
        raise unsuitable(
            f"slices along a straight line ({POSITION})",
            f"{place(ordered, worst)} lies {_sideways_mm(sideways, worst):.2f} mm sideways of its neighbours",
        )
    shift = sideways[-1] - sideways[0]
    if np.linalg.norm(shift) <= 2 * ROUNDING_MM:
        return []
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(shift), along_mm[-1] - along_mm[0])))
    if degrees > MOST_TILT_DEGREES:
        raise unsuitable(
            f"slices along a straight line ({POSITION})",
            f"a stack with a tilt of {degrees:.1f} degrees against its slices ({ORIENTATION})",
        )
    return [f"the gantry was tilted by {degrees:.2f} degrees; the grid is sheared accordingly"]


def _moved(sideways: np.ndarray) -> int:
    return int(np.argmax([_sideways_mm(sideways, index) for index in range(len(sideways))]))


def _sideways_mm(sideways: np.ndarray, index: int) -> float:
    """The distance in mm of a slice from the line with the median of the sideways steps."""
    usual = np.median(np.diff(sideways, axis=0), axis=0)
    line = sideways - np.arange(len(sideways))[:, None] * usual
    return float(np.linalg.norm(line[index] - np.median(line, axis=0)))
