"""What a feature function gets, and what is known of a feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class FeatureInput:
    """An image on the task's grid.

    Attributes:
        channels: (C, spatial...) float32.
        grey: (spatial...) float32, the channel that features of one channel are taken from. Outside the
            region it has the nearest value inside, so that the region's border is no edge.
        region: (spatial...) bool, where the image was taken; not empty.
        spacing: size of a pixel or voxel along each axis: 1 px for pictures, mm for volumes.
    """

    channels: np.ndarray
    grey: np.ndarray
    region: np.ndarray
    spacing: float
    _last: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def pixels(self, scale: float) -> float:
        """A scale in px or mm as pixels or voxels."""
        return scale / self.spacing

    def radius(self, scale: float) -> int:
        """A scale as the radius of a neighbourhood in whole pixels or voxels, at least 1."""
        return max(1, round(self.pixels(scale)))

    def unit(self) -> np.ndarray:
        """(spatial...) float32: grey from 0, its first percentile inside the region, to 1, its 99th."""
        low, high = np.percentile(self.grey[self.region], (1, 99))
        if high <= low:  # fewer than a hundredth differ
            low, high = self.grey[self.region].min(), self.grey[self.region].max()
        scaled = (self.grey - low) / (high - low if high > low else 1)
        return np.clip(scaled, 0, 1).astype(np.float32)

    def over_region(self, values: np.ndarray) -> np.ndarray:
        """(spatial...) float32 of values (n,) at the region's pixels; 0 outside."""
        whole = np.zeros(self.region.shape, np.float32)
        whole[self.region] = values
        return whole

    def shared(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """What several features need, computed once if they follow each other; only the last is kept."""
        if key not in self._last:
            self._last.clear()
            self._last[key] = compute()
        return self._last[key]


@dataclass(frozen=True)
class Feature:
    """A named feature.

    Attributes:
        name: as configurations name it.
        summary: one line, with the source of the formula.
        compute: a function from a FeatureInput and a scale (px or mm) to (spatial...) numbers. The scale of a
            feature without one is 1.
        scaled: whether the name is followed by @ and a scale, as in gradient@2.
        dimensions: the numbers of spatial axes that it works on.
        channels: the number of channels that it needs; None for any.
    """

    name: str
    summary: str
    compute: Callable[[FeatureInput, float], np.ndarray]
    scaled: bool = False
    dimensions: tuple[int, ...] = (2, 3)
    channels: int | None = None
