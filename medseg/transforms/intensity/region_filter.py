"""The frame of the filters that change the values of an image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medseg.errors import UnsuitableError, UsageError, did_you_mean
from medseg.filling import filled
from medseg.transforms.load import Data


class RegionFilterd(MapTransform):
    """Filters each channel of an image inside its region; what lies outside has no influence and stays.

    Args:
        keys: (C, spatial...); float32 afterwards. A constant channel stays as it is.
        region_key: (1, spatial...) on the same grid, above 0.5 where the image was taken, such as the field
            of view; None for everywhere.

    Raises:
        UsageError: the item has no `region_key`.
        UnsuitableError: values that are not numbers, or an empty region.
    """

    def __init__(self, keys: KeysCollection, region_key: str | None = None) -> None:
        super().__init__(keys)
        self.region_key = region_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = MetaTensor(changed[key])
            values = image.numpy().astype(np.float32)
            region = self._region(changed, values.shape[1:])
            _require_numbers(values, region)
            for channel in values:
                self._change(channel, region)
            changed[key] = MetaTensor(torch.as_tensor(values), meta=image.meta)
        return changed

    def _region(self, data: Data, shape: tuple[int, ...]) -> np.ndarray:
        if self.region_key is None:
            return np.ones(shape, bool)
        if self.region_key not in data:
            raise UsageError(
                "a region in the item",
                got=self.region_key,
                advice=did_you_mean(self.region_key, map(str, data)),
            )
        return np.asarray(data[self.region_key])[0] > 0.5

    def _change(self, channel: np.ndarray, region: np.ndarray) -> None:
        inside = channel[region]
        if inside.min() < inside.max():
            channel[region] = self._filtered(filled(channel, region), region)[region]

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        """The filtered values (spatial...) float32 of one channel, which is filled outside the region."""
        raise NotImplementedError


def contrast(values: np.ndarray, region: np.ndarray) -> float:
    """The 99th minus the 1st percentile inside the region; where they are equal, the range of all values."""
    inside = values[region]
    low, high = np.percentile(inside, (1, 99))
    return float(high - low) or float(inside.max() - inside.min())


def require_positive(**sizes: float) -> None:
    """Check the parameters of a filter.

    Raises:
        UsageError: one of them is not a number above 0.
    """
    for name, value in sizes.items():
        if not 0 < value < float("inf"):
            raise UsageError(f"{name} above 0", got=str(value), advice="Correct the configuration.")


def _require_numbers(values: np.ndarray, region: np.ndarray) -> None:
    if not region.any():
        raise UnsuitableError(
            "an image with a region to look at", got="none", advice="Check the export of the image."
        )
    if not np.isfinite(values).all():
        raise UnsuitableError(
            "an image of finite numbers", got="NaN or infinity in it", advice="Export the image again."
        )
