"""What is known about an image besides its voxels: Origin during the transforms, Case after the last one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from medseg.volume import Mask, Window

WARNING, NOTE = "warning", "note"


@dataclass(frozen=True)
class Finding:
    """Something that a step noticed or changed.

    Attributes:
        kind: "warning" for what the user must know, "note" for what a step did to the mask.
        step: "reader", or the class name of the transform that made the finding.
        text: a sentence.
    """

    kind: str
    step: str
    text: str


@dataclass(frozen=True, eq=False)
class Origin:
    """Where an image came from, and the findings so far; the image's meta data hold it under `origin`.

    Attributes:
        source: the path that the image came from.
        headers: of DICOM, as medseg.volume.Volume has them.
        pixel_spacing_mm: (row, column) size of a picture's pixel in mm; None when unknown.
        region_box: (top, left, height, width) in px of the part of a picture to which pixel_spacing_mm
            applies.
        findings: in the order in which they were made.
    """

    source: str = ""
    headers: tuple[Any, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    region_box: tuple[int, int, int, int] | None = None
    findings: tuple[Finding, ...] = ()
    # MONAI's decollation splits meta data along the batch. With `ndim` 0 and `item` it takes an Origin for a
    # scalar and leaves it whole.
    ndim: ClassVar[int] = 0

    def item(self) -> Origin:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Origin:
        return self  # it is immutable, and MetaTensor deep-copies its meta data at each step

    def warned(self, step: str, *texts: str) -> Origin:
        """A copy with these warnings added."""
        return self._with(WARNING, step, texts)

    def noted(self, step: str, *texts: str) -> Origin:
        """A copy with these notes added."""
        return self._with(NOTE, step, texts)

    def texts(self, kind: str) -> list[str]:
        """The sentences of one kind."""
        return [finding.text for finding in self.findings if finding.kind == kind]

    def _with(self, kind: str, step: str, texts: tuple[str, ...]) -> Origin:
        added = tuple(Finding(kind, step, text) for text in texts)
        return dataclasses.replace(self, findings=(*self.findings, *added))


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its mask after the last step of a bundle, ready to be measured, scored and saved.

    Attributes:
        mask: on the image's own grid.
        image: (C, row, column) or (C, i, j, k), as it was read.
        field_of_view: (row, column) bool, the part of a picture that was analysed; None for all of it.
        extras: further outputs of the method, by the names that the bundle gives them: `probability`, (row,
            column), and numbers about the whole picture.
        findings: warnings and notes, in the order in which they were made.
        window: the display window of a volume; None where the bundle names none.
        segmented: the mask with a number for each object, in a mode that numbers them; None in the others.
    """

    mask: Mask
    image: np.ndarray
    field_of_view: np.ndarray | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    window: Window | None = None
    segmented: Mask | None = None


def warn(meta: dict[str, Any], step: object, *texts: str) -> None:
    """Add warnings of a transform to the `origin` in an image's meta data."""
    meta["origin"] = meta.get("origin", Origin()).warned(type(step).__name__, *texts)


def note(meta: dict[str, Any], step: object, *texts: str) -> None:
    """Add notes of a transform to the `origin` in an image's meta data."""
    meta["origin"] = meta.get("origin", Origin()).noted(type(step).__name__, *texts)
