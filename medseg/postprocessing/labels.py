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

AIRY_SHARE = 0.05  # of a piece of lung, below which it is dense


class CleanLabelsd(MapTransform):
    """Drop small pieces of each label, dense ones sooner, and fill the holes of some.

    Pieces of dense tissue apart from the lung are most often liver or muscle, not consolidated lung.

    Args:
        keys: scores of (labels, right, anterior, superior), changed in place; the best one is the label,
            and 0 is the background. Where the image's meta data has `grid_box`, they cover that part alone.
        labels: value to name.
        min_ml: label name to the volume that a piece must have, beside the largest piece, which always
            stays. A piece is what hangs together by faces, edges or corners.
        filled: names of labels in which no background is enclosed.
        min_dense_ml: the same as min_ml for pieces of which less than 5% is air-filled.
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
            voxel_ml = float(meta["grid_spacing_mm"]) ** 3 / 1000
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
            stray, count = small_pieces(labels == value, least_ml / voxel_ml, airy, dense_ml / voxel_ml)
            if count:
                _never(scores, value, stray)
                yield f"{name}: {count} pieces of {stray.sum() * voxel_ml:.1f} ml removed"

    def _fill(self, scores: torch.Tensor, labels: np.ndarray, voxel_ml: float) -> Iterator[str]:
        for name in self.filled:
            value = self.values[name]
            inner = holes_of(labels == value) & (labels == 0)
            if inner.any():
                _never(scores, 0, inner)
                yield f"{name}: holes of {inner.sum() * voxel_ml:.1f} ml filled"


def _box(meta: Mapping[str, Any]) -> tuple[slice, ...]:
    return tuple(slice(*ends) for ends in meta["grid_box"].tolist()) if "grid_box" in meta else ()


def _never(scores: torch.Tensor, value: int, mask: np.ndarray) -> None:
    """Take a label from voxels: its score becomes the lowest that a label has there."""
    box = bounding_box(mask)
    part, where = scores[(slice(None), *box)], torch.from_numpy(mask[box])
    part[value][where] = part[:, where].amin(0)


def small_pieces(
    mask: np.ndarray, least_voxels: float, airy: np.ndarray, least_dense_voxels: float
) -> tuple[np.ndarray, int]:
    """The pieces of (x, y, z) bool with fewer voxels than the least, without the largest; and how many.

    Args:
        mask: the pieces; they hang together by faces, edges or corners.
        least_voxels: that a piece has.
        airy: (x, y, z) bool; a piece with less than AIRY_SHARE of it is dense.
        least_dense_voxels: that a dense piece has.
    """
    small = np.zeros_like(mask)
    box = bounding_box(mask)
    numbers, count = numbered(mask[box], corners=True)
    if count < 2:
        return small, 0
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    dense = np.bincount(numbers[airy[box]], minlength=len(sizes)) < AIRY_SHARE * sizes
    goes = sizes < np.where(dense, least_dense_voxels, least_voxels)
    goes[0] = goes[sizes.argmax()] = False
    if goes.any():
        small[box] = goes[numbers]
    return small, int(goes.sum())


def holes_of(mask: np.ndarray) -> np.ndarray:
    """Voxels not in (x, y, z) bool from which no way by faces leads out of it."""
    found = np.zeros_like(mask)
    box = bounding_box(mask)
    found[box] = holes(mask[box])
    return found
