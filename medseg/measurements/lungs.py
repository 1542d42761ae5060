"""Measurements of the lungs in a chest CT from its mask, each with its unit and its source.

They are computed from one histogram per label, in bins of 1 HU, and from the voxels where a lung reaches the
end of the field of view. A lung's HU include those of its vessels and small bronchi.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements.entries import Measures, entry
from medseg.volume import Mask

LUNGS = {"left_lung": 1, "right_lung": 2}
AIRWAY = 3
HU = np.arange(-1024, 1024)  # the bins; values outside are counted in the first or the last one
PERCENTILES = (5, 15, 50, 95)
DENSE_HU = -500
VESSEL_RADIUS_MM = 6.0  # beyond the hilum, arteries are thinner than 12 mm
GRID_MM = 1.5
PADDING_HU = -1024  # or lower: around a round field of view
CUT_MM2 = 100.0  # with a smaller contact area the field of view cuts off a negligible volume
SIDES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
UNKNOWN_SPACING = "the size of a voxel is not known"


def measure_lungs(case: Case) -> Measures:
    """Measure both lungs (labels 1 and 2) and the airway (3) of a chest CT.

    Volumes and masses are those of whole lungs: where the field of view cuts a lung they are None. Densities
    are those of the part in the image. Names that begin with `lungs` are of both lungs together. The airway,
    which every chest CT cuts in the neck, is measured as far as it is labelled.

    Args:
        case: of a volume, (i, j, k) with an affine, and its image, (1, i, j, k) in HU.

    Returns:
        name to {"value", "unit"}; where the value is None, "reason" says why.

    Raises:
        UnsuitableError: the mask is not a volume.
        UsageError: the image has another shape.
    """
    mask, image_hu = case.mask, case.image[0]
    _check(mask, image_hu)
    counts = _histograms(mask.array, image_hu)
    voxel_ml = _voxel_ml(mask.affine)
    cuts = _cut_sides(mask, image_hu) if voxel_ml else dict.fromkeys(LUNGS)
    absent = {name: _absent(name, counts[label]) for name, label in LUNGS.items()}
    partial = {name: absent[name] or _partial(name, cuts[name]) for name in LUNGS}
    measures: Measures = {}
    for name, label in LUNGS.items():
        sides = None if absent[name] else cuts[name]
        measures |= entry(f"{name}_cut_at", sides, "sides of the image", partial[name])
        measures |= _lung(name, counts[label], voxel_ml, absent[name], partial[name])
        measures |= vessel_volume(name, mask, image_hu, measures[f"{name}_dense_volume_ml"])
    both = counts[list(LUNGS.values())].sum(axis=0)
    measures |= _lung("lungs", both, voxel_ml, _first(absent), _first(partial))
    vessels = [measures[f"{name}_vessel_volume_ml"]["value"] for name in LUNGS]
    total = None if None in vessels else sum(vessels)
    measures |= entry("lungs_vessel_volume_ml", total, "ml", _first(partial))
    left, right = (measures[f"{name}_volume_ml"]["value"] for name in LUNGS)
    measures |= entry("left_right_volume_ratio", left and right and left / right, "ratio", _first(partial))
    return measures | _volume("airway_volume_ml", counts[AIRWAY], voxel_ml, _absent("airway", counts[AIRWAY]))


def low_attenuation(name: str, counts: np.ndarray, reason: str) -> Measures:
    """Low attenuation areas, the percentages of the lung below -950 and -910 HU: emphysema.

    -950 HU: Gevenois et al., American Journal of Respiratory and Critical Care Medicine 154, 1996, for 1 mm
    slices in full inspiration; thick slices and smooth kernels lower the percentage. -910 HU: Mueller,
    Staples, Miller and Abboud, Chest 94, 1988, for 10 mm slices.
    """
    measures: Measures = {}
    for limit_hu in (-950, -910):
        share = None if reason else _percent(counts, limit_hu > HU)
        measures |= entry(f"{name}_laa_{-limit_hu}_percent", share, "% of the lung", reason)
    return measures


def high_attenuation(name: str, counts: np.ndarray, reason: str) -> Measures:
    """High attenuation area, the percentage of the lung from -600 to -250 HU: ground glass, fibrosis, oedema.

    Source: Lederer et al., American Journal of Respiratory and Critical Care Medicine 180, 2009. The borders
    of vessels are counted too, a few percent of a healthy lung.
    """
    share = None if reason else _percent(counts, (HU >= -600) & (HU <= -250))
    return entry(f"{name}_high_attenuation_percent", share, "% of the lung", reason)


def density(name: str, counts: np.ndarray, reason: str) -> Measures:
    """Mean and percentiles of the HU; the 15th is the percentile density of emphysema trials.

    A percentile is interpolated within its bin. Source: Dirksen et al., European Respiratory Journal 33,
    2009.
    """
    mean = None if reason else float(counts @ HU / counts.sum())
    measures = entry(f"{name}_mean_hu", mean, "HU", reason)
    for rank in PERCENTILES:
        value = None if reason else _percentile(counts, rank)
        measures |= entry(f"{name}_percentile_{rank}_hu", value, "HU", reason)
    return measures


def mass(name: str, counts: np.ndarray, voxel_ml: float | None, reason: str) -> Measures:
    """Mass of tissue, blood and water in g, at (HU + 1000) / 1000 g/ml: linear from air to water.

    Source: Gattinoni, Caironi, Pelosi and Goodman, American Journal of Respiratory and Critical Care Medicine
    164, 2001.
    """
    reason = reason or ("" if voxel_ml else UNKNOWN_SPACING)
    mass_g = (
        None if reason or voxel_ml is None else float(counts @ np.maximum(HU + 1000, 0)) / 1000 * voxel_ml
    )
    return entry(f"{name}_mass_g", mass_g, "g", reason)


def dense_volume(name: str, counts: np.ndarray, voxel_ml: float | None, reason: str) -> Measures:
    """Volume from -500 HU upwards, the poorly aerated and the non-aerated lung of Gattinoni et al. 2001.

    In a healthy lung these are its larger vessels; consolidation, nodules and atelectasis add to them.
    """
    return _volume(f"{name}_dense_volume_ml", counts * (HU >= DENSE_HU), voxel_ml, reason)


def vessel_volume(name: str, mask: Mask, image_hu: np.ndarray, dense: dict[str, Any]) -> Measures:
    """The part of a lung's dense volume that is thin: no ball of VESSEL_RADIUS_MM fits into it.

    It is what a morphological opening by a ball removes, on a grid of about GRID_MM. Vessels thinner than a
    voxel are below -500 HU and are missed; walls of bronchi, fissures and small nodules are counted. Compare
    scans of one protocol only. It is not the small-vessel volume of Estepar et al., American Journal of
    Respiratory and Critical Care Medicine 188, 2013, which needs a vesselness filter and thin slices.

    Args:
        name: left_lung or right_lung.
        mask, image_hu: as for measure_lungs.
        dense: the entry of the lung's dense volume.
    """
    value = dense["value"]
    if value:
        value *= 1 - _solid_share(mask, image_hu, LUNGS[name])
    return entry(f"{name}_vessel_volume_ml", value, "ml", dense.get("reason", ""))


def _solid_share(mask: Mask, image_hu: np.ndarray, label: int) -> float:
    """Share of a lung's dense voxels that a ball of VESSEL_RADIUS_MM inside them covers."""
    import edt
    from scipy.ndimage import find_objects

    spacing_mm = np.linalg.norm(np.asarray(mask.affine)[:3, :3], axis=0)
    steps = np.maximum(1, np.round(GRID_MM / spacing_mm)).astype(int)
    coarse = tuple(slice(None, None, step) for step in steps)
    labels, hu = mask.array[coarse], image_hu[coarse]
    box = find_objects(labels, max_label=label)[label - 1]
    if box is None:
        return 0.0
    dense = (labels[box] == label) & (hu[box] >= DENSE_HU)
    sampling = tuple(spacing_mm * steps)
    core = edt.edt(np.pad(dense, 1), anisotropy=sampling) > VESSEL_RADIUS_MM
    if not core.any():
        return 0.0
    covered = edt.edt(~core, anisotropy=sampling) <= VESSEL_RADIUS_MM
    return float((covered[1:-1, 1:-1, 1:-1] & dense).sum() / dense.sum())


def _lung(name: str, counts: np.ndarray, voxel_ml: float | None, absent: str, partial: str) -> Measures:
    return {
        **_volume(f"{name}_volume_ml", counts, voxel_ml, partial),
        **density(name, counts, absent),
        **low_attenuation(name, counts, absent),
        **high_attenuation(name, counts, absent),
        **mass(name, counts, voxel_ml, partial),
        **dense_volume(name, counts, voxel_ml, partial),
    }


def _check(mask: Mask, image_hu: np.ndarray) -> None:
    shape = mask.array.shape
    if len(shape) != 3:
        raise UnsuitableError("a mask of (i, j, k)", got=f"shape {shape}", advice="Measure CT volumes only.")
    if image_hu.shape != shape:
        raise UsageError(
            f"an image of shape {shape}, that of the mask",
            got=f"shape {image_hu.shape}",
            advice="Give the image that the mask was made from.",
        )


def _voxel_ml(affine: np.ndarray | None) -> float | None:
    """Volume of a voxel, by the determinant: slices of a tilted gantry are sheared. None if unknown."""
    return None if affine is None else float(abs(np.linalg.det(affine[:3, :3]))) / 1000 or None


def _histograms(labels: np.ndarray, image_hu: np.ndarray) -> np.ndarray:
    """Voxels per label and HU, (4, 2048), int64; counted plane by plane to save memory."""
    counts = np.zeros(4 * len(HU), dtype=np.int64)
    axis = int(np.argmax(labels.strides))
    for plane, plane_hu in zip(np.moveaxis(labels, axis, 0), np.moveaxis(image_hu, axis, 0), strict=True):
        where = (plane > 0) & (plane < 4)
        bins = np.clip(np.rint(plane_hu[where]), HU[0], HU[-1]).astype(np.int64) - HU[0]
        counts += np.bincount(plane[where] * np.int64(len(HU)) + bins, minlength=len(counts))
    return counts.reshape(4, len(HU))


def _volume(name: str, counts: np.ndarray, voxel_ml: float | None, reason: str) -> Measures:
    reason = reason or ("" if voxel_ml else UNKNOWN_SPACING)
    return entry(name, None if reason or voxel_ml is None else float(counts.sum() * voxel_ml), "ml", reason)


def _percent(counts: np.ndarray, where: np.ndarray) -> float:
    return float(100 * counts[where].sum() / counts.sum())


def _percentile(counts: np.ndarray, rank: float) -> float:
    total = np.concatenate([[0], np.cumsum(counts)])
    wanted = rank / 100 * total[-1]
    at = int(np.searchsorted(total, wanted, side="left"))
    within = (wanted - total[at - 1]) / counts[at - 1] if at else 0.0
    return float(HU[max(at - 1, 0)] - 0.5 + within)


def _absent(name: str, counts: np.ndarray) -> str:
    return "" if counts.any() else f"no {name.replace('_', ' ')} was found"


def _partial(name: str, sides: list[str] | None) -> str:
    if sides is None:
        return UNKNOWN_SPACING
    return f"the image cuts the {name.replace('_', ' ')}: {', '.join(sides)} end" if sides else ""


def _first(reasons: dict[str, str]) -> str:
    return next(filter(None, reasons.values()), "")


def _cut_sides(mask: Mask, image_hu: np.ndarray) -> dict[str, list[str]]:
    """The sides where each lung touches the end of the image, or the padding around a round field of view.

    A side has the name of the patient's direction that is nearest to it.
    """
    affine = np.asarray(mask.affine)[:3, :3]
    sides: dict[str, list[str]] = {name: [] for name in LUNGS}
    touching = _at_ends(mask.array) + _at_padding(mask.array, image_hu)
    for axis, end in np.ndindex(3, 2):
        direction = int(np.argmax(np.abs(affine[:, axis])))
        side = SIDES[direction][end if affine[direction, axis] > 0 else 1 - end]
        face_mm2 = np.linalg.norm(np.cross(affine[:, axis - 2], affine[:, axis - 1]))
        for name, label in LUNGS.items():
            if touching[axis, end, label - 1] * face_mm2 >= CUT_MM2:
                sides[name].append(side)
    return sides


def _at_ends(labels: np.ndarray) -> np.ndarray:
    """Voxels of each lung in the first and the last plane of each axis; (axis, end, lung)."""
    ends = [[np.moveaxis(labels, axis, 0)[end] for end in (0, -1)] for axis in range(3)]
    return np.array([[[(face == label).sum() for label in LUNGS.values()] for face in pair] for pair in ends])


def _at_padding(labels: np.ndarray, image_hu: np.ndarray) -> np.ndarray:
    """Faces between each lung and the padding that reaches a corner of its slice; (axis, end, lung)."""
    from scipy.ndimage import label

    found = np.zeros((3, 2, len(LUNGS)), dtype=int)
    corners = image_hu[[0, 0, -1, -1], [0, -1, 0, -1]] <= PADDING_HU
    for k in (k for k in np.flatnonzero(corners.any(axis=0)) if labels[..., k].any()):
        around = _around(labels[..., k])
        own = labels[(*around, k)]
        if not _touch(np.ascontiguousarray(image_hu[(*around, k)] <= PADDING_HU) & (own == 0), own):
            continue
        maybe = (image_hu[..., k] <= PADDING_HU) & (labels[..., k] == 0)
        numbers, count = label(maybe)
        is_padding = np.zeros(count + 1, dtype=bool)
        is_padding[numbers[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
        is_padding[0] = False
        padding = is_padding[numbers]
        for axis, (own, other) in enumerate(((labels[..., k], padding), (labels[..., k].T, padding.T))):
            for end, touched in enumerate((own[1:] * other[:-1], own[:-1] * other[1:])):
                found[axis, end] += [np.count_nonzero(touched == value) for value in LUNGS.values()]
    return found


def _around(labels: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of labels (i, j), not all 0, with a pixel more on each side."""
    found = (np.flatnonzero((labels > 0).any(axis=1 - axis)) for axis in range(2))
    first, second = (slice(max(0, places[0] - 1), places[-1] + 2) for places in found)
    return first, second


def _touch(mask: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a pixel of (i, j) bool lies beside one with a label."""
    labels = labels > 0
    pairs = ((mask[1:], labels[:-1]), (mask[:-1], labels[1:]), (mask[:, 1:], labels[:, :-1]))
    return any((own & other).any() for own, other in (*pairs, (mask[:, :-1], labels[:, 1:])))
