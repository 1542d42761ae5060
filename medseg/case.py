"""What is known of an image besides its voxels: on its way through the transforms, and at their end."""

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
        step: who says it: "reader", or the name of a transform.
        text: a sentence.
    """

    kind: str
    step: str
    text: str


@dataclass(frozen=True, eq=False)
class Origin:
    """Where an image came from and what was noticed since; its tensor's meta data hold it as `origin`.

    Attributes:
        source: the path that the image came from.
        headers: of DICOM, as medseg.volume.Volume has them.
        pixel_spacing_mm: (row, column) size of a picture's pixel in mm; None when unknown.
        region_box: (top, left, height, width) in px of the part of a picture that the spacing is true of.
        findings: in the order in which they were made.
    """

    source: str = ""
    headers: tuple[Any, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    region_box: tuple[int, int, int, int] | None = None
    findings: tuple[Finding, ...] = ()
    # MONAI takes apart what a loader has put together: these two make it a scalar there, which stays whole.
    ndim: ClassVar[int] = 0

    def item(self) -> Origin:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Origin:
        return self  # never changed, and MetaTensor copies what it holds at each step

    def warned(self, step: str, *texts: str) -> Origin:
        """The same with these warnings added."""
        return self._with(WARNING, step, texts)

    def noted(self, step: str, *texts: str) -> Origin:
        """The same with these notes added."""
        return self._with(NOTE, step, texts)

    def texts(self, kind: str) -> list[str]:
        """The sentences of one kind."""
        return [finding.text for finding in self.findings if finding.kind == kind]

    def _with(self, kind: str, step: str, texts: tuple[str, ...]) -> Origin:
        added = tuple(Finding(kind, step, text) for text in texts)
        return dataclasses.replace(self, findings=(*self.findings, *added))


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its mask, as the last step of a bundle leaves it: what is measured, scored and saved.

    Attributes:
        mask: on the image's own grid.
        image: (C, row, column) or (C, i, j, k), as it was read.
        field_of_view: (row, column) bool, where a picture was analysed; None for everywhere.
        extras: what the method says besides, by the names that the bundle gives: `probability`, (row,
            column), numbers that answer questions about the whole picture.
        findings: warnings and notes, in their order.
        window: in which a volume is shown; None where the bundle names none.
    """

    mask: Mask
    image: np.ndarray
    field_of_view: np.ndarray | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    window: Window | None = None


def warn(meta: dict[str, Any], step: object, *texts: str) -> None:
    """Add warnings of a transform to the `origin` in an image's meta data."""
    meta["origin"] = meta.get("origin", Origin()).warned(type(step).__name__, *texts)


def note(meta: dict[str, Any], step: object, *texts: str) -> None:
    """Add notes of a transform to the `origin` in an image's meta data."""
    meta["origin"] = meta.get("origin", Origin()).noted(type(step).__name__, *texts)
