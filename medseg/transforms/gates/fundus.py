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
from medseg.quality.fundus import find_field_of_view
from medseg.transforms.load import Data


class FindFieldOfViewd(MapTransform):
    """Add the field of view of a fundus photograph as (1, row, column), uint8.

    The image's meta data gets `field_diameter_px`, the diameter of the field of view in px, and a warning
    for each thing that is unlike a fundus photograph.

    Args:
        keys: photographs (C, row, column) with C 1 or 3, from LoadVolumed.
        field_of_view_key: gets the field of view.

    Raises:
        UnsuitableError: see medseg.quality.fundus.find_field_of_view.
    """

    def __init__(self, keys: KeysCollection, field_of_view_key: str = "field_of_view") -> None:
        super().__init__(keys)
        self.field_of_view_key = field_of_view_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            image = found[key]
            field_of_view = find_field_of_view(np.asarray(image))
            found[self.field_of_view_key] = MetaTensor(
                torch.as_tensor(field_of_view.mask[None].astype(np.uint8))
            )
            image.meta["field_diameter_px"] = torch.tensor(field_of_view.diameter_px)
            warn(image.meta, self, *field_of_view.warnings)
        return found
