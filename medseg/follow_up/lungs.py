"""The lungs at two times: volume, density and tissue, and where the density changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from medseg.case import Case
from medseg.follow_up.change import Change, Limit, change_of
from medseg.follow_up.lung_grid import Lungs
from medseg.follow_up.record import Visit
from medseg.follow_up.registration import Registration
from medseg.measurements import LungTissues, measure_lungs
from medseg.measurements.entries import Measures
from medseg.measurements.lungs import LUNGS
from medseg.measurements.tissues import CLASSES

NAMES = (*LUNGS, "lungs")
# What follows the name of a lung, and its unit. Those of the tissues need the rule of the bundle.
MEASURES = {
    "volume_ml": "ml",
    "mass_g": "g",
    "mean_hu": "HU",
    "percentile_15_hu": "HU",
    "laa_950_percent": "% of the lung",
    "high_attenuation_percent": "% of the lung",
    "dense_volume_ml": "ml",
    "vessel_volume_ml": "ml",
    **{f"tissue_{tissue}_percent": "% of the lung" for tissue in (*CLASSES, "vessel")},
}
SMOOTHING_MM = 4.0  # standard deviation for the map of change: more than the registration's error
SHARED = 0.98  # of a lung's voxels that the other image shows too: less, and only that part is measured
PART_WARNING = (
    "one image shows less of the lungs than the other: densities and tissues are those of the part that "
    "both show"
)


def lung_measures(visit: Visit, tissues: LungTissues | None) -> Measures:
    """The MEASURES of a visit for each of NAMES, name to {"value", "unit"}.

    Args:
        visit: of a chest CT.
        tissues: the bundle's rule; None to leave tissues out.
    """
    case = Case(visit.mask, visit.image.array)
    found = measure_lungs(case)
    if tissues is not None:
        found |= tissues(case, found)[1]
    wanted = [f"{name}_{measure}" for name in NAMES for measure in MEASURES]
    return {name: found[name] for name in wanted if name in found}


def lung_changes(earlier: Measures, later: Measures, limits: Mapping[str, Limit]) -> list[Change]:
    """The changes of measures that `lung_measures` gave, in its order."""
    changes = []
    for name, entry in earlier.items():
        reason = entry.get("reason") or later[name].get("reason", "")
        values = (entry["value"], later[name]["value"])
        changes.append(change_of(name, entry["unit"], *values, limits.get(name), reason))
    return changes


def shared_parts(earlier: Visit, later: Visit, found: Registration) -> tuple[Visit, Visit, bool]:
    """Both visits with masks of the lungs that both images show, and whether anything was left out."""
    in_earlier = found.warped(found.earlier.shown.astype(np.uint8), 0) > 0
    in_later = _seen_by_later(found)
    parts = [(found.earlier, in_later), (found.later, in_earlier)]
    shares = [float(seen[lungs.labels > 0].mean()) for lungs, seen in parts]
    if min(shares) >= SHARED:
        return earlier, later, False
    first, second = (
        _masked(visit, lungs, seen) for visit, (lungs, seen) in zip((earlier, later), parts, strict=True)
    )
    return first, second, True


def _seen_by_later(found: Registration) -> np.ndarray:
    """(x, y, z) bool on the earlier grid: what the later image shows too."""
    from scipy.ndimage import binary_closing

    places = np.argwhere(found.later.shown) * found.later.spacing_mm + found.later.origin_mm
    at = np.rint((found.to_earlier(places) - found.earlier.origin_mm) / found.earlier.spacing_mm).astype(int)
    at = at[((at >= 0) & (at < found.earlier.hu.shape)).all(axis=1)]
    seen = np.zeros(found.earlier.hu.shape, bool)
    seen[tuple(at.T)] = True
    closed: np.ndarray = binary_closing(np.pad(seen, 2, mode="edge"), iterations=2)[2:-2, 2:-2, 2:-2] | seen
    return closed


def _masked(visit: Visit, lungs: Lungs, seen: np.ndarray) -> Visit:
    """The visit with labels only where a coarse map is True."""
    inside = on_image(seen.astype(np.uint8), lungs, visit, order=0) > 0
    array = np.where(inside, visit.mask.array, visit.mask.array.dtype.type(0))
    return dataclasses.replace(visit, mask=dataclasses.replace(visit.mask, array=array))


def on_image(values: np.ndarray, lungs: Lungs, visit: Visit, order: int = 1) -> np.ndarray:
    """An array on the coarse grid of a visit's lungs, on the grid of its image; 0 beyond."""
    from scipy.ndimage import affine_transform

    affine = np.asarray(visit.mask.affine)
    to_coarse = np.eye(4)
    to_coarse[:3, :3] = affine[:3, :3] / lungs.spacing_mm
    to_coarse[:3, 3] = (affine[:3, 3] - lungs.origin_mm) / lungs.spacing_mm
    found: np.ndarray = affine_transform(
        values, to_coarse[:3, :3], to_coarse[:3, 3], output_shape=visit.mask.array.shape, order=order
    )
    return found


def density_change(found: Registration) -> np.ndarray:
    """Later minus earlier density in HU, (x, y, z) float32 on the grid of the later lungs, NaN outside.

    Both densities are means over a ball-like neighbourhood within the lungs (a Gaussian of SMOOTHING_MM). A
    breath of another depth is taken out: the earlier lung keeps its mass in the volume that it has later. One
    factor of volume counts for both lungs, the ratio of their volumes. Source: the dry sponge model of
    Staring et al., Medical Physics 41, 021905, 2014.
    """
    shown = found.later.shown & (found.warped(found.earlier.shown.astype(np.uint8), 0) > 0)
    both = (found.later.labels > 0) & (found.warped(found.earlier.labels, 0) > 0) & shown
    earlier = found.warped(found.earlier.hu, 1, -1000)
    factor = breath_factor(found)
    expected = (np.clip(earlier, -1024, 200) + 1000) * factor - 1000
    change = _smoothed(np.clip(found.later.hu, -1024, 200) - expected, both, found.later.spacing_mm)
    return np.where(both, change, np.nan).astype(np.float32)


def breath_factor(found: Registration) -> float:
    """Earlier by later volume of the lungs that both images show: above 1 with more air in them earlier."""
    from medseg.follow_up.registration import determinant

    inside = (found.later.labels > 0) & found.later.shown
    return float(np.mean(determinant(found)[inside]))


def _smoothed(values: np.ndarray, inside: np.ndarray, spacing_mm: float) -> np.ndarray:
    """A Gaussian mean over the voxels inside alone."""
    from scipy.ndimage import gaussian_filter

    sigma = SMOOTHING_MM / spacing_mm
    weight = gaussian_filter(inside.astype(np.float32), sigma)
    total = gaussian_filter(np.where(inside, values, 0).astype(np.float32), sigma)
    mean: np.ndarray = total / np.maximum(weight, 1e-3)
    return mean


def registration_entries(found: Registration) -> dict[str, dict[str, Any]]:
    """What the registration did and how well, for the record."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(_nearest_rotation(found.matrix[:3, :3])).magnitude()
    inside = found.later.labels > 0
    moved = np.linalg.norm(found.field_mm[inside], axis=1)
    return {
        "lungs_on_each_other": {"value": found.overlap, "unit": "Dice"},
        "lung_in_both_images": {"value": found.common_ml, "unit": "ml"},
        "folded": {"value": 100 * found.folding, "unit": "% of the lungs"},
        "turn": {"value": float(np.degrees(turn)), "unit": "degrees"},
        "deformation_95": {"value": float(np.percentile(moved, 95)), "unit": "mm"},
        "earlier_to_later_volume": {"value": breath_factor(found), "unit": "ratio"},
        "likeness": {"value": found.likeness, "unit": "correlation"},
    }


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix)
    sign = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation: np.ndarray = left @ sign @ right
    return rotation
