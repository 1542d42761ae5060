"""The scan of an ultrasound picture, without what a scanner's screen shows around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.transforms.load import Data
from medseg.ultrasound import find_scan


class FindScand(MapTransform):
    """Make an ultrasound picture grey, and nothing (0) outside of its scan, which is added as a field.

    Leaves what speaks against a plain B-mode picture in the image's meta data.

    Args:
        keys: (C, row, column), grey or in colour; afterwards (1, row, column), float32, from 0 to 255.
        field_key: gets the scan, (1, row, column), uint8.

    Raises:
        UnsuitableError: see medseg.ultrasound.find_scan.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            scan = find_scan(np.asarray(found[key]))
            meta = dict(getattr(found[key], "meta", {}))  # which MONAI can be told not to track
            meta["warnings"] = "\n".join([*meta.get("warnings", "").splitlines(), *scan.warnings])
            found[key] = MetaTensor(torch.as_tensor((scan.grey * scan.mask)[None]), meta=meta)
            found[self.field_key] = MetaTensor(torch.as_tensor(scan.mask[None].astype(np.uint8)))
        return found
