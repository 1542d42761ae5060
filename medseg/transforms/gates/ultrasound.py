"""The gate of an ultrasound picture, which finds the ultrasound region on a scanner's screen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.case import Origin
from medseg.quality.ultrasound import find_region
from medseg.transforms.load import Data


class FindUltrasoundRegiond(MapTransform):
    """Add the ultrasound region of a B-mode picture as (1, row, column), uint8, and set the rest to 0.

    The image becomes (1, row, column), float32, grey from 0 to 255, 0 outside the region. Its meta data gets
    a warning for each thing that is unlike plain B-mode. Where its `origin` has a `region_box`, the region is
    searched in that box.

    Args:
        keys: pictures (C, row, column) with C 1 or 3, from LoadVolumed.
        field_of_view_key: gets the region.

    Raises:
        UnsuitableError: see medseg.quality.ultrasound.find_region.
    """

    def __init__(self, keys: KeysCollection, field_of_view_key: str = "field_of_view") -> None:
        super().__init__(keys)
        self.field_of_view_key = field_of_view_key

    def __call__(self, data: Mapping[Hashable, object]) -> Data:
        found: Data = dict(data)
        for key in self.key_iterator(found):
            meta = dict(getattr(found[key], "meta", {}))  # MONAI can be told not to track meta data
            origin: Origin = meta.get("origin", Origin())
            region = find_region(np.asarray(found[key]), origin.region_box)
            found[self.field_of_view_key] = MetaTensor(torch.as_tensor(region.mask[None].astype(np.uint8)))
            meta["origin"] = origin.warned(type(self).__name__, *region.warnings)
            found[key] = MetaTensor(torch.as_tensor((region.grey * region.mask)[None]), meta=meta)
        return found
