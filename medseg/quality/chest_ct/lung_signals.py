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

    `fill`: the label's share of the body in the slices that hold lung; `hull`: its share of the convex hulls
    of its slices; `balance`: of the larger lung, the share of the smaller one's volume; `height`: of the
    lungs' slices, the share that the label reaches; `density`: its mean in 100 HU; `rim`: the share of
    tissue like water within two voxels of it.
    """
    affine = np.asarray(case.mask.affine)
    steps = tuple(max(1, round(GRID_MM / size)) for size in np.linalg.norm(affine[:3, :3], axis=0))
    place = tuple(slice(None, None, step) for step in steps)
    labels, hu = case.mask.array[place], case.image[0][place]
    axis = nearest_axes(affine)[0][2]
    labels, hu = np.moveaxis(labels, axis, 2), np.moveaxis(hu, axis, 2)
    values = {name: value for value, name in case.mask.labels.items() if value}
    sizes = [float((labels == values[name]).sum()) for name in LUNGS if name in values]
    balance = min(sizes) / max(sizes) if sizes and max(sizes) > 0 else float("nan")
    slices = np.asarray(np.isin(labels, [values[name] for name in LUNGS if name in values]).any(axis=(0, 1)))
    body = float((hu[..., slices] > BODY_HU).sum()) or 1.0
    return {
        name: _signals(np.asarray(labels == value), hu, slices, body) | {"balance": balance}
        for name, value in values.items()
    }


def _signals(where: np.ndarray, hu: np.ndarray, slices: np.ndarray, body: float) -> Signals:
    from scipy.ndimage import binary_dilation

    if not where.any():
        return {"fill": 0.0, "height": 0.0}
    ring = binary_dilation(where, iterations=2) & ~binary_dilation(where)
    soft = (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])
    return {
        "fill": float(where.sum() / body),
        "hull": _hull_share(where),
        "height": float(where.any(axis=(0, 1)).sum() / max(1, slices.sum())),
        "density": float(hu[where].mean() / 100),
        "rim": float(soft[ring].mean()) if ring.any() else float("nan"),
    }


def _hull_share(where: np.ndarray) -> float:
    from skimage.morphology import convex_hull_image

    hulls = sum(
        float(convex_hull_image(plane).sum()) for plane in np.moveaxis(where, 2, 0) if plane.sum() > 2
    )
    return float(where.sum()) / hulls if hulls else 1.0
