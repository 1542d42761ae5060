"""What a follow-up is made of: visits, comparisons of two of them, and objects through all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from medseg.follow_up.change import Change
from medseg.volume import Mask, Volume, Window


@dataclass(frozen=True, eq=False)
class Visit:
    """One image of the patient with its mask.

    Attributes:
        case: name of the case.
        date: of the study.
        mask: labels, (row, column) or (i, j, k), on the grid of the image.
        image: as it was read.
        measurements: name to {"value", "unit"}, and "reason" if the value is None.
        provenance: of the result; see medseg.outputs.SegmentationResult.
        window: the range of a volume's values that is shown; None for all but the extremes.
        field_of_view: (row, column) bool, the part of a picture that was analysed; None for all of it.
        acquisition: how the image was taken, such as slice_thickness_mm and kernel; only what is known.
        warnings: sentences of the result, such as what the image cuts.
    """

    case: str
    date: date
    mask: Mask
    image: Volume
    measurements: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    window: Window | None = None
    field_of_view: np.ndarray | None = None
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ObjectChange:
    """What became of an object, or of several that merged or split.

    Attributes:
        kind: one of medseg.follow_up.matching.KINDS.
        name: what sort of object, such as dense_region or lesion.
        earlier, later: numbers of the objects at each time, from 1; none for what is new or gone.
        change: of the size, all objects of a time added; None for what is new or gone.
        earlier_size, later_size: the same sizes, in `unit`; None at the time without it.
        unit: ml for volumes, px2 or mm2 for pictures.
        growth: of medseg.follow_up.growth, as a dictionary; None where it is not defined.
        reason: why it is not assessed; empty for all other kinds.
    """

    kind: str
    name: str
    earlier: tuple[int, ...]
    later: tuple[int, ...]
    earlier_size: float | None
    later_size: float | None
    unit: str
    change: Change | None = None
    growth: Mapping[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of the page, the same place at both times.

    Attributes:
        title: a few words; a name of what is shown.
        caption: a sentence.
        earlier, later: (row, column, 3) uint8, of one size.
        change: (row, column, 3) uint8, a map of the change; None where there is none.
    """

    title: str
    caption: str
    earlier: np.ndarray
    later: np.ndarray
    change: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two visits compared.

    Attributes:
        earlier, later: positions of the visits in the follow-up, from 0.
        registration: what the registration did and how well, name to {"value", "unit"}.
        changes: of the whole image, such as a lung's volume.
        objects: what became of each object.
        pictures: for the page.
        maps: file name without suffix to a volume or mask on the later grid.
        warnings: sentences.
    """

    earlier: int
    later: int
    registration: Mapping[str, Mapping[str, Any]]
    changes: Sequence[Change]
    objects: Sequence[ObjectChange] = ()
    pictures: Sequence[Picture] = ()
    maps: Mapping[str, Volume | Mask] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Track:
    """An object through all visits.

    Attributes:
        name: such as dense_region 1.
        sizes: at each visit; None where it was not found.
        unit: of the sizes.
        growth: over all visits; see medseg.follow_up.growth.
        numbers: of the objects at each visit, from 1; empty where there is none.
    """

    name: str
    sizes: tuple[float | None, ...]
    unit: str
    growth: Mapping[str, Any] | None = None
    numbers: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class FollowUp:
    """One patient through time.

    Attributes:
        task: of all results.
        visits: in the order of their dates.
        comparisons: each visit with the one before, and the last with the first where there are more than
            two.
        tracks: each object through all visits.
        warnings, notes: sentences on the follow-up as a whole.
    """

    task: str
    visits: Sequence[Visit]
    comparisons: Sequence[Comparison]
    tracks: Sequence[Track] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
