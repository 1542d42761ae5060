"""Two chest CTs of one patient compared: lungs, dense regions, and a map of the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medseg.follow_up import dense, lungs, views
from medseg.follow_up.change import Change, Limit, repeatability
from medseg.follow_up.lung_grid import Lungs, lungs_of
from medseg.follow_up.record import Comparison, Visit
from medseg.follow_up.registration import GRID_MM, Registration, register
from medseg.measurements import DenseRegions, LungTissues
from medseg.measurements.entries import Measures
from medseg.measurements.lungs import LUNGS
from medseg.volume import Volume

MAP, MAP_LIMIT = "density_change_hu", "density_change_map_hu"
UNKNOWN_LIMIT_HU = 100.0  # for the picture alone, where no repeatability is known
LEAST_LIKENESS = 0.2  # of the vessels: below, the images may be of two persons
BREATH = 1.15  # ratio of volumes from which the depth of the breath alone changes densities


@dataclass(frozen=True)
class ChestRules:
    """What a bundle says about lungs.

    Attributes:
        regions: how dense regions are found.
        tissues: how tissues are told apart.
    """

    regions: DenseRegions
    tissues: LungTissues


@dataclass(frozen=True, eq=False)
class Chest:
    """A visit, with all that is computed of it alone.

    Attributes:
        visit: the image with its mask.
        lungs: on a coarse grid.
        regions: dense regions, the largest first.
        numbers: (i, j, k), the numbers of the regions.
        measures: of the lungs; see medseg.follow_up.lungs.
    """

    visit: Visit
    lungs: Lungs
    regions: list[dense.Region]
    numbers: np.ndarray
    measures: Measures


def rules_of(task: str, method: str | None) -> ChestRules:
    """The rules in the bundle of a task.

    Raises:
        UsageError: the task or method is unknown.
    """
    from medseg.bundle import built_from, inference_files, open_bundle, parse

    bundle = open_bundle(task)
    parser = parse(bundle, *inference_files(bundle, method))
    with built_from(bundle):
        return ChestRules(
            parser.get_parsed_content("result::panoptic::things::dense_region"),
            parser.get_parsed_content("result::tissues"),
        )


def prepared(visit: Visit, rules: ChestRules) -> Chest:
    """Find the lungs, the regions and the measures of a visit.

    Raises:
        UnsuitableError: the mask has no lung.
    """
    mask = visit.mask
    coarse = lungs_of(
        visit.image.array[0], mask.array, np.asarray(mask.affine), tuple(LUNGS.values()), GRID_MM
    )
    regions, numbers = dense.regions_of(visit, rules.regions)
    return Chest(visit, coarse, regions, numbers, lungs.lung_measures(visit, rules.tissues))


def compare_chests(
    earlier: Chest, later: Chest, rules: ChestRules, positions: tuple[int, int] = (0, 1)
) -> Comparison:
    """Compare two chest CTs.

    Args:
        earlier, later: from `prepared`.
        rules: as for `prepared`.
        positions: of the visits in the follow-up, from 0.

    Raises:
        UsageError: SimpleITK is not installed.
        UnsuitableError: the registration failed.
    """
    limits, visits = repeatability(), (earlier.visit, later.visit)
    found = register(earlier.lungs, later.lungs)
    changes, is_part = _lung_changes(earlier, later, found, rules, limits)
    objects = dense.region_changes(
        visits, (earlier.regions, later.regions), found, rules.regions.above_hu, limits
    )
    change_hu = lungs.density_change(found)
    map_limit = limits.get(MAP_LIMIT)
    limit_hu = map_limit.limit if map_limit else UNKNOWN_LIMIT_HU
    image = Volume(views.change_map(later.visit, found, change_hu)[None], affine=later.visit.mask.affine)
    numbers = (earlier.numbers, later.numbers)
    return Comparison(
        *positions,
        registration=lungs.registration_entries(found),
        changes=changes,
        objects=objects,
        pictures=[
            *views.map_pictures(visits, found, change_hu, limit_hu),
            *views.object_pictures(visits, numbers, found, objects),
        ],
        maps={MAP: image},
        warnings=[*([lungs.PART_WARNING] if is_part else []), *_doubts(visits, found)],
    )


def _lung_changes(
    earlier: Chest, later: Chest, found: Registration, rules: ChestRules, limits: Mapping[str, Limit]
) -> tuple[list[Change], bool]:
    """The changes of the lungs, and whether they are those of a part."""
    first, second, is_part = lungs.shared_parts(earlier.visit, later.visit, found)
    before, after = (
        lungs.lung_measures(visit, rules.tissues) if is_part else chest.measures
        for visit, chest in ((first, earlier), (second, later))
    )
    return lungs.lung_changes(before, after, limits), is_part


def _doubts(visits: tuple[Visit, Visit], found: Registration) -> list[str]:
    texts = []
    if found.likeness < LEAST_LIKENESS:
        texts.append(
            f"the vessels of the two lungs are hardly alike (correlation {found.likeness:.2f}): check that "
            "both images are of one patient"
        )
    factor = lungs.breath_factor(found)
    if not 1 / BREATH < factor < BREATH:
        more = "earlier" if factor > 1 else "later"
        texts.append(
            f"the lungs held more air in the {more} image (volume ratio {max(factor, 1 / factor):.2f}): mean "
            "density and tissues differ for that reason alone"
        )
    return texts
