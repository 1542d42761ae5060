"""Choose the stack of a study that is read.

Of the stacks that can be read, these rules choose one, in this order: original images before derived ones;
axial slices; at least 90 % of the greatest extent; the smallest step (rounded to 0.1 mm); soft kernels before
sharp ones; the lowest series number. A warning names the other stacks, and says when only the series number
decided. Where no stack can be read, a regular stack of axial reformats is read, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from medseg.errors import InputError, UnsuitableError
from medseg.io.dicom.files import Found
from medseg.io.dicom.geometry import Grid
from medseg.io.dicom.stacks import LOCALIZER, Stack, number_of, shown, words_of

ENOUGH_COVERAGE = 0.9
AXIAL = 0.7  # least cosine between the normal and the body's axis: about 45 degrees
MOST_NAMED = 4  # series that a message names


def choose(stacks: Sequence[Stack], found: Found) -> Stack:
    """The stack to read; its notes name the other stacks and the skipped files.

    Raises:
        UnsuitableError, UnreadableError: no stack can be read, or the stacks belong to several patients.
    """
    usable = [(stack, stack.grid) for stack in stacks if stack.grid and not stack.unfit]
    usable = usable or [(stack, stack.grid) for stack in stacks if stack.grid and _is_axial(stack.grid)]
    if not usable:
        raise _none_usable(stacks, found)
    patients = {stack.usual("PatientID") for stack, _ in usable}
    if len(patients) > 1:
        # A choice between patients could assign the result to the wrong one.
        raise UnsuitableError(
            "images of one patient",
            got=f"series of {len(patients)} patients (0010,0020)",
            advice="Name the folder of one study.",
        )
    greatest_mm = max(_extent_mm(grid) for _, grid in usable)
    ranks = {id(stack): _rank(stack, grid, greatest_mm) for stack, grid in usable}
    best = min((stack for stack, _ in usable), key=lambda stack: (ranks[id(stack)], number_of(stack)))
    equal = list(ranks.values()).count(ranks[id(best)])
    if equal > 1:
        best.notes.append(f"{equal} series fit equally well; the one with the lowest number was read")
    best.notes += [*_what_else(stacks, best), *_skipped_files(found)]
    if best.unfit:
        best.notes.append(f"{best.unfit} was read, which was computed from slices that are not in the study")
    if _is_derived(best):
        best.notes.append("ImageType (0008,0008) is DERIVED; the values may differ from the scanner's")
    return best


def kernel_of(stack: Stack) -> str:
    """ConvolutionKernel (0018,1210); the first of several values."""
    return shown(stack.usual("ConvolutionKernel").split("\\")[0])


def is_sharp(kernel: str) -> bool:
    """Whether a reconstruction kernel enhances edges and noise, by the names that vendors give.

    GE and others use words. Siemens (B31f, Br64d) and Canon (FC51) use numbers that grow with sharpness;
    Canon's bone and lung kernels begin at FC30. Philips uses letters, of which D and later ones are sharp. An
    unknown name counts as soft.
    """
    kernel = kernel.strip().upper()
    if any(word in kernel for word in ("LUNG", "BONE", "EDGE", "DETAIL", "ULTRA", "SHARP")):
        return True
    numbered = re.match(r"([A-Z]{1,2})(\d\d)", kernel)
    if numbered:
        return int(numbered[2]) >= (30 if numbered[1] == "FC" else 50)
    return kernel in {"D", "E", "L", "YA", "YB", "YC", "YD", "YE"}


def _rank(stack: Stack, grid: Grid, greatest_mm: float) -> tuple[Any, ...]:
    """The sort key of the rules in this module's docstring; the smallest is best."""
    return (
        _is_derived(stack),
        not _is_axial(grid),
        _extent_mm(grid) < ENOUGH_COVERAGE * greatest_mm,
        round(grid.step_mm, 1),
        is_sharp(kernel_of(stack)),
    )


def _is_axial(grid: Grid) -> bool:
    return bool(abs(np.cross(*grid.slices[0].axes)[2]) >= AXIAL)


def _is_derived(stack: Stack) -> bool:
    return words_of(stack)[0] == "DERIVED"


def _extent_mm(grid: Grid) -> float:
    return grid.step_mm * len(grid.slices)


def _what_else(stacks: Sequence[Stack], best: Stack) -> list[str]:
    """A note about other series that the user might want, and other parts of this one; no localizers."""
    others = [s for s in stacks if s is not best and (_is_alternative(s, best) or _is_part(s, best))]
    if not others:
        return []
    return [f"{_series_text(stacks, best)} was read; not read: {_listed(stacks, others)}"]


def _is_alternative(stack: Stack, best: Stack) -> bool:
    is_like = stack.grid is not None and stack.unfit == best.unfit
    return (is_like or stack.error is not None) and stack.modality == best.modality


def _is_part(stack: Stack, best: Stack) -> bool:
    same = stack.usual("SeriesInstanceUID") == best.usual("SeriesInstanceUID")
    return same and stack.unfit != LOCALIZER


def _skipped_files(found: Found) -> list[str]:
    summary = found.summary(harmless=False)
    return [f"files were skipped: {summary}"] if summary else []


def _listed(stacks: Sequence[Stack], some: Sequence[Stack]) -> str:
    texts = [_series_text(stacks, stack) for stack in some[:MOST_NAMED]]
    return "; ".join(texts + ([f"{len(some) - MOST_NAMED} more"] if len(some) > MOST_NAMED else []))


def _series_text(stacks: Sequence[Stack], stack: Stack) -> str:
    """A series in words, such as "series 2 (CT, 133 slices at 2.50 mm)", without text that a person typed."""
    number = next(n for n, other in enumerate(stacks, start=1) if other is stack)
    if stack.grid and not stack.unfit:
        kernel = kernel_of(stack)
        size = f"{len(stack.grid.slices)} slices at {stack.grid.step_mm:.2f} mm"
        return f"series {number} ({stack.modality}, {size}{', kernel ' + kernel if kernel else ''})"
    files = f"{len(stack.files)} file{'s' if len(stack.files) != 1 else ''}"
    return f"series {number} ({shown(stack.modality)}, {files}: {stack.reason})"


def _none_usable(stacks: Sequence[Stack], found: Found) -> InputError:
    failed = [stack.error for stack in stacks if stack.error]
    skipped = "".join(f"; {text}" for text in _skipped_files(found))
    if len(failed) == 1:
        return type(failed[0])(failed[0].expected, got=failed[0].got + skipped, advice=failed[0].advice)
    return UnsuitableError(
        "a series of slices that can be read",
        got=_listed(stacks, stacks) + skipped,
        advice="Name a study with such a series, or export it again from its source.",
    )
