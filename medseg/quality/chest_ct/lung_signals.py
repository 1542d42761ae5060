"""What the shape of lungs and airway says about their mask, for medseg.quality.prediction.

A lung that consolidation or fluid has been left out of is smaller than the other one, has dents, lacks
height, and has tissue as dense as water beside it.
"""

from __future__ import annotations

import numpy as np

from medseg.case import Case
from medseg.volume import nearest_axes

GRID_MM = 6.0
BODY_HU = -300
SOFT_HU = (-20, 100)
LUNGS = ("left_lung", "right_lung")
Signals = dict[str, float]


def lung_signals(case: Case) -> dict[str, Signals]:
    """Label to its signals, measured on a copy of some 6 mm.

    Of the label: `fill`, its share of the body in the slices that hold lung; `hull`, of the convex hulls of
        its slices;
    `height`, the share of the lungs' slices that it reaches; `volume`, log10 ml; `density`, its mean in 100
    HU; `rim`, the share of tissue like water within two voxels of it. Of the lungs: `balance`, the smaller
    one's share of the larger one; `sides`, the Dice of the left one with the right one's mirror image; `top`
    and `bottom`, the lungs' area in the outermost slices over their largest; `reach`, the share of the
    slices that hold lung; `slab`, the scan's height in m; `width`, the body's in m.
    """
    affine = np.asarray(case.mask.affine)
    sizes_mm = np.linalg.norm(affine[:3, :3], axis=0)
    axes, flipped = nearest_axes(affine)
    steps = tuple(max(1, round(GRID_MM / size)) for size in sizes_mm)
    place = tuple(slice(None, None, step) for step in steps)
    order = [np.transpose(array[place], axes) for array in (case.mask.array, case.image[0])]
    turn = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    labels, hu = (array[turn] for array in order)
    spacing_mm = [float(sizes_mm[axis] * steps[axis]) for axis in axes]
    values = {name: value for value, name in case.mask.labels.items() if value}
    lungs = [np.asarray(labels == values[name]) for name in LUNGS if name in values]
    whole = _whole(lungs, hu, spacing_mm)
    slices = np.any(lungs, axis=0).any(axis=(0, 1))
    body = float((hu[..., slices] > BODY_HU).sum()) or 1.0
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return {
        name: whole | _signals(np.asarray(labels == value), hu, slices, body, voxel_ml)
        for name, value in values.items()
    }


def _whole(lungs: list[np.ndarray], hu: np.ndarray, spacing_mm: list[float]) -> Signals:
    """Of both lungs together, (right, anterior, superior)."""
    both = np.any(lungs, axis=0)
    areas = both.sum(axis=(0, 1))
    sizes = [float(lung.sum()) for lung in lungs]
    body = hu > BODY_HU
    found = {
        "slab": hu.shape[2] * spacing_mm[2] / 1000,
        "width": float(np.median(body.any(axis=1).sum(axis=0))) * spacing_mm[0] / 1000,
        "reach": float((areas > 0).mean()),
    }
    if not both.any():
        return found
    left, right = lungs[0], lungs[-1]
    middle = np.argwhere(both)[:, 0]
    mirrored = np.roll(right[::-1], int(middle.min() + middle.max()) - (right.shape[0] - 1), axis=0)
    return found | {
        "balance": min(sizes) / max(sizes),
        "sides": float(2 * (left & mirrored).sum() / max(1.0, sum(sizes))),
        "top": float(areas[-1] / areas.max()),
        "bottom": float(areas[0] / areas.max()),
    }


def _signals(where: np.ndarray, hu: np.ndarray, slices: np.ndarray, body: float, voxel_ml: float) -> Signals:
    from scipy.ndimage import binary_dilation

    if not where.any():
        return {"fill": 0.0, "height": 0.0, "volume": -1.0}
    ring = binary_dilation(where, iterations=2) & ~binary_dilation(where)
    soft = (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])
    return {
        "fill": float(where.sum() / body),
        "hull": _hull_share(where),
        "height": float(where.any(axis=(0, 1)).sum() / max(1, slices.sum())),
        "volume": float(np.log10(0.1 + where.sum() * voxel_ml)),
        "density": float(hu[where].mean() / 100),
        "rim": float(soft[ring].mean()) if ring.any() else float("nan"),
    }


def _hull_share(where: np.ndarray) -> float:
    from skimage.morphology import convex_hull_image

    planes = [plane for plane in np.moveaxis(where, 2, 0) if plane.sum() > 2]
    hulls = sum(float(convex_hull_image(plane).sum()) for plane in planes)
    return float(where.sum()) / hulls if hulls else 1.0
