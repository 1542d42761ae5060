"""The gate of a fundus photograph, which finds its field of view."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.case import warn
from medseg.quality.fundus import find_field
from medseg.transforms.load import Data


class FindFieldOfViewd(MapTransform):
    """Add the field of view of a fundus photograph as (1, row, column), uint8.

    Leaves `field_diameter_px` and what speaks against a fundus photograph in the image's meta data.

    Raises:
        UnsuitableError: see medseg.quality.fundus.find_field.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            image = found[key]
            field = find_field(np.asarray(image))
            found[self.field_key] = MetaTensor(torch.as_tensor(field.mask[None].astype(np.uint8)))
            image.meta["field_diameter_px"] = torch.tensor(field.diameter_px)
            warn(image.meta, self, *field.warnings)
        return found
