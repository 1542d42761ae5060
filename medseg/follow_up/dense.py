"""Dense regions of the lungs at two times: which are one, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medseg.case import Case
from medseg.follow_up.change import Limit, change_of
from medseg.follow_up.growth import growth_of
from medseg.follow_up.matching import NOT_ASSESSED, Match, kind_of, match
from medseg.follow_up.partial_volume import solids
from medseg.follow_up.record import ObjectChange, Visit
from medseg.follow_up.registration import Registration
from medseg.instances import voxel_ml
from medseg.measurements import DenseRegions

NAME = "dense_region"
FREE, ATTACHED = "dense_region_volume_ml", "attached_region_volume_ml"  # the repeatability of each
# Shares of the surroundings that are dense, from tests/benchmarks/follow_up_retest.py: below the first,
# volumes of unchanged regions agreed within 25%; from the second on, they said nothing.
LEAST_ATTACHED, UNCLEAR = 0.15, 0.3
TOLERANCE_MM = 5.0  # of the registration, where breath differs
MOST_PLACES = 3000  # of an object: enough for its shape
IN_VIEW = 0.9  # of an object's places that the other image shows
STILL_THERE = 0.5  # of an object's places that are dense at the other time, too
HIDDEN = (
    "dense tissue lies there at both times; the rule finds a region at one, because it is small or thin, at "
    "the hilum, or outside the mask"
)
ENDLESS = "it goes on into vessels or the hilum, and has no clear end"
UNSEEN = "the {} image does not show this place"


@dataclass(frozen=True, eq=False)
class Region:
    """A dense region.

    Attributes:
        places_mm: (n, 3) RAS+ mm, its voxels, or a part of them if there are many.
        volume_ml: its volume as solid tissue; see medseg.follow_up.partial_volume.
        attached: see medseg.follow_up.partial_volume.Solid.
    """

    places_mm: np.ndarray
    volume_ml: float
    attached: float


def regions_of(visit: Visit, rule: DenseRegions) -> tuple[list[Region], np.ndarray]:
    """The regions of a visit, the largest first, and their numbers, (i, j, k)."""
    numbers = rule(Case(visit.mask, visit.image.array))
    affine = np.asarray(visit.mask.affine)
    inside = np.isin(visit.mask.array, [n for n, name in visit.mask.labels.items() if name in rule.inside])
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    each = solids(numbers, visit.image.array[0], inside, spacing_mm, voxel_ml(visit.mask))
    where = np.argwhere(numbers)
    values = numbers[tuple(where.T)]
    found = []
    for number in range(1, int(numbers.max(initial=0)) + 1):
        voxels = where[values == number]
        step = -(-len(voxels) // MOST_PLACES)
        solid = each[number - 1]
        places = voxels[::step] @ affine[:3, :3].T + affine[:3, 3]
        found.append(Region(places, solid.volume_ml, solid.attached))
    return found, numbers


def region_changes(
    visits: tuple[Visit, Visit],
    regions: tuple[Sequence[Region], Sequence[Region]],
    found: Registration,
    above_hu: float,
    limits: Mapping[str, Limit],
) -> list[ObjectChange]:
    """What became of each region.

    Args:
        visits: the earlier and the later one.
        regions: of each.
        found: their registration.
        above_hu: from where tissue is dense.
        limits: repeatability by measure.
    """
    before = [region.places_mm for region in regions[0]]
    after = [found.to_earlier(region.places_mm) for region in regions[1]]
    matches = match(before, after, TOLERANCE_MM)
    days = (visits[1].date - visits[0].date).days
    changes = []
    for each in matches:
        reason = _unsure(each, visits, regions, found, above_hu)
        changes.append(_change(each, regions, days, limits, reason))
    return changes


def _change(
    found: Match,
    regions: tuple[Sequence[Region], Sequence[Region]],
    days: int,
    limits: Mapping[str, Limit],
    reason: str,
) -> ObjectChange:
    sizes = [
        sum(regions[time][number].volume_ml for number in numbers) if numbers else None
        for time, numbers in enumerate((found.earlier, found.later))
    ]
    attached = _attached(found, regions)
    measure = ATTACHED if attached >= LEAST_ATTACHED else FREE
    reason = reason or (ENDLESS if found.earlier and found.later and attached >= UNCLEAR else "")
    limit, change, growth = limits.get(measure), None, None
    if sizes[0] is not None and sizes[1] is not None:
        change = change_of(measure, "ml", sizes[0], sizes[1], None if reason else limit, reason)
        growth = None if reason else growth_of([0, days], [sizes[0], sizes[1]], limit)
    kind = NOT_ASSESSED if reason else kind_of(found, change.verdict if change else "")
    numbers = [tuple(number + 1 for number in side) for side in (found.earlier, found.later)]
    return ObjectChange(kind, NAME, numbers[0], numbers[1], sizes[0], sizes[1], "ml", change, growth, reason)


def _attached(found: Match, regions: tuple[Sequence[Region], Sequence[Region]]) -> float:
    """How far the regions of a match are attached, the most of them."""
    both = [regions[time][n] for time, side in enumerate((found.earlier, found.later)) for n in side]
    return max(region.attached for region in both)


def _unsure(
    found: Match,
    visits: tuple[Visit, Visit],
    regions: tuple[Sequence[Region], Sequence[Region]],
    registration: Registration,
    above_hu: float,
) -> str:
    """Why a region without a counterpart is neither new nor gone; empty where it is, or where it has one."""
    if found.earlier and found.later:
        return ""
    time = 0 if found.earlier else 1
    number = (found.earlier or found.later)[0]
    other = 1 - time
    places = regions[time][number].places_mm
    places = registration.to_earlier(places) if time else registration.to_later(places)
    seen = _voxels(places, visits[other])
    inside = _inside(seen, visits[other])
    if inside.mean() < IN_VIEW:
        return UNSEEN.format(("earlier", "later")[other])
    return HIDDEN if _dense_share(places, visits[other], above_hu) >= STILL_THERE else ""


def _voxels(places_mm: np.ndarray, visit: Visit) -> np.ndarray:
    """The voxel of each place, (n, 3) whole numbers."""
    to_voxel = np.linalg.inv(np.asarray(visit.mask.affine))
    voxels: np.ndarray = np.rint(places_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    return voxels


def _inside(voxels: np.ndarray, visit: Visit) -> np.ndarray:
    inside: np.ndarray = np.all((voxels >= 0) & (voxels < visit.mask.array.shape), axis=1)
    return inside


def _dense_share(places_mm: np.ndarray, visit: Visit, above_hu: float) -> float:
    """The largest share of the places that are dense in an image, over shifts within the tolerance."""
    steps = np.arange(-1, 2) * TOLERANCE_MM / 2
    image, best = visit.image.array[0], 0.0
    for shift in np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3):
        voxels = _voxels(places_mm + shift, visit)
        voxels = voxels[_inside(voxels, visit)]
        if len(voxels):
            dense = np.count_nonzero(image[tuple(voxels.T)] > above_hu)
            best = max(best, dense / len(places_mm))
    return best
