"""What a feature function gets, and what is known of a feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class FeatureInput:
    """An image on the task's grid.

    Attributes:
        channels: (C, spatial...) float32.
        grey: (spatial...) float32, the channel that features of one channel are taken from.
        region: (spatial...) bool, where the image was taken.
        spacing: size of a pixel or voxel along each axis: 1 px for pictures, mm for volumes.
    """

    channels: np.ndarray
    grey: np.ndarray
    region: np.ndarray
    spacing: tuple[float, ...]

    def sigma(self, scale: float) -> tuple[float, ...]:
        """A scale in px or mm as standard deviations in pixels or voxels."""
        return tuple(scale / size for size in self.spacing)


@dataclass(frozen=True)
class Feature:
    """A named feature.

    Attributes:
        name: as configurations name it.
        summary: one line, with the source of the formula.
        compute: a function from a FeatureInput and a scale (px or mm) to (spatial...) float32. The scale is
            None for a feature without one.
        scaled: whether the name is followed by @ and a scale, as in gradient@2.
        dimensions: the numbers of spatial axes that it works on.
        channels: the number of channels that it needs; None for any.
    """

    name: str
    summary: str
    compute: Callable[[FeatureInput, float | None], np.ndarray]
    scaled: bool = False
    dimensions: tuple[int, ...] = (2, 3)
    channels: int | None = None
