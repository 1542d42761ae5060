"""Image-level classification targets, as channels beside the mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.transforms.load import Data

UNKNOWN = -1.0


class JoinTargetsd(MapTransform):
    """Append two channels to a label (1, row, column): the image's class, and whether there is any object.

    The result is (3, row, column) float: mask, class (1, 0, or -1 if unknown) and presence (1 or 0).

    Args:
        keys: the labels.
        entry: the entry of the item that holds the class.
        positive, negative: the values of that entry for class 1 and 0. Any other value, a missing entry or a
            mask without an object means unknown.
    """

    def __init__(self, keys: KeysCollection, entry: str, positive: str, negative: str) -> None:
        super().__init__(keys)
        self.entry, self.targets = entry, {positive: 1.0, negative: 0.0}

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        joined = dict(data)
        for key in self.key_iterator(joined):
            mask = torch.as_tensor(joined[key]).float()
            present = float((mask > 0.5).any())
            target = self.targets.get(str(joined.get(self.entry)), UNKNOWN) if present else UNKNOWN
            channels = [torch.full_like(mask, value) for value in (target, present)]
            joined[key] = MetaTensor(torch.cat([mask, *channels]))
        return joined
