"""The feature stack: an image to the features that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.errors import UnsuitableError, UsageError, did_you_mean
from medseg.filling import filled
from medseg.methods.features.catalogue import FEATURES
from medseg.methods.features.record import Feature, FeatureInput


class FeatureStack:
    """Computes named features of an image.

    Args:
        names: features of medseg.methods.features.catalogue; one with a scale is written gradient@2, where 2
            is in px of the task's grid for pictures and in mm for volumes.
        spacing: size of a pixel (1) or of a voxel in mm, the same along each axis.
        grey: the channel that features of one channel are taken from; None for the mean of all.

    Raises:
        UsageError: a name is unknown, is given twice, or has a scale too many, too few or not above 0.
    """

    def __init__(self, names: Sequence[str], spacing: float = 1.0, grey: int | None = None) -> None:
        self.names = tuple(names)
        self.spacing, self.grey = spacing, grey
        if len(set(self.names)) < len(self.names) or not self.names:
            raise UsageError(
                "features that are named once", got=", ".join(names) or "none", advice="Correct features."
            )
        self._parts = [_parsed(name) for name in self.names]

    def __call__(self, image: np.ndarray, region: np.ndarray) -> np.ndarray:
        """The features (F, spatial...) float32 of an image.

        Args:
            image: (C, row, column) or (C, i, j, k) float32.
            region: (spatial...) bool, where the image was taken. What lies outside has no influence, and all
                features are 0 there.

        Raises:
            UnsuitableError: values that are not numbers, an empty region, or a feature that this image can't
                have.
        """
        if not np.isfinite(image).all():
            raise UnsuitableError(
                "an image of finite numbers", got="NaN or infinity in it", advice="Export the image again."
            )
        if not region.any():
            raise UnsuitableError(
                "an image with a region to look at", got="none", advice="Check the export of the image."
            )
        dimensions = image.ndim - 1
        for feature, _ in self._parts:
            _require_fitting(feature, dimensions, len(image))
        grey = image.mean(axis=0) if self.grey is None else image[self.grey]
        given = FeatureInput(image, filled(grey.astype(np.float32), region), region, self.spacing)
        found = np.zeros((len(self._parts), *region.shape), np.float32)
        for values, (feature, scale) in zip(found, self._parts, strict=True):
            values[region] = feature.compute(given, scale)[region]
        return found


def standardised(features: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Features (F, spatial...) of mean 0 and standard deviation 1 inside the region; constant ones are 0."""
    inside = features[:, region]
    mean, spread = inside.mean(axis=1), inside.std(axis=1)
    shape = (-1, *(1,) * region.ndim)
    scaled: np.ndarray = (features - mean.reshape(shape)) / np.where(spread > 1e-6, spread, 1).reshape(shape)
    return scaled


def _parsed(name: str) -> tuple[Feature, float]:
    """A feature, and its scale; 1 if it has none."""
    plain, at, text = name.partition("@")
    if plain not in FEATURES:
        raise UsageError("a feature", got=name, advice=did_you_mean(plain, FEATURES))
    feature = FEATURES[plain]
    scale = _number(text) if at else None
    if not feature.scaled and not at:
        return feature, 1.0
    if feature.scaled and scale is not None and 0 < scale < float("inf"):
        return feature, scale
    example = f"{plain}@2" if feature.scaled else plain
    raise UsageError(f"a feature such as {example}", got=name, advice="Scales are px, in volumes mm.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _require_fitting(feature: Feature, dimensions: int, channels: int) -> None:
    if dimensions not in feature.dimensions:
        raise UnsuitableError(
            f"an image with {' or '.join(map(str, feature.dimensions))} axes for the feature {feature.name}",
            got=f"one with {dimensions}",
            advice="Leave the feature out, or choose another method.",
        )
    if feature.channels is not None and feature.channels != channels:
        raise UnsuitableError(
            f"{feature.channels} channels for the feature {feature.name}",
            got=f"{channels}",
            advice="Leave the feature out.",
        )
