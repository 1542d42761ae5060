"""Random crops of a picture, with or without its lesion, resized to the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional

from medseg.transforms.load import Data


class RandPartd(RandomizableTransform, MapTransform):
    """Crop a part of a picture, without the lesion or with most of it, and resize it to the picture's size.

    Parts with and without a lesion are drawn from the same sizes, so that magnification is no sign of either.
    A part without a lesion gets the pathology "none". Where no part fits, the picture stays as it is.

    Args:
        keys: (1, row, column) image, 0 outside the ultrasound region.
        label_key: (1, row, column), above 0.5 in lesions; is cropped too.
        prob: probability of a crop.
        empty: share of the parts that have no lesion.
        sides: smallest and largest side of a part, as shares of the picture's.
    """

    TRIES = 24

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.5,
        empty: float = 0.5,
        sides: tuple[float, float] = (0.35, 0.8),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key, self.empty, self.sides = label_key, empty, sides

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        shown = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return shown
        label = torch.as_tensor(shown[self.label_key])
        part = self._part(np.asarray(label)[0] > 0.5, np.asarray(shown[self.keys[0]])[0] > 0)
        if part is None:
            return shown
        for key in (*self.key_iterator(shown), self.label_key):
            cut = shown[key].clone()
            near = torch.as_tensor(shown[key])[None, :, *part].float()
            near = functional.interpolate(near, size=cut.shape[1:], mode="bilinear")[0]
            cut[:] = near > 0.5 if key == self.label_key else near
            shown[key] = cut
        return shown if (shown[self.label_key] > 0).any() else shown | {"pathology": "none"}

    def _part(self, lesion: np.ndarray, region: np.ndarray) -> tuple[slice, slice] | None:
        """A part mostly in the region with nothing of the lesion or most of it; None where none fits."""
        without = not lesion.any() or self.R.uniform() < self.empty
        least = 0.7 * lesion.sum()
        for _ in range(self.TRIES):
            share = self.R.uniform(*self.sides)
            size = [round(share * length) for length in lesion.shape]
            room = np.subtract(lesion.shape, size)
            top, left = (self.R.randint(length + 1) for length in room)
            part = slice(top, top + size[0]), slice(left, left + size[1])
            inside = lesion[part].sum()
            if region[part].mean() > 0.6 and (inside == 0 if without else inside >= least):
                return part
        return None
