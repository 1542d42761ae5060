"""Check that a volume is a chest CT in Hounsfield units, and that both lungs are wholly in it.

Figures marked "measured" come from the public scans that tests/quality/chest_ct/test_scans.py names. There,
aerated lung is 2 ml in an abdomen without lung bases, 247 ml in the thinnest slab of a chest (15 mm) and 2.7
to 5.3 l in whole chests.
"""

from __future__ import annotations

import numpy as np

from medseg.errors import UnsuitableError
from medseg.quality.chest_ct.chest import AERATED_HU, TISSUE_HU, Chest, between, coarse_chest, require_grid
from medseg.quality.chest_ct.coverage import coverage_warnings, slice_warnings
from medseg.quality.chest_ct.posture import posture_warnings
from medseg.quality.hounsfield import require_hounsfield, require_numbers

__all__ = ["check_chest_ct"]

SMALLEST_LUNG_ML = 20.0  # measured: 2 in an abdomen, 247 in the thinnest slab
SMALLEST_BODY_ML = 50.0  # of soft tissue; measured: 613 in the thinnest slab


def check_chest_ct(array_hu: np.ndarray, affine: np.ndarray) -> list[str]:
    """Check that a volume is a CT of the chest that lungs can be segmented in.

    It is checked on a grid of about 4 mm. Dense lungs (consolidation, effusion, one lung removed) pass.

    Args:
        array_hu: (i, j, k), any real type and orientation, in HU. Values below -1024 are no fault.
        affine: 4x4, voxel index to RAS+ mm.

    Returns:
        Warnings as sentences; empty when nothing is unusual.

    Raises:
        UnsuitableError: the volume is not in HU, has no air or no body, shows another part of the body, or
            has a grid on which no lung can be seen.
    """
    affine = np.asarray(affine, dtype=float)
    require_numbers(array_hu)
    require_hounsfield(array_hu)
    spacing_mm = require_grid(array_hu.shape, affine)
    chest = coarse_chest(array_hu, affine)
    _require_body(chest)
    _require_lung(chest)
    return [
        *_aeration_warnings(chest),
        *coverage_warnings(chest),
        *posture_warnings(chest),
        *slice_warnings(spacing_mm),
    ]


def _require_body(chest: Chest) -> None:
    body_ml = chest.body.sum() * chest.voxel_ml
    if body_ml < SMALLEST_BODY_ML:
        raise UnsuitableError(
            "a CT with a body in it",
            got=f"{body_ml:.0f} ml of tissue above {TISSUE_HU:g} HU",
            advice="Check the series: it may be a scan of air, or the rescale intercept was applied twice.",
        )
    tissue = chest.hu[chest.body]
    share = np.mean((tissue > -200) & (tissue < 200))
    # Measured: 0.68 in a heart full of contrast agent that fills the field of view, else 0.84 and more.
    if share < 0.3:
        raise UnsuitableError(
            "a chest CT in Hounsfield units (fat near -100, muscle near 50)",
            got=f"a body of which {share:.0%} is between -200 and 200",
            advice="Check that the file is a CT, and that its rescale slope was applied once.",
        )


def _require_lung(chest: Chest) -> None:
    lung_ml = chest.lung.sum() * chest.voxel_ml
    share = chest.lung_slices.mean()
    height_mm = chest.lung_slices.sum() * chest.spacing_mm[2]
    # A scan of the abdomen shows the lungs' bases, one of the neck their apices. Measured: 24 mm in 7% of
    # the slices of an abdomen; 75% and more in chests.
    at_end = bool(chest.lung_slices[[0, -1]].any())
    body_ml = chest.body.sum() * chest.voxel_ml
    if lung_ml < SMALLEST_LUNG_ML or (at_end and share < 0.15 and height_mm < 60):
        raise UnsuitableError(
            "a CT of the chest",
            got=f"{lung_ml:.0f} ml of aerated lung ({AERATED_HU[0]:g} to {AERATED_HU[1]:g} HU) in "
            f"{share:.0%} of the slices, {body_ml:.0f} ml of body: {_other_part(chest)}",
            advice="Use the series of the chest. If this is that series, check that its values are HU.",
        )


def _aeration_warnings(chest: Chest) -> list[str]:
    warnings = []
    lung, body = (mask[:, :, chest.lung_slices].sum() for mask in (chest.lung, chest.body))
    # Measured: 0.17 in a crop around a heart, 0.2 and more in other chests.
    if lung < 0.06 * (lung + body):
        warnings.append(
            f"little aerated lung was found ({lung * chest.voxel_ml:.0f} ml): dense, collapsed or destroyed "
            "lungs, and lungs of which the scan shows little, are often segmented wrongly"
        )
    # Measured as a share of the lung: 0.09 and less in halves of chests, 0.24 and more where both are.
    if between(chest.lung, chest.body).sum() < 0.15 * lung:
        warnings.append(
            "aerated lung was found on one side only: the other lung is outside the field of view, dense, "
            "collapsed or removed"
        )
    return warnings


def _other_part(chest: Chest) -> str:
    """The probable part of the body by its width, as a noun phrase."""
    width_mm = np.median(chest.body.any(1).sum(0)) * chest.spacing_mm[0]
    if width_mm < 220:
        return f"probably a head or a limb (about {width_mm:.0f} mm wide)"
    return f"probably an abdomen or pelvis (about {width_mm:.0f} mm wide)"
