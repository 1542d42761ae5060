"""The gate of any CT, whatever part of the body it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.transforms import MapTransform

from medseg.quality.hounsfield import require_hounsfield, require_numbers
from medseg.transforms.load import Data


class CheckCTd(MapTransform):
    """Refuse a volume that is no CT in Hounsfield units.

    Args:
        keys: (1, i, j, k).

    Raises:
        UnsuitableError: see medseg.quality.hounsfield.
    """

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        checked = dict(data)
        for key in self.key_iterator(checked):
            array = np.asarray(checked[key][0])
            require_numbers(array)
            require_hounsfield(array)
        return checked
