"""Targets of questions about the whole picture, as channels beside the mask."""

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
    """Append two channels to a label: the answer to a question, and whether there is any object.

    Args:
        keys: labels (1, row, column).
        entry: of the item, where the answer stands.
        positive, negative: its values for 1 and 0; anything else, no entry, or no object is -1, not known.
    """

    def __init__(self, keys: KeysCollection, entry: str, positive: str, negative: str) -> None:
        super().__init__(keys)
        self.entry, self.targets = entry, {positive: 1.0, negative: 0.0}

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        joined = dict(data)
        for key in self.key_iterator(joined):
            mask = torch.as_tensor(joined[key]).float()
            there = float((mask > 0.5).any())
            target = self.targets.get(str(joined.get(self.entry)), UNKNOWN) if there else UNKNOWN
            channels = [torch.full_like(mask, value) for value in (target, there)]
            joined[key] = MetaTensor(torch.cat([mask, *channels]))
        return joined
