"""What the lungs of a chest CT hold: a second label map on the scan's grid, and the volume of each tissue.

The border comes first: only voxels of the lungs' mask are divided. Each gets its class by its HU; vessels
are found by their shape; then the border and the surroundings of the vessels, where a voxel holds two
tissues, are put right. Every voxel of a lung has exactly one tissue, so that their volumes add up to the
lung's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from medseg.boxes import bounding_box, shape_of
from medseg.case import Case
from medseg.errors import UsageError
from medseg.measurements.entries import Measures, entry
from medseg.measurements.lungs import AIRWAY, LUNGS, UNKNOWN_SPACING, VESSEL_RADIUS_MM
from medseg.morphology import coarse, dilated, distance_mm
from medseg.volume import Mask

CLASSES = ("emphysema", "aerated", "ground_glass", "dense")
LABELS = dict(enumerate(("background", *CLASSES, "vessel", "airway")))
AERATED, GROUND_GLASS, VESSEL, AIR = 2, 3, 5, 6
TUBE_HU = (-950, 100)  # what lies outside, noise in emphysema or lime, makes no stronger tubes
SLAB = 48  # planes that are looked at together, to bound the memory


class LungTissues:
    """Divides the lungs of a chest CT into tissues.

    Args:
        lower_hu: class (emphysema, aerated, ground_glass, dense) to the HU from which it counts; ascending,
            each class ends where the next begins.
        vessel_hu: voxels below it are no vessels.
        vessel_radii_mm: standard deviations of the Gaussians with which tubes are looked for.
        least_tube_hu: least tubularity of a vessel, see `tubularity`.
        grid_mm: the grid for this is made of blocks of whole voxels of about this size.
        rim_mm: width of the border within which a voxel denser than aerated lung may be half chest wall.

    Raises:
        UsageError: the classes are others, or not in ascending order.
    """

    def __init__(
        self,
        lower_hu: Mapping[str, float],
        vessel_hu: float,
        vessel_radii_mm: Sequence[float],
        least_tube_hu: float,
        grid_mm: float,
        rim_mm: float,
    ) -> None:
        limits = list(lower_hu.values())
        if tuple(lower_hu) != CLASSES or limits != sorted(set(limits)):
            raise UsageError(
                f"ascending limits in HU for {', '.join(CLASSES)}",
                got=", ".join(f"{name}: {limit}" for name, limit in lower_hu.items()),
                advice="Correct `lower_hu` in the bundle's inference.yaml.",
            )
        self.lower_hu = limits
        self.vessel_hu, self.vessel_radii_mm, self.least_tube_hu = vessel_hu, vessel_radii_mm, least_tube_hu
        self.grid_mm, self.rim_mm = grid_mm, rim_mm

    def __call__(self, case: Case, measurements: Measures) -> tuple[Mask, Measures]:
        """The tissues of a case.

        Args:
            case: as measure_lungs takes it; its mask's values are labels.
            measurements: those of measure_lungs, which tell the lungs that the image cuts.

        Returns:
            The map (i, j, k) uint8 with LABELS, on the grid of the scan; and for each lung and both, the
            volume of each tissue and its share of the lung in the image.
        """
        mask = case.mask
        tissues = np.zeros(mask.array.shape, np.uint8)
        box = bounding_box(mask.array > 0, (2, 2, 2))
        if mask.affine is not None and all(shape_of(box)):
            spacing_mm = np.linalg.norm(mask.affine[:3, :3], axis=0)
            tissues[box] = self.divided(mask.array[box], case.image[0][box], spacing_mm)
        found = dataclasses.replace(mask, array=tissues, labels=dict(LABELS), segments=None)
        return found, _measured(mask, tissues, measurements)

    def divided(self, labels: np.ndarray, image_hu: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
        """The tissue of each voxel, (i, j, k) uint8, 0 outside lungs and airway.

        Args:
            labels: (i, j, k), those of measure_lungs.
            image_hu: (i, j, k).
            spacing_mm: size of a voxel along i, j and k.
        """
        lungs = np.isin(labels, list(LUNGS.values()))
        tissues = np.zeros(labels.shape, np.uint8)
        inner = lungs & ~dilated(~lungs)
        inner &= distance_mm(lungs, tuple(spacing_mm), self.rim_mm) > self.rim_mm
        vessels = self._vessels(inner, image_hu, spacing_mm)
        for start in range(0, labels.shape[2], SLAB):
            part = np.s_[..., start : start + SLAB]
            # Below the lowest limit is padding and noise: emphysema, too.
            tissues[part] = np.clip(np.digitize(image_hu[part], self.lower_hu), 1, len(CLASSES))
        tissues[vessels] = VESSEL
        tissues *= lungs
        halo = dilated(tissues == VESSEL) & (tissues == GROUND_GLASS)
        tissues[halo] = VESSEL
        _settle_rim(tissues, lungs & ~inner)
        tissues[labels == AIRWAY] = AIR
        return tissues

    def _vessels(self, inner: np.ndarray, image_hu: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
        """(i, j, k) bool: the voxels within the lungs that lie in a bright tube, without its border."""
        step = np.maximum(1, np.round(self.grid_mm / spacing_mm)).astype(int)
        lung_hu = np.clip(image_hu, *TUBE_HU)
        typical = np.median(lung_hu[inner]) if inner.any() else TUBE_HU[0]
        lung_hu[~inner] = typical  # the chest wall is no tube, nor its border
        small, small_mm = coarse(lung_hu, step.tolist()), spacing_mm * step
        ground_glass_hu, dense_hu = self.lower_hu[-2:]
        where = (small > typical + self.least_tube_hu) & ~_thick(small >= dense_hu, small_mm)
        tubes = self._tubes(small, where, small_mm)
        # The edges of an area of ground glass are tubes, too, but no vessels.
        patches = tubes & _thick(small >= ground_glass_hu, small_mm)
        found = [np.arange(size) // block for size, block in zip(image_hu.shape, step, strict=True)]
        least_hu = np.where(patches, dense_hu, self.vessel_hu).astype(np.float32)[np.ix_(*found)]
        vessels: np.ndarray = tubes[np.ix_(*found)] & (image_hu >= least_hu)
        return vessels

    def _tubes(self, image: np.ndarray, where: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
        """(i, j, k) bool: the voxels, among those to look at, that lie in a bright tube."""
        tubes = np.zeros(image.shape, bool)
        reach = int(np.ceil(4 * max(self.vessel_radii_mm) / spacing_mm[2]))
        for start in range(0, image.shape[2], SLAB):
            low, stop = max(0, start - reach), start + SLAB
            part = np.s_[..., low : stop + reach]
            within = where[part].copy()
            within[..., : start - low] = within[..., stop - low :] = False
            values = tubularity(image[part], within, spacing_mm.tolist(), self.vessel_radii_mm)
            tubes[part] |= values >= self.least_tube_hu
        return tubes


def _thick(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(i, j, k) bool: what is too thick for a vessel of the lung, such as a tumour, with its border.

    It is the opening of a mask by a ball of VESSEL_RADIUS_MM, and a voxel more.
    """
    sizes = tuple(float(size) for size in spacing_mm)
    core = distance_mm(mask, sizes, VESSEL_RADIUS_MM) > VESSEL_RADIUS_MM
    reach = VESSEL_RADIUS_MM + max(sizes)
    return distance_mm(~core, sizes, reach) <= reach


def tubularity(
    image: np.ndarray, where: np.ndarray, spacing_mm: Sequence[float], radii_mm: Sequence[float]
) -> np.ndarray:
    """How much the surroundings of a voxel look like a bright tube, in the image's unit; 0 if not at all.

    With the eigenvalues a <= b <= c of the Hessian, scaled by the squared radius, it is
    sqrt(a b) (1 - |c / b|) where a and b are negative: 0 for a plate (b = 0) and for a ball (b = c). The
    largest over all radii. Source: Sato et al., Medical Image Analysis 2, 1998, with the exponents 1/2 and 1.

    Args:
        image: (i, j, k).
        where: (i, j, k) bool, the voxels to look at.
        spacing_mm: size of a voxel along i, j and k.
        radii_mm: standard deviations of the Gaussian derivatives.

    Returns:
        (i, j, k) float32, 0 outside `where`.
    """
    from scipy.ndimage import gaussian_filter

    values = np.zeros(image.shape, np.float32)
    if not where.any() or min(image.shape) < 2:
        return values
    best = np.zeros(int(where.sum()), np.float32)
    for radius_mm in radii_mm:
        smooth = gaussian_filter(image.astype(np.float32), radius_mm / np.asarray(spacing_mm))
        hessian = np.empty((len(best), 3, 3), np.float32)
        for first in range(3):
            slope = np.gradient(smooth, spacing_mm[first], axis=first)
            for second in range(first, 3):
                curvature = np.gradient(slope, spacing_mm[second], axis=second)[where]
                hessian[:, first, second] = hessian[:, second, first] = curvature
        a, b, c = np.linalg.eigvalsh(hessian * radius_mm**2).T
        is_tube = b < 0
        ratio = np.abs(c / np.where(is_tube, b, 1))
        best = np.maximum(
            best, np.where(is_tube, np.sqrt(np.maximum(a * b, 0)) * (1 - np.minimum(ratio, 1)), 0)
        )
    values[where] = best
    return values


def _settle_rim(tissues: np.ndarray, rim: np.ndarray) -> None:
    """Give voxels of the rim that are denser than aerated lung the tissue of a neighbour further in.

    A consolidation at the pleura so stays one, and the border of aerated lung becomes no shell of ground
    glass. Voxels of a rim without anything further in stay as they are.
    """
    doubtful = rim & (tissues > AERATED)
    while doubtful.any():
        known = np.where(doubtful, 0, tissues)
        before = np.count_nonzero(doubtful)
        for axis in range(3):
            for to, source in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
                target, open_ = (np.moveaxis(each, axis, 0)[to] for each in (tissues, doubtful))
                neighbour = np.moveaxis(known, axis, 0)[source]
                takes = open_ & (neighbour > 0)
                target[takes] = neighbour[takes]
                open_[takes] = False
        if np.count_nonzero(doubtful) == before:
            return


def _measured(mask: Mask, tissues: np.ndarray, measurements: Measures) -> Measures:
    """Volume and share of each tissue, for each lung and both together."""
    voxel_ml = None if mask.affine is None else float(abs(np.linalg.det(mask.affine[:3, :3]))) / 1000
    counts = {
        name: np.bincount(tissues[mask.array == label], minlength=len(LABELS))
        for name, label in LUNGS.items()
    }
    counts["lungs"] = sum(counts.values(), np.zeros(len(LABELS), np.int64))
    measures: Measures = {}
    for name, voxels in counts.items():
        total = int(voxels.sum())
        cut = measurements.get(f"{name}_volume_ml", {}).get("reason", "")
        for value, tissue in LABELS.items():
            if value not in (0, AIR):
                key = f"{name}_tissue_{tissue}"
                volume_ml = None if cut or voxel_ml is None else float(voxels[value] * voxel_ml)
                share = float(100 * voxels[value] / total) if total else None
                measures |= entry(f"{key}_volume_ml", volume_ml, "ml", cut or UNKNOWN_SPACING)
                measures |= entry(f"{key}_percent", share, "% of the lung", cut or "no lung was found")
    return measures
