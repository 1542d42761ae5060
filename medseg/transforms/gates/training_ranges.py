"""The gate of a task that has none of its own: whether an image is like the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medseg.case import warn
from medseg.quality.training_ranges import require_content, unlike_training
from medseg.transforms.load import Data
from medseg.volume import nearest_axes


class CheckTrainingRangesd(MapTransform):
    """Refuse a blank image, and warn of one that is unlike the training images.

    Args:
        keys: images (C, spatial...) from LoadVolumed; the meta data gets the warnings.
        ranges: see medseg.quality.training_ranges.unlike_training.

    Raises:
        UnsuitableError: see medseg.quality.training_ranges.require_content.
        BundleError: faulty ranges.
    """

    def __init__(self, keys: KeysCollection, ranges: Mapping[str, Any]) -> None:
        super().__init__(keys)
        self.ranges = dict(ranges)

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        checked = dict(data)
        for key in self.key_iterator(checked):
            image = checked[key]
            array = np.asarray(image)
            require_content(array)
            warn(image.meta, self, *unlike_training(array, _spacing_mm(image.meta), self.ranges))
        return checked


def _spacing_mm(meta: Mapping[str, Any]) -> Sequence[float] | None:
    """Size of a voxel along right, anterior and superior; None for a picture."""
    if "source_affine" not in meta:
        return None
    affine = np.asarray(meta["source_affine"])
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return [float(sizes[axis]) for axis in nearest_axes(affine)[0]]
