"""The components of each label of a volume: small ones dropped, holes filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medseg.boxes import bounding_box
from medseg.case import note
from medseg.grid import best_labels
from medseg.morphology import holes, numbered

MIN_AIR_SHARE = 0.05  # of a component; with less it is dense


class CleanLabelsd(MapTransform):
    """Drop small components of each label and fill the holes of some labels.

    Dense components may have a larger least volume: apart from the lung, they are most often liver or muscle,
    not consolidated lung.

    Args:
        keys: scores of (labels, right, anterior, superior), changed in place; a voxel's label is that of its
            highest score, 0 is the background. Where the image's meta data has `grid_box`, (3, 2) first voxel
            and end along each axis, they cover that part of the image alone.
        labels: value to name.
        min_ml: label name to the least volume of its components; the largest one always stays. Voxels connect
            by faces, edges or corners.
        filled: names of the labels whose holes are filled.
        min_dense_ml: the same as min_ml for components of which less than 5% is air-filled.
        air: the image's value below which a voxel is air-filled.
        image_key: the resampled scan; its meta data gets the notes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Mapping[int | str, str],
        min_ml: Mapping[str, float],
        filled: tuple[str, ...] = (),
        min_dense_ml: Mapping[str, float] | None = None,
        air: float = 0.0,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.values = {name: int(value) for value, name in labels.items()}
        self.min_ml, self.filled, self.image_key = dict(min_ml), tuple(filled), image_key
        self.min_dense_ml, self.air = dict(min_dense_ml or {}), air

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        cleaned = dict(data)
        meta = cleaned[self.image_key].meta
        for key in self.key_iterator(cleaned):
            scores = cleaned[key]
            spacing_mm = np.broadcast_to(np.asarray(meta["grid_spacing_mm"], np.float64), 3)
            voxel_ml = float(spacing_mm.prod()) / 1000
            labels = best_labels(torch.as_tensor(scores)).numpy()
            airy = np.asarray(cleaned[self.image_key][0])[_box(meta)] < self.air
            notes = [*self._drop(scores, labels, airy, voxel_ml), *self._fill(scores, labels, voxel_ml)]
            note(meta, self, *notes)
        return cleaned

    def _drop(
        self, scores: torch.Tensor, labels: np.ndarray, airy: np.ndarray, voxel_ml: float
    ) -> Iterator[str]:
        for name, least_ml in self.min_ml.items():
            value = self.values[name]
            dense_ml = self.min_dense_ml.get(name, least_ml)
            small, count = small_components(labels == value, least_ml / voxel_ml, airy, dense_ml / voxel_ml)
            if count:
                _exclude(scores, value, small)
                total = f"{small.sum() * voxel_ml:.1f} ml"
                if count == 1:
                    yield f"{name}: 1 small component ({total}) removed"
                else:
                    yield f"{name}: {count} small components ({total} in all) removed"

    def _fill(self, scores: torch.Tensor, labels: np.ndarray, voxel_ml: float) -> Iterator[str]:
        for name in self.filled:
            value = self.values[name]
            inner = holes_of(labels == value) & (labels == 0)
            if inner.any():
                _exclude(scores, 0, inner)
                yield f"{name}: holes ({inner.sum() * voxel_ml:.1f} ml in all) filled"


def _box(meta: Mapping[str, Any]) -> tuple[slice, ...]:
    return tuple(slice(*ends) for ends in meta["grid_box"].tolist()) if "grid_box" in meta else ()


def _exclude(scores: torch.Tensor, value: int, mask: np.ndarray) -> None:
    """Rule a label out in the voxels of a mask: its score becomes the lowest of all labels there."""
    box = bounding_box(mask)
    part, where = scores[(slice(None), *box)], torch.from_numpy(mask[box])
    part[value][where] = part[:, where].amin(0)


def small_components(
    mask: np.ndarray, least_voxels: float, airy: np.ndarray, least_dense_voxels: float
) -> tuple[np.ndarray, int]:
    """The connected components of a mask that are too small; the largest one never is.

    Args:
        mask: (x, y, z) bool; voxels connect by faces, edges or corners.
        least_voxels: least number of voxels of a component.
        airy: (x, y, z) bool, the air-filled voxels; a component with a share below MIN_AIR_SHARE is dense.
        least_dense_voxels: least number of voxels of a dense component.

    Returns:
        (x, y, z) bool, True in the small components; and their number.
    """
    small = np.zeros_like(mask)
    box = bounding_box(mask)
    numbers, count = numbered(mask[box], corners=True)
    if count < 2:
        return small, 0
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    dense = np.bincount(numbers[airy[box]], minlength=len(sizes)) < MIN_AIR_SHARE * sizes
    is_small = sizes < np.where(dense, least_dense_voxels, least_voxels)
    is_small[0] = is_small[sizes.argmax()] = False
    if is_small.any():
        small[box] = is_small[numbers]
    return small, int(is_small.sum())


def holes_of(mask: np.ndarray) -> np.ndarray:
    """The background voxels of (x, y, z) bool that it encloses, connected by faces; (x, y, z) bool."""
    found = np.zeros_like(mask)
    box = bounding_box(mask)
    found[box] = holes(mask[box])
    return found
