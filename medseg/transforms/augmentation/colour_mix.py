"""Random mixtures of a photograph's colour channels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform

from medseg.transforms.load import Data


class RandColourMixd(RandomizableTransform, MapTransform):
    """Multiply the colour channels by a random matrix near the identity, or mix them to grey.

    It imitates other sensors, filters and red-free light.

    Args:
        keys: (C, row, column).
        prob: probability of a change.
        spread: largest difference of an element of the matrix from the identity's.
        grey: share of the changes in which all channels become one random mean of them.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.5, spread: float = 0.3, grey: float = 0.2
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.spread, self.grey = spread, grey

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        mixed = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return mixed
        channels = mixed[self.keys[0]].shape[0]
        if self.R.uniform() < self.grey:
            matrix = np.repeat(self.R.dirichlet(np.ones(channels))[None], channels, axis=0)
        else:
            matrix = np.eye(channels) + self.R.uniform(-self.spread, self.spread, (channels, channels))
        weights = torch.as_tensor(matrix, dtype=torch.float32)
        for key in self.key_iterator(mixed):
            mixed[key] = MetaTensor(
                torch.einsum("dc,chw->dhw", weights, torch.as_tensor(mixed[key])), meta=mixed[key].meta
            )
        return mixed
