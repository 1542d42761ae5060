"""Random soft blobs in a fundus photograph, similar to exudates and haemorrhages."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from medseg.transforms.load import Data


class RandBlobsd(RandomizableTransform, MapTransform):
    """Add soft bright or dark blobs, similar to exudates and haemorrhages, to a normalized photograph.

    The label stays the same: a covered vessel is still a vessel, and a blob is none.

    Args:
        keys: (C, row, column), after NormalizeFieldOfViewd.
        prob: probability of adding any blobs.
        most: largest number of blobs.
        radius_px: smallest and largest radius.
        strength: largest change, in standard deviations inside the field of view.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        most: int = 12,
        radius_px: tuple[float, float] = (2.0, 20.0),
        strength: float = 3.0,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.most, self.radius_px, self.strength = most, radius_px, strength

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        painted = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return painted
        image = painted[self.keys[0]]
        blobs = self._blobs(image.shape[1:])
        tint = torch.as_tensor(self.R.uniform(0.5, 1.0, size=(image.shape[0], 1, 1)), dtype=torch.float32)
        for key in self.key_iterator(painted):
            painted[key] = painted[key] + blobs * tint
        return painted

    def _blobs(self, shape: Sequence[int]) -> torch.Tensor:
        rows = torch.arange(shape[0], dtype=torch.float32)[:, None]
        columns = torch.arange(shape[1], dtype=torch.float32)[None]
        canvas = torch.zeros(tuple(shape))
        sign = 1.0 if self.R.uniform() < 0.5 else -1.0
        for _ in range(self.R.randint(1, self.most + 1)):
            row, column = self.R.uniform(0, shape[0]), self.R.uniform(0, shape[1])
            radius = np.exp(self.R.uniform(*np.log(self.radius_px)))
            stretch = self.R.uniform(0.5, 2.0)
            distance = torch.hypot((rows - row) * stretch, (columns - column) / stretch) / radius
            # A sigmoid edge is sharper than a Gaussian's, as the edge of a lesion is.
            canvas += self.R.uniform(0.5, self.strength) * torch.sigmoid(6.0 * (1.0 - distance))
        return sign * canvas
