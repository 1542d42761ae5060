"""The volume of a dense region by its density, which blur by thick slices and kernels leaves as it is.

A threshold loses the rim of a small object where slices are thick. The density that an object adds to the
lung around it is only spread by that, not lost: its sum over the object and its surroundings, divided by what
solid tissue adds, is the volume. After the partial-volume analysis of Kuhnigk et al., IEEE Transactions on
Medical Imaging 25, 2006, without its models of the rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.boxes import bounding_box, widened

SOLID_HU = 40.0  # of soft tissue; an object that is less dense counts for less
DENSEST_HU = 150.0  # lime counts no more than this
REACH_MM = 4.0  # how far an object's density is spread; farther with thicker slices
REACH_VOXELS = 1.5
RING_MM = 5.0  # of the surroundings beyond, whose density is the lung's
ATTACHED_HU = -500.0  # from here the surroundings are dense
LUNG_HU = -850.0  # where there are no surroundings


@dataclass(frozen=True)
class Solid:
    """A region by its density.

    Attributes:
        volume_ml: its volume as solid tissue.
        attached: share of its surroundings, where its own density ends, that is dense: about 0 for a nodule
            that stands free, more for a vessel or what a vessel or the hilum goes on from.
    """

    volume_ml: float
    attached: float


def solids(
    numbers: np.ndarray, image_hu: np.ndarray, lungs: np.ndarray, spacing_mm: np.ndarray, voxel_ml: float
) -> list[Solid]:
    """The volume of each region, and whether it stands free.

    Only voxels of the lungs count, and each for the nearest region.

    Args:
        numbers: (i, j, k), regions from 1, 0 elsewhere.
        image_hu: (i, j, k).
        lungs: (i, j, k) bool.
        spacing_mm: size of a voxel along each axis.
        voxel_ml: volume of a voxel.
    """
    reach_mm = max(REACH_MM, REACH_VOXELS * float(spacing_mm.max()))
    margin = np.ceil((reach_mm + RING_MM) / spacing_mm).astype(int) + 1
    found = []
    for number in range(1, int(numbers.max(initial=0)) + 1):
        box = widened(bounding_box(numbers == number), margin.tolist(), numbers.shape)
        voxels, attached = _solid(number, numbers[box], image_hu[box], lungs[box], spacing_mm, reach_mm)
        found.append(Solid(voxels * voxel_ml, attached))
    return found


def _solid(
    number: int,
    numbers: np.ndarray,
    image_hu: np.ndarray,
    lungs: np.ndarray,
    spacing_mm: np.ndarray,
    reach_mm: float,
) -> tuple[float, float]:
    """The volume of one region in voxels, and how far it is attached; from the box around it."""
    import edt

    own = numbers == number
    others = (numbers > 0) & ~own
    away = edt.edt(np.ascontiguousarray(~own), anisotropy=tuple(spacing_mm))
    inside = (away <= reach_mm) & (lungs | own)
    ring = (away > reach_mm) & (away <= reach_mm + RING_MM) & lungs & ~others
    if others.any():
        inside &= away <= edt.edt(np.ascontiguousarray(~others), anisotropy=tuple(spacing_mm))
    lung_hu = float(np.median(image_hu[ring])) if ring.any() else LUNG_HU
    lung_hu = min(lung_hu, SOLID_HU - 200)  # in dense surroundings a share would be of next to nothing
    added = np.minimum(image_hu[inside].astype(np.float64), DENSEST_HU) - lung_hu
    shell = ring & (away <= reach_mm + float(spacing_mm.max()))
    attached = float((image_hu[shell] > ATTACHED_HU).mean()) if shell.any() else 0.0
    return max(float(added.sum() / (SOLID_HU - lung_hu)), 1.0), attached
