"""The gate of a chest CT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.transforms import MapTransform

from medseg.case import warn
from medseg.quality.chest_ct import check_chest_ct
from medseg.transforms.load import Data


class CheckChestCTd(MapTransform):
    """Refuse images that are no CT of the chest; what is unusual becomes a warning in the meta data.

    Args:
        keys: volumes (1, i, j, k) in HU, from LoadVolumed.

    Raises:
        UnsuitableError: see medseg.quality.chest_ct.check_chest_ct.
    """

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        checked = dict(data)
        for key in self.key_iterator(checked):
            image = checked[key]
            notes = check_chest_ct(np.asarray(image[0]), image.meta["source_affine"].numpy())
            warn(image.meta, self, *notes)
        return checked
