"""Dense regions in the lungs of a chest CT: consolidation, masses and larger nodules, by a simple rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.instances import numbered, voxel_ml
from medseg.measurements.lungs import VESSEL_RADIUS_MM


@dataclass(frozen=True)
class DenseRegions:
    """Finds regions of the lungs that are dense, thick, and neither vessels nor hilum by their place.

    A voxel is dense above `above_hu`. A region is a connected component of the dense voxels that a ball of
    `radius_mm` inside them covers (a morphological opening), which vessels thinner than that are not; where
    voxels are longer, their longest side is the radius, because a lone voxel has no thickness. Vessels are
    thicker near the airways that they run along: what comes nearer than `hilum_mm` to the labelled airway
    counts only if a ball of VESSEL_RADIUS_MM fits into it. Regions below `min_ml` are left out.

    It is a rule of thumb and no detector. It misses ground glass, nodules thinner than the ball, nodules at
    the hilum, and all that the lungs' mask leaves out. It takes in large vessels whose airway is not
    labelled, scars, thick fissures, and dense tissue wrongly labelled as lung.

    Source of -300 HU for solid tissue in lung: Scholten et al., European Radiology 25, 2015.

    Attributes:
        inside: names of the lungs' labels.
        airway: name of the airway's label.
        above_hu: in HU.
        radius_mm: of the ball, at least.
        hilum_mm: distance to the airway.
        min_ml: least volume.
    """

    inside: Sequence[str]
    airway: str
    above_hu: float
    radius_mm: float
    hilum_mm: float
    min_ml: float

    def __call__(self, case: Case) -> np.ndarray:
        """Number the regions by size, from 1; (i, j, k), 0 elsewhere.

        Args:
            case: of a volume, its image in HU.

        Raises:
            UnsuitableError: the mask is not a volume.
            UsageError: a name is that of no label.
        """
        from scipy.ndimage import find_objects

        mask = case.mask
        if mask.affine is None or mask.spacing_mm is None:
            raise UnsuitableError("the mask of a volume", got="a picture", advice="Segment CT volumes only.")
        lungs = np.isin(mask.array, [_value(case, name) for name in self.inside])
        found = np.zeros(mask.array.shape, np.uint16)
        if not lungs.any():
            return found
        (box,) = find_objects(lungs.view(np.uint8))
        dense = lungs[box] & (case.image[0][box] > self.above_hu)
        depth_mm = _depth_mm(dense, mask.spacing_mm)
        radius_mm = max(self.radius_mm, *mask.spacing_mm)
        opened = dense & ~_beyond(depth_mm > radius_mm, radius_mm, mask.spacing_mm)
        numbers = numbered(opened)
        thickest_mm = _largest_in(numbers, depth_mm)
        airway = mask.array[box] == _value(case, self.airway)
        near = _near(numbers, airway, self.hilum_mm, mask.spacing_mm)
        large = np.bincount(numbers.ravel()) >= self.min_ml / voxel_ml(mask)
        kept = large & (~near | (thickest_mm > VESSEL_RADIUS_MM))
        kept[0] = False
        found[box] = numbered(kept[numbers])
        return found


def _value(case: Case, name: str) -> int:
    for value, label in case.mask.labels.items():
        if label == name:
            return value
    known = ", ".join(case.mask.labels.values())
    raise UsageError(f"one of the labels {known}", got=name, advice="Correct the names in inference.yaml.")


def _depth_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The distance in mm to the nearest voxel outside; what lies beyond the array counts as inside."""
    import edt

    return edt.edt(np.ascontiguousarray(mask), anisotropy=tuple(spacing_mm))


def _beyond(mask: np.ndarray, most_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Where the distance to a mask is more than most_mm; everywhere for an empty mask."""
    return _depth_mm(~mask, spacing_mm) > most_mm if mask.any() else np.ones_like(mask)


def _largest_in(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The largest value in each number from 0; (n + 1,)."""
    largest = np.zeros(int(numbers.max(initial=0)) + 1)
    inside = numbers > 0
    np.maximum.at(largest, numbers[inside], values[inside])
    return largest


def _near(numbers: np.ndarray, mask: np.ndarray, most_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Which numbers come nearer to a mask than most_mm; (n + 1,) bool."""
    from scipy.spatial import cKDTree

    near = np.zeros(int(numbers.max(initial=0)) + 1, bool)
    inside = np.argwhere(numbers)
    if mask.any() and len(inside):
        tree = cKDTree(np.argwhere(mask) * spacing_mm)
        away_mm, _ = tree.query(inside * spacing_mm, distance_upper_bound=most_mm)
        near[numbers[tuple(inside.T)][np.isfinite(away_mm)]] = True
    return near
