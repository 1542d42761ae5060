"""The classical method's opinion as channels beside a chest CT, for a network that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform

from medseg.classical.channels import channels
from medseg.transforms.load import Data


class AddClassicald(MapTransform):
    """Put the channels of medseg.classical.channels beside an image, under a key of their own.

    Args:
        keys: the image, (1, right, anterior, superior).
        rules_key: gets (4, right, anterior, superior): body, left lung, right lung, airway.
        spacing_mm: size of a voxel.
        range_hu: what 0 and 1 mean in the image.
    """

    def __init__(
        self, keys: KeysCollection, rules_key: str, spacing_mm: float, range_hu: tuple[float, float]
    ) -> None:
        super().__init__(keys)
        self.rules_key, self.spacing_mm = rules_key, spacing_mm
        self.range_hu = (float(range_hu[0]), float(range_hu[1]))

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        added = dict(data)
        for key in self.key_iterator(added):
            image = torch.as_tensor(added[key])
            found = channels(image, self.spacing_mm, self.range_hu)
            affine = getattr(added[key], "affine", None)
            added[self.rules_key] = MetaTensor(found, affine=affine)
        return added


class RandForgetClassicald(RandomizableTransform, MapTransform):
    """As if the classical method had missed the left lung, the right lung or the airway, each by itself.

    Args:
        keys: channels of AddClassicald.
        prob: of missing each.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.missing = prob

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        forgotten = dict(data)
        for key in self.key_iterator(forgotten):
            rules = forgotten[key].clone()
            for number in range(1, len(rules)):
                if self.R.uniform() < self.missing:
                    rules[number] = 0
            forgotten[key] = rules
        return forgotten
