"""The modes of a segmentation: labels alone, one object, a number for each object, or both in one map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.case import NOTE, Case, Finding
from medseg.errors import BundleError, UnsuitableError, UsageError, did_you_mean
from medseg.instances import InstanceRule, instances, voxel_ml
from medseg.volume import Mask, Segments

SEMANTIC, OBJECT, INSTANCE, PANOPTIC = MODES = ("semantic", "object", "instance", "panoptic")
MOST_SEGMENTS = 65535  # masks of 16 bits and DICOM SEG have no higher numbers

# A function from a Case to numbers on its mask's grid, 0 for none: things that are no label's objects.
Finder = Callable[[Case], np.ndarray]


@dataclass(frozen=True)
class Seed:
    """The place of the object that is meant.

    Attributes:
        place: (row, column) in px of a picture, or (x, y, z) in mm, RAS+, of a volume.
        unit: "px" or "mm".

    Raises:
        UsageError: not two finite numbers of px or three of mm.
    """

    place: tuple[float, ...]
    unit: str

    def __post_init__(self) -> None:
        wanted = {"px": "row and column", "mm": "x, y and z"}[self.unit]
        if len(self.place) != (2 if self.unit == "px" else 3) or not np.isfinite(self.place).all():
            raise UsageError(
                f"a seed of {wanted} in {self.unit}", got=f"{self}", advice="Give finite numbers alone."
            )

    def __str__(self) -> str:
        return f"{', '.join(f'{number:g}' for number in self.place)} {self.unit}"

    def voxel(self, mask: Mask) -> tuple[int, ...]:
        """The pixel or voxel of a mask in which the seed lies.

        Raises:
            UsageError: mm for a picture or px for a volume, or a seed outside the image.
        """
        unit, kind = ("px", "picture") if mask.affine is None else ("mm", "volume")
        if self.unit != unit:
            raise UsageError(
                f"a seed in {unit} for a {kind}", got=f"{self}", advice=f"Give the seed as seed-{unit}."
            )
        at = np.asarray(self.place)
        if mask.affine is not None:
            at = (np.linalg.inv(mask.affine) @ [*self.place, 1])[:3]
        voxel = np.floor(at + 0.5).astype(np.int64)
        if not ((voxel >= 0) & (voxel < mask.array.shape)).all():
            raise UsageError(
                f"a seed inside the {kind}, {_extent(mask)}", got=f"{self}", advice="Give a place inside."
            )
        return tuple(voxel.tolist())


def check_mode(mode: str) -> None:
    """Check that a name is that of a mode.

    Raises:
        UsageError: it is not; the message suggests the nearest known names.
    """
    if mode not in MODES:
        raise UsageError(f"one of the modes {', '.join(MODES)}", got=mode, advice=did_you_mean(mode, MODES))


def seed_of(mode: str, seed_px: Sequence[float] | None, seed_mm: Sequence[float] | None) -> Seed | None:
    """The seed that a user gave, in px or in mm.

    Raises:
        UsageError: both, or one with another mode than object; see also Seed.
    """
    given = [
        Seed(tuple(place), unit) for place, unit in ((seed_px, "px"), (seed_mm, "mm")) if place is not None
    ]
    if given and mode != OBJECT:
        raise UsageError("a seed with the mode object", got=f"mode {mode}", advice="Choose the mode object.")
    if len(given) > 1:
        raise UsageError("one seed", got="one in px and one in mm", advice="Give one of them.")
    return given[0] if given else None


class ModeRules:
    """What the modes need to know of a task.

    Args:
        labels: value to name.
        instances: the fields of an InstanceRule; None for its defaults.
        panoptic: `stuff`, names of labels of which all voxels are one segment, also the background's; and
            `things`, category to Finder. The objects of all other labels are things too, as in the mode
            instance. None for neither.

    Raises:
        BundleError: an unknown key, or stuff that is no label.
    """

    def __init__(
        self,
        labels: Mapping[int, str],
        instances: Mapping[str, Any] | None = None,
        panoptic: Mapping[str, Any] | None = None,
    ) -> None:
        panoptic = panoptic or {}
        _check_keys("instances", instances or {}, [field.name for field in dataclasses.fields(InstanceRule)])
        _check_keys("panoptic", panoptic, ["stuff", "things"])
        self.instances = InstanceRule(**(instances or {}))
        self.stuff: Sequence[str] = panoptic.get("stuff") or ()
        self.things: Mapping[str, Finder] = panoptic.get("things") or {}
        _check_keys("panoptic::stuff", self.stuff, labels.values())

    def apply(self, case: Case, mode: str, seed: Seed | None = None) -> Case:
        """A case with its mask as the mode has it, before it is measured.

        Args:
            case: with a mask of labels.
            mode: one of MODES. `object` changes the mask; `instance` and `panoptic` add `segmented`.
            seed: where the object lies; None for the largest of each label.

        Raises:
            UsageError: a seed that hits nothing; see also Seed.voxel.
            UnsuitableError: more than MOST_SEGMENTS segments.
        """
        if mode == OBJECT:
            return _one_object(case, self.instances, seed)
        if mode == INSTANCE:
            return _by_instance(case, self.instances)
        return self._panoptic(case) if mode == PANOPTIC else case

    def _panoptic(self, case: Case) -> Case:
        labels = {value: name for value, name in case.mask.labels.items() if value}
        names = [*labels.values(), *(name for name in self.things if name not in labels.values())]
        names += [name for name in self.stuff if name not in names]
        drawing = _Drawing(case.mask, {name: name not in self.stuff for name in names})
        for value, name in case.mask.labels.items():
            if name in self.stuff:
                drawing.stuff(name, _seen(case, value))
        for value, name in labels.items():
            if name not in self.stuff and name not in self.things:
                drawing.things(name, *instances(case.mask, value, self.instances))
        for name, find in self.things.items():
            numbers = find(case)
            drawing.things(name, numbers, int(numbers.max(initial=0)))
        return drawing.added_to(case)


def _by_instance(case: Case, rule: InstanceRule) -> Case:
    """Number the objects label by label, the largest first in each label."""
    labels = {value: name for value, name in case.mask.labels.items() if value}
    drawing = _Drawing(case.mask, dict.fromkeys(labels.values(), True))
    for value, name in labels.items():
        drawing.things(name, *instances(case.mask, value, rule))
    return drawing.added_to(case)


class _Drawing:
    """A mask in the making, whose values are segments."""

    def __init__(self, mask: Mask, is_thing: dict[str, bool]) -> None:
        self.mask, self.is_thing = mask, is_thing
        self.array = np.zeros(mask.array.shape, np.uint16)
        self.names = {0: "void" if "background" in is_thing else mask.labels.get(0, "background")}
        self.category: dict[int, str] = {}
        self.notes: list[str] = []

    def stuff(self, category: str, where: np.ndarray) -> None:
        """One segment, named as its category, unless it has no voxel."""
        if where.any():
            self.array[where] = self._add(category, [category])

    def things(self, category: str, numbers: np.ndarray, count: int) -> None:
        """A segment for each of the numbers up to `count`; the rest are left out, with a note."""
        first = self._add(category, [f"{category}_{number}" for number in range(1, count + 1)])
        own = (numbers > 0) & (numbers <= count)
        self.array[own] = numbers[own] + np.uint16(first - 1)
        if small := int(numbers.max(initial=0)) - count:
            total = size_text(int((numbers > count).sum()), self.mask)
            parts = "1 small component" if small == 1 else f"{small} small components"
            self.notes.append(f"{category}: {parts} ({total} in all) without a number")

    def _add(self, category: str, names: list[str]) -> int:
        """Name further values; the first of them."""
        first = len(self.category) + 1
        if first + len(names) - 1 > MOST_SEGMENTS:
            raise UnsuitableError(
                f"at most {MOST_SEGMENTS} segments",
                got=f"{first + len(names) - 1}",
                advice="Choose the mode semantic.",
            )
        for value, name in enumerate(names, first):
            self.names[value], self.category[value] = name, category
        return first

    def added_to(self, case: Case) -> Case:
        smallest = np.uint8 if len(self.names) <= 256 else np.uint16
        segmented = dataclasses.replace(
            self.mask,
            array=self.array.astype(smallest),
            labels=self.names,
            segments=Segments(self.category, self.is_thing),
        )
        return dataclasses.replace(_noted(case, *self.notes), segmented=segmented)


def _one_object(case: Case, rule: InstanceRule, seed: Seed | None) -> Case:
    """Keep the largest object of each label, or the one in which the seed lies and its label alone."""
    mask = case.mask
    kept, labels = np.zeros(mask.array.shape, bool), dict(mask.labels)
    if seed is not None:
        at = seed.voxel(mask)
        hit = int(mask.array[at])
        if not hit:
            raise _missed(seed, mask, at)
        labels = {0: mask.labels.get(0, "background"), hit: mask.labels[hit]}
    for value in filter(None, labels):
        numbers = instances(mask, value, rule)[0]
        kept |= numbers == (1 if seed is None else numbers[at])
    kept &= mask.array > 0
    dropped = int(np.count_nonzero(mask.array)) - int(kept.sum())
    note = [f"{size_text(dropped, mask)} of other objects left out"] if dropped else []
    array = np.where(kept, mask.array, mask.array.dtype.type(0))
    return dataclasses.replace(
        _noted(case, *note), mask=dataclasses.replace(mask, array=array, labels=labels)
    )


def _missed(seed: Seed, mask: Mask, at: tuple[int, ...]) -> UsageError:
    names = " or ".join(name for value, name in mask.labels.items() if value)
    nearest = _nearest(mask, at)
    found = "nothing was found in this image" if nearest is None else f"the nearest is {nearest} away"
    return UsageError(
        f"a seed inside {names}", got=f"{seed}, where there is none; {found}", advice="Give another place."
    )


def _nearest(mask: Mask, at: tuple[int, ...]) -> str | None:
    """The distance from a voxel to the nearest one of any label; None for an empty mask."""
    step = np.eye(2) if mask.affine is None else np.asarray(mask.affine)[:3, :3]
    least = np.inf
    for last in range(mask.array.shape[-1]):  # plane by plane: all places at once would fill the memory
        places = np.argwhere(mask.array[..., last])
        away = np.column_stack([places, np.full(len(places), last)]) - at
        least = min(least, np.linalg.norm(away @ step.T, axis=1).min(initial=np.inf))
    return f"{least:.1f} {'px' if mask.affine is None else 'mm'}" if np.isfinite(least) else None


def _seen(case: Case, value: int) -> np.ndarray:
    """Where the mask has a value; background only as far as the image was analysed."""
    where = case.mask.array == value
    return where if value or case.field_of_view is None else where & case.field_of_view


def _extent(mask: Mask) -> str:
    """The size of the grid for a message: px of a picture, the range in mm of a volume."""
    shape = np.asarray(mask.array.shape)
    if mask.affine is None:
        return f"{shape[0]} x {shape[1]} px"
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    places = (np.asarray(mask.affine)[:3, :3] @ corners).T + np.asarray(mask.affine)[:3, 3]
    ends = zip("xyz", places.min(axis=0), places.max(axis=0), strict=True)
    return ", ".join(f"{axis} from {low:.0f} to {high:.0f}" for axis, low, high in ends) + " mm"


def size_text(voxels: int, mask: Mask) -> str:
    """A number of voxels as px of a picture or ml of a volume."""
    return f"{voxels} px" if mask.affine is None else f"{voxels * voxel_ml(mask):.3g} ml"


def _noted(case: Case, *texts: str) -> Case:
    added = tuple(Finding(NOTE, "mode", text) for text in texts)
    return dataclasses.replace(case, findings=(*case.findings, *added))


def _check_keys(where: str, given: Any, known: Any) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise BundleError(
            f"{where} of {', '.join(known)}", got=", ".join(unknown), advice="Correct inference.yaml."
        )
