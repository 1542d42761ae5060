"""The scan of an ultrasound picture, without what a scanner's screen shows around it."""

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
    """Add the scan of a B-mode picture as (1, row, column), uint8, and leave nothing else of the picture.

    The image becomes (1, row, column), float32, grey from 0 to 255, 0 outside the scan. What speaks against
    plain B-mode goes to its meta data. Where they know a `region_box`, the scan is looked for in it.

    Raises:
        UnsuitableError: see medseg.quality.ultrasound.find_region.
    """

    def __init__(self, keys: KeysCollection, field_of_view_key: str = "field_of_view") -> None:
        super().__init__(keys)
        self.field_of_view_key = field_of_view_key

    def __call__(self, data: Mapping[Hashable, object]) -> Data:
        found: Data = dict(data)
        for key in self.key_iterator(found):
            meta = dict(getattr(found[key], "meta", {}))  # which MONAI can be told not to track
            origin: Origin = meta.get("origin", Origin())
            scan = find_region(np.asarray(found[key]), origin.region_box)
            found[self.field_of_view_key] = MetaTensor(torch.as_tensor(scan.mask[None].astype(np.uint8)))
            meta["origin"] = origin.warned(type(self).__name__, *scan.warnings)
            found[key] = MetaTensor(torch.as_tensor((scan.grey * scan.mask)[None]), meta=meta)
        return found
