"""Intensity augmentation of an ultrasound picture, the label unchanged: speckle, shadows, calipers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional

from medseg.transforms.load import Data

ARM_PX = (2, 6)  # length of an arm of a caliper's cross: from 2 to below 6


class _RandAppearance(RandomizableTransform, MapTransform):
    """A change of the picture alone, with a given probability."""

    def __init__(self, keys: KeysCollection, prob: float) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        changed = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(changed):
                changed[key] = self._change(changed[key], data)
        return changed

    def _change(self, image: torch.Tensor, data: Mapping[Any, Any]) -> torch.Tensor:
        raise NotImplementedError


class RandSpeckled(_RandAppearance):
    """Multiply by spatially correlated noise, like the speckle of other frequencies and depths.

    Args:
        keys: (1, row, column) from 0 to 1.
        prob: of a change.
        strength: largest standard deviation of the factor.
        size_px: smallest and largest correlation length across the beam; along the beam it is half as long.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        strength: float = 0.4,
        size_px: tuple[float, float] = (1.0, 4.0),
    ) -> None:
        super().__init__(keys, prob)
        self.strength, self.size_px = strength, size_px

    def _change(self, image: torch.Tensor, data: Mapping[Any, Any]) -> torch.Tensor:
        rows, columns = image.shape[1:]
        grain = self.R.uniform(*self.size_px)
        size = (max(2, round(2 * rows / grain)), max(2, round(columns / grain)))
        noise = torch.as_tensor(self.R.normal(size=(1, 1, *size)), dtype=torch.float32)
        noise = functional.interpolate(noise, size=(rows, columns), mode="bilinear")[0]
        return (image * (1 + self.R.uniform(0, self.strength) * noise)).clamp(0, 1)


class RandShadowd(_RandAppearance):
    """Darken or brighten strips below a depth: shadows of ribs, gas and calcium, enhancement behind cysts.

    Args:
        keys: (1, row, column) from 0 to 1, depth along the rows.
        prob: of a change.
        most: largest number of strips.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.3, most: int = 3) -> None:
        super().__init__(keys, prob)
        self.most = most

    def _change(self, image: torch.Tensor, data: Mapping[Any, Any]) -> torch.Tensor:
        rows, columns = (torch.linspace(0, 1, size) for size in image.shape[1:])
        factor = torch.ones(image.shape[1:])
        for _ in range(self.R.randint(1, self.most + 1)):
            across = torch.exp(-(((columns - self.R.uniform()) / self.R.uniform(0.02, 0.15)) ** 2))
            below = torch.sigmoid((rows - self.R.uniform(-0.2, 0.9)) / self.R.uniform(0.01, 0.1))
            factor *= 1 + self.R.uniform(-0.8, 0.5) * below[:, None] * across
        return (image * factor).clamp(0, 1)


class RandCalipersd(_RandAppearance):
    """Draw calipers' crosses on the ends of a lesion or anywhere, so that they are no sign of a lesion.

    Args:
        keys: (1, row, column) from 0 to 1.
        prob: of drawing any.
        label_key: (1, row, column), above 0.5 in lesions.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.2, label_key: str = "label") -> None:
        super().__init__(keys, prob)
        self.label_key = label_key

    def _change(self, image: torch.Tensor, data: Mapping[Any, Any]) -> torch.Tensor:
        inside = np.argwhere(np.asarray(data[self.label_key])[0] > 0.5)
        drawn = image.clone()
        for row, column in self._places(inside, image.shape[1:]):
            self._cross(drawn, row, column)
        return drawn

    def _places(self, inside: np.ndarray, shape: Any) -> list[tuple[int, int]]:
        """(row, column) of two or four ends of the lesion half of the time, else of two places anywhere."""
        if len(inside) and self.R.uniform() < 0.5:
            ends = [inside[inside[:, axis].argmax()] for axis in (0, 1)]
            ends += [inside[inside[:, axis].argmin()] for axis in (0, 1)]
            return [(int(row), int(column)) for row, column in ends[:: self.R.randint(1, 3)]]
        return [(self.R.randint(shape[0]), self.R.randint(shape[1])) for _ in range(2)]

    def _cross(self, image: torch.Tensor, row: int, column: int) -> None:
        arm, value = self.R.randint(*ARM_PX), self.R.uniform(0.6, 1.0)
        image[0, max(0, row - arm) : row + arm + 1, column] = value
        image[0, row, max(0, column - arm) : column + arm + 1] = value
