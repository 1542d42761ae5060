"""Group the files of a study into stacks of slices, and find each stack's grid or why it can't be read.

Files form a stack when they share SeriesInstanceUID, SOP class and purpose (from ImageType). A stack is split
further only where each part is a complete volume: by orientation; by ImageType, kernel and acquisition over
the same region. If every difference split a stack, a few irregular slices would be dropped silently; in one
stack the geometry check names them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medseg.errors import InputError, UnreadableError
from medseg.io.dicom.decoding import require_pixels
from medseg.io.dicom.files import DicomFile
from medseg.io.dicom.geometry import SAME_COSINE, SAME_SPACING, Grid, arrange
from medseg.io.dicom.pixels import require_scales, same_pixels
from medseg.io.dicom.slices import slices_of
from medseg.io.dicom.steps import tolerance_mm

# SOP classes by modality: single-slice, enhanced and legacy converted (PS3.4 B.5).
_STORAGE = "1.2.840.10008.5.1.4.1.1."
MODALITIES = {
    "CT": {_STORAGE + end for end in ("2", "2.1", "2.2")},
    "MR": {_STORAGE + end for end in ("4", "4.1", "4.4")},
    "PT": {_STORAGE + end for end in ("128", "130", "128.1")},
}
LOCALIZER, REFORMAT = "a localizer", "a reformat"
_IMAGE_CLASSES = set.union(*MODALITIES.values())
# Values of ImageType (0008,0008) of images that are computed from others, so that their values and their grid
# differ from the scanner's.
_COMPUTED = {
    **dict.fromkeys(("MIP", "MAX_IP"), "a maximum intensity projection"),
    **dict.fromkeys(("MINIP", "MIN_IP"), "a minimum intensity projection"),
    "PROJECTION IMAGE": "a projection",
    **dict.fromkeys(("VRT", "SSD", "3D", "VOLUME_RENDER", "VOLUME RENDERING"), "a rendering"),
    **dict.fromkeys(("CPR", "CURVED"), "a curved reformat"),
    **dict.fromkeys(("MPR", "REFORMATTED"), REFORMAT),
    **dict.fromkeys(("SCREEN SAVE", "SCREENSAVE"), "a picture of a screen"),
}
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"}
# Stacks with a larger gap between them show different regions.
MOST_GAP_STEPS = 20


@dataclass(eq=False)
class Stack:
    """Files that belong together, with their grid or the reason against reading them.

    Attributes:
        files: in no order.
        grid: their slices in order; None when they can't be read.
        unfit: the kind of images that are not read, such as "a localizer"; else empty. A reformat has a grid
            nevertheless, for studies with nothing better.
        error: why images of a suitable kind can't be read; None when they can.
        notes: what the user should know when this stack is read.
    """

    files: list[DicomFile]
    grid: Grid | None = None
    unfit: str = ""
    error: InputError | None = None
    notes: list[str] = field(default_factory=list)

    def usual(self, keyword: str) -> str:
        """The most common value of an attribute in the files, as text; empty when most lack it."""
        values = Counter(text_of(file.header, keyword) for file in self.files)
        return max(values, key=lambda value: values[value])

    @property
    def modality(self) -> str:
        return self.usual("Modality")

    @property
    def reason(self) -> str:
        """Why it is not read, in words; empty when it can be."""
        return f"{self.error.got} (expected {self.error.expected})" if self.error else self.unfit


def stacks_of(files: Iterable[DicomFile], modality: str | None) -> list[Stack]:
    """All stacks of a study, in the order of their series numbers, each checked.

    Args:
        files: of one study or several.
        modality: such as CT; None takes any of MODALITIES.
    """
    groups: dict[tuple[str, ...], list[DicomFile]] = {}
    for file in files:
        key = (*(text_of(file.header, k) for k in ("SeriesInstanceUID", "SOPClassUID")), _purpose(file))
        groups.setdefault(key, []).append(file)
    stacks = [stack for group in groups.values() for stack in _split(group, modality)]
    stacks.sort(key=number_of)
    _mark_doubles(stacks)
    return stacks


def number_of(stack: Stack) -> tuple[int, str, str]:
    """The sort key of stacks: SeriesNumber, SeriesInstanceUID and AcquisitionNumber."""
    number = stack.usual("SeriesNumber")
    return (
        int(number) if re.fullmatch(r"\d{1,9}", number) else 10**9,
        stack.usual("SeriesInstanceUID"),
        stack.usual("AcquisitionNumber").rjust(12),
    )


def text_of(header: Any, keyword: str) -> str:
    """An attribute as text, several values joined by a backslash; empty when missing or damaged."""
    try:
        value = header.get(keyword)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        return "\\".join(map(str, np.atleast_1d(np.asarray(value, object))))
    except Exception:  # pydicom converts values late, and raises whatever a damaged byte leads to
        return ""


def words_of(stack: Stack) -> list[str]:
    """The values of ImageType (0008,0008), in capitals."""
    return stack.usual("ImageType").upper().split("\\")


def _split(files: list[DicomFile], modality: str | None) -> list[Stack]:
    whole = _checked(files, modality)
    if whole.unfit:
        return [whole]
    for tag, noun, is_split_by in _SPLITS:
        groups: dict[str, list[DicomFile]] = {}
        for file in files:
            groups.setdefault(text_of(file.header, tag), []).append(file)
        parts = [_checked(group, modality) for group in groups.values()] if len(groups) > 1 else []
        if parts and is_split_by(whole, parts):
            for part in parts:
                part.notes.append(f"its series holds {len(parts)} {noun}; one of them was read")
            return parts
    return [whole]


def _are_planes(whole: Stack, parts: Sequence[Stack]) -> bool:
    return whole.error is not None and all(part.grid for part in parts)


def _are_interleaved(whole: Stack, parts: Sequence[Stack]) -> bool:
    """Whether each part is a volume of the same region, even if together they form one regular stack."""
    grids = [part.grid for part in parts if part.grid]
    return len(grids) == len(parts) and _overlap(grids)


def _are_apart(whole: Stack, parts: Sequence[Stack]) -> bool:
    """Whether there is a volume among the parts, and none that continues in another part.

    A volume that continues in another part would lack those slices.
    """
    if whole.error is None or _are_interleaved(whole, parts):
        return _are_interleaved(whole, parts)
    grids = [part.grid for part in parts if part.grid]
    return bool(grids) and not any(
        _continues_in(part, grid) for grid in grids for part in parts if part.grid is not grid
    )


def _are_acquisitions(whole: Stack, parts: Sequence[Stack]) -> bool:
    return whole.error is not None and _are_interleaved(whole, parts)


# Attributes in which slices of one series may differ, the noun for the note, and when a difference splits the
# series. It does not always: scanners also vary ImageType and kernel from slice to slice of one stack.
_SPLITS: tuple[tuple[str, str, Callable[[Stack, Sequence[Stack]], bool]], ...] = (
    ("ImageOrientationPatient", "planes", _are_planes),
    ("ImageType", "image types", _are_apart),
    ("ConvolutionKernel", "kernels", _are_interleaved),
    ("AcquisitionNumber", "acquisitions", _are_acquisitions),
)


def _continues_in(part: Stack, grid: Grid) -> bool:
    """Whether a part has slices that continue a grid beyond one of its ends."""
    first, normal = grid.slices[0], np.cross(*grid.slices[0].axes)
    start, end = (float(grid.slices[k].position_mm @ normal) for k in (0, -1))
    try:
        slices = [found for file in part.files for found in slices_of(file)]
    except InputError:
        return False
    alike = [
        float(found.position_mm @ normal)
        for found in slices
        if np.allclose(found.axes, first.axes, atol=SAME_COSINE)
        and np.allclose(found.spacing_mm, first.spacing_mm, rtol=SAME_SPACING)
        and all(found.values[keyword] == first.values[keyword] for keyword in ("Rows", "Columns"))
    ]
    if part.grid and abs(part.grid.step_mm - grid.step_mm) > tolerance_mm(grid.step_mm):
        return False
    beyond_mm = [max(start - place, place - end) for place in alike]
    return any(0.5 * grid.step_mm < gap < MOST_GAP_STEPS * grid.step_mm for gap in beyond_mm)


def _checked(files: list[DicomFile], modality: str | None) -> Stack:
    stack = Stack(files)
    try:
        stack.unfit = _unfit(stack, modality)
        if stack.unfit in ("", REFORMAT):
            slices = [found for file in files for found in slices_of(file)]
            require_pixels(slices)
            require_scales(slices)
            stack.grid = arrange(slices, same_pixels)
    except InputError as error:
        stack.error = error
    except Exception:  # as in text_of
        stack.error = UnreadableError(
            "headers that can be read", got="damaged values", advice="Copy the series again from its source."
        )
    if stack.unfit:
        stack.error = None
    return stack


def _purpose(file: DicomFile) -> str:
    """The purpose of an image according to ImageType; empty for an ordinary slice."""
    words = text_of(file.header, "ImageType").upper().split("\\")
    if not _LOCALIZER_WORDS.isdisjoint(words):
        return LOCALIZER
    found = [_COMPUTED[word] for word in words if word in _COMPUTED]
    # A projection through reformatted slices is a projection.
    return next((purpose for purpose in found if purpose != REFORMAT), found[0] if found else "")


def _unfit(stack: Stack, modality: str | None) -> str:
    """The kind of images where it is not the wanted one; empty where it is."""
    sop_class, kind = stack.usual("SOPClassUID"), stack.modality
    name = class_name(sop_class)
    checks: list[tuple[Callable[[], bool], str]] = [
        (lambda: sop_class not in _IMAGE_CLASSES, f"no slices of a volume: {name}"),
        (lambda: "SegmentSequence" in stack.files[0].header, f"a segmentation under the SOP class {name}"),
        (
            lambda: sop_class not in MODALITIES.get(kind, set()),
            f"the modality {shown(kind) or '(none)'} under the SOP class {name}",
        ),
        (lambda: modality not in (None, kind), f"the modality {kind} instead of {modality}"),
        (lambda: stack.usual("SamplesPerPixel") not in ("1", ""), "colour pictures"),
    ]
    return next((text for is_true, text in checks if is_true()), "") or _purpose(stack.files[0])


def shown(text: str) -> str:
    """A coded value for printing: ASCII only, at most 48 characters."""
    return "".join(c for c in text if c.isascii() and c.isprintable())[:48]


def class_name(sop_class: str) -> str:
    """The standard's name of a SOP class."""
    from pydicom.uid import UID

    name = UID(sop_class).name
    return name if name != sop_class else "an unknown SOP class"


def _overlap(grids: Sequence[Grid]) -> bool:
    """Whether grids show the same region: all share at least half of the extent of the longest."""
    normal = np.cross(*grids[0].slices[0].axes)
    ends = [[float(g.slices[k].position_mm @ normal) for k in (0, -1)] for g in grids]
    common_mm = min(end for _, end in ends) - max(start for start, _ in ends)
    return common_mm >= max(end - start for start, end in ends) / 2


def _mark_doubles(stacks: Sequence[Stack]) -> None:
    """Mark each series that was sent twice under two identifiers as a duplicate of the first."""
    for position, stack in enumerate(stacks):
        for number, other in enumerate(stacks[:position], start=1):
            if (
                stack.grid
                and other.grid
                and stack.unfit == other.unfit
                and _same_images(stack.grid, other.grid)
            ):
                stack.grid, stack.unfit = None, f"a duplicate of series {number}"


def _same_images(a: Grid, b: Grid) -> bool:
    """Whether two grids have the same affine, and the same pixels in the first, middle and last slice."""
    count = len(a.slices)
    if count != len(b.slices) or not np.allclose(a.affine, b.affine):
        return False
    pairs = [(a.slices[k], b.slices[k]) for k in (0, count // 2, count - 1)]
    try:
        return all(p.values["Rows"] == q.values["Rows"] and same_pixels(p, q) for p, q in pairs)
    except InputError:
        return False
