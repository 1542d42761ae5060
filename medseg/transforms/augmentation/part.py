"""A part of a picture that holds no lesion."""

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
    """Show a square part of a picture, as large as the whole: now one without the lesion, now one with it.

    Parts with and without are cut alike, so that nearness is no sign of either. A part without has no known
    pathology. Where no part fits, the picture stays as it is.

    Args:
        keys: (1, row, column) image.
        label_key: (1, row, column), above 0 in lesions; is cut too.
        prob: of doing so.
        empty: share of parts that are without.
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

    def _part(self, lesion: np.ndarray, scan: np.ndarray) -> tuple[slice, slice] | None:
        """A place that is mostly scan, and holds nothing of the lesion or most of it."""
        without = not lesion.any() or self.R.uniform() < self.empty
        least = 0.7 * lesion.sum()
        for _ in range(self.TRIES):
            share = self.R.uniform(*self.sides)
            size = [round(share * length) for length in lesion.shape]
            room = np.subtract(lesion.shape, size)
            top, left = (self.R.randint(length + 1) for length in room)
            part = slice(top, top + size[0]), slice(left, left + size[1])
            inside = lesion[part].sum()
            if scan[part].mean() > 0.6 and (inside == 0 if without else inside >= least):
                return part
        return None
