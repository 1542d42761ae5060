"""The stacks of slices that a study holds, each checked: a grid, or what is against reading it.

Files make a stack when they share SeriesInstanceUID, SOP class and ImageType. A stack is parted further
where each part is a whole volume of its own: by plane, and by acquisition over the same region. Apart, a
few odd slices would be left out without a word on what is wrong with them; the geometry names them.
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
from medseg.io.dicom.geometry import Grid, arrange
from medseg.io.dicom.pixels import require_scales, same_pixels
from medseg.io.dicom.slices import slices_of

# SOP classes of slices by the modality that belongs to them: classic, enhanced, legacy converted (PS3.4 B.5).
_STORAGE = "1.2.840.10008.5.1.4.1.1."
MODALITIES = {
    "CT": {_STORAGE + end for end in ("2", "2.1", "2.2")},
    "MR": {_STORAGE + end for end in ("4", "4.1", "4.4")},
    "PT": {_STORAGE + end for end in ("128", "130", "128.1")},
}
_IMAGE_CLASSES = set.union(*MODALITIES.values())
# Words of ImageType (0008,0008) of images computed from others: neither their values nor their grid are
# the scanner's.
_COMPUTED = {
    **dict.fromkeys(("MIP", "MAX_IP"), "a maximum intensity projection"),
    **dict.fromkeys(("MINIP", "MIN_IP"), "a minimum intensity projection"),
    "PROJECTION IMAGE": "a projection",
    **dict.fromkeys(("VRT", "SSD", "3D", "VOLUME_RENDER", "VOLUME RENDERING"), "a rendering"),
    **dict.fromkeys(("MPR", "CPR", "REFORMATTED", "CURVED"), "a reformat"),
    **dict.fromkeys(("SCREEN SAVE", "SCREENSAVE"), "a picture of a screen"),
}
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"}
LOCALIZER = "a localizer"


@dataclass(eq=False)
class Stack:
    """Files that belong together, and either their grid or what is against reading them.

    Attributes:
        files: in no order.
        grid: their slices in order; None when they can't be read.
        unfit: in a few words, why such images are not meant to be read (a localizer); else empty.
        error: why images that are meant to be read can't be; None when they can.
        notes: what the user should know when this stack is read.
    """

    files: list[DicomFile]
    grid: Grid | None = None
    unfit: str = ""
    error: InputError | None = None
    notes: list[str] = field(default_factory=list)

    def usual(self, keyword: str) -> str:
        """What most files have as the value of a tag, as text; empty when they have none."""
        values = Counter(text_of(file.header, keyword) for file in self.files)
        return max(values, key=lambda value: values[value])

    @property
    def modality(self) -> str:
        return self.usual("Modality")

    @property
    def reason(self) -> str:
        """Why it can't be read, in words; empty when it can."""
        return f"{self.error.came} (required: {self.error.required})" if self.error else self.unfit


def stacks_of(files: Iterable[DicomFile], modality: str | None) -> list[Stack]:
    """All stacks of a study, in the order of their series numbers, each checked.

    Args:
        files: of one study or several.
        modality: such as CT; None takes any of MODALITIES.
    """
    groups: dict[tuple[str, ...], list[DicomFile]] = {}
    for file in files:
        key = tuple(text_of(file.header, k) for k in ("SeriesInstanceUID", "SOPClassUID", "ImageType"))
        groups.setdefault(key, []).append(file)
    stacks = [stack for group in groups.values() for stack in _parted(group, modality)]
    stacks.sort(key=number_of)
    _mark_doubles(stacks)
    return stacks


def number_of(stack: Stack) -> tuple[int, str, str]:
    """What stacks are sorted by: SeriesNumber, and what tells those of one number apart."""
    number = stack.usual("SeriesNumber")
    return (
        int(number) if re.fullmatch(r"\d{1,9}", number) else 10**9,
        stack.usual("SeriesInstanceUID"),
        stack.usual("AcquisitionNumber").rjust(12),
    )


def text_of(header: Any, keyword: str) -> str:
    """A header's value as text, several joined by a backslash; empty when missing or damaged."""
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


def _parted(files: list[DicomFile], modality: str | None) -> list[Stack]:
    whole = _checked(files, modality)
    if whole.error is None:
        return [whole]
    for tag, told in (("ImageOrientationPatient", "planes"), ("AcquisitionNumber", "acquisitions")):
        groups: dict[str, list[DicomFile]] = {}
        for file in files:
            groups.setdefault(text_of(file.header, tag), []).append(file)
        parts = [_checked(group, modality) for group in groups.values()] if len(groups) > 1 else []
        grids = [part.grid for part in parts if part.grid]
        if parts and len(grids) == len(parts) and (told == "planes" or _overlap(grids)):
            for part in parts:
                part.notes.append(f"its series holds {len(parts)} {told}; one of them was read")
            return parts
    return [whole]


def _checked(files: list[DicomFile], modality: str | None) -> Stack:
    stack = Stack(files)
    try:
        stack.unfit = _unfit(stack, modality)
        if not stack.unfit:
            slices = [found for file in files for found in slices_of(file)]
            require_pixels(slices)
            require_scales(slices)
            stack.grid = arrange(slices, same_pixels)
    except InputError as error:
        stack.error = error
    except Exception:  # as in text_of
        stack.error = UnreadableError(
            "headers that can be read", came="damaged values", do="Copy the series again from its source."
        )
    return stack


def _unfit(stack: Stack, modality: str | None) -> str:
    """Why these are no slices of the wanted kind; empty when they are."""
    sop_class, kind, words = stack.usual("SOPClassUID"), stack.modality, words_of(stack)
    name = _class_name(sop_class)
    checks: list[tuple[Callable[[], bool], str]] = [
        (lambda: sop_class not in _IMAGE_CLASSES, f"no slices of a volume: {name}"),
        (lambda: "SegmentSequence" in stack.files[0].header, f"a segmentation under the SOP class {name}"),
        (
            lambda: sop_class not in MODALITIES.get(kind, set()),
            f"the modality {shown(kind) or '(none)'} under the SOP class {name}",
        ),
        (lambda: modality not in (None, kind), f"the modality {kind} instead of {modality}"),
        (lambda: stack.usual("SamplesPerPixel") not in ("1", ""), "colour pictures"),
        (lambda: not _LOCALIZER_WORDS.isdisjoint(words), LOCALIZER),
    ]
    reason = next((told for fails, told in checks if fails()), "")
    return reason or next((_COMPUTED[word] for word in words if word in _COMPUTED), "")


def shown(text: str) -> str:
    """A coded value as it may be printed: without what can't be in one, and cut when overlong."""
    return "".join(c for c in text if c.isascii() and c.isprintable())[:48]


def _class_name(sop_class: str) -> str:
    from pydicom.uid import UID

    name = UID(sop_class).name
    return name if name != sop_class else "an unknown SOP class"


def _overlap(grids: Sequence[Grid]) -> bool:
    """Whether they cover the same region: at least half of the extent of the longest is common to all."""
    normal = np.cross(*grids[0].slices[0].axes)
    ends = [[float(g.slices[k].position_mm @ normal) for k in (0, -1)] for g in grids]
    common_mm = min(end for _, end in ends) - max(start for start, _ in ends)
    return common_mm >= max(end - start for start, end in ends) / 2


def _mark_doubles(stacks: Sequence[Stack]) -> None:
    """A series that was sent twice under two identifiers is read once, and named a duplicate."""
    for position, stack in enumerate(stacks):
        for number, other in enumerate(stacks[:position], start=1):
            if stack.grid and other.grid and _same_images(stack.grid, other.grid):
                stack.grid, stack.unfit = None, f"a duplicate of series {number}"


def _same_images(a: Grid, b: Grid) -> bool:
    """Same places, and same pixels in the first, the middle and the last slice."""
    count = len(a.slices)
    if count != len(b.slices) or not np.allclose(a.affine, b.affine):
        return False
    pairs = [(a.slices[k], b.slices[k]) for k in (0, count // 2, count - 1)]
    try:
        return all(p.values["Rows"] == q.values["Rows"] and same_pixels(p, q) for p, q in pairs)
    except InputError:
        return False
