"""Letterbox pictures of any size into one square, and bring the output back to their own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional

from medseg.transforms.load import Data


class ToSquared(MapTransform):
    """Crop to the field of view's bounding box, resize its long side, and pad with zeros to a square.

    Results are float32, so that a label keeps the share of each pixel that it covers. The first image's meta
    data gets `box`, (top, left, height, width) in px of the picture, for FromSquared.

    Args:
        keys: images (C, row, column) on the picture's grid.
        size_px: side of the square.
        label_keys: labels on the same grid; a key that an item lacks is skipped.
        field_of_view_key: (1, row, column), above 0 in the part to crop to; without it nothing is cropped.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size_px: int,
        label_keys: Sequence[str] = (),
        field_of_view_key: str = "field_of_view",
    ) -> None:
        super().__init__(keys)
        self.size_px, self.label_keys, self.field_of_view_key = size_px, tuple(label_keys), field_of_view_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        squared = dict(data)
        meta = dict(getattr(squared[self.keys[0]], "meta", {}))  # MONAI can be told not to track meta data
        meta["box"] = _box(squared.get(self.field_of_view_key), squared[self.keys[0]].shape[1:])
        for key in (*self.key_iterator(squared), *(key for key in self.label_keys if key in squared)):
            squared[key] = MetaTensor(self._square(torch.as_tensor(squared[key]), meta["box"]), meta=meta)
        return squared

    def _square(self, image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        top, left, height, width = box.tolist()
        small = _resize(image[:, top : top + height, left : left + width].float(), _size(box, self.size_px))
        before, after = _padding(box, self.size_px)
        return functional.pad(small, (before[1], after[1], before[0], after[0]))


class FromSquared(MapTransform):
    """Undo ToSquared for probabilities: back to the picture's grid, 0 outside the field of view.

    Args:
        keys: (C, size, size).
        image_key: the squared picture, whose meta data has `box` and `source_shape`.
        field_of_view_key: (1, row, column) on the picture's grid; in an item without it nothing is set to 0.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", field_of_view_key: str = "source_field_of_view"
    ) -> None:
        super().__init__(keys)
        self.image_key, self.field_of_view_key = image_key, field_of_view_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        restored = dict(data)
        meta = restored[self.image_key].meta
        box, shape = meta["box"], [int(size) for size in meta["source_shape"]]
        top, left, height, width = box.tolist()
        for key in self.key_iterator(restored):
            square = torch.as_tensor(restored[key])
            before, _ = _padding(box, square.shape[-1])
            rows, columns = _size(box, square.shape[-1])
            part = square[:, before[0] : before[0] + rows, before[1] : before[1] + columns]
            whole = torch.zeros(len(square), *shape)
            whole[:, top : top + height, left : left + width] = _resize(part, (height, width))
            if self.field_of_view_key in restored:
                whole *= torch.as_tensor(restored[self.field_of_view_key]) > 0
            restored[key] = MetaTensor(whole)
        return restored


def _box(field_of_view: Any, shape: Sequence[int]) -> torch.Tensor:
    """(4,) top, left, height and width of the field of view; of the whole picture without one."""
    if field_of_view is None:
        return torch.tensor([0, 0, *shape])
    seen = np.asarray(field_of_view)[0] > 0
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return torch.tensor([0, 0, *shape])
    return torch.tensor(
        [rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1], dtype=torch.int64
    )


def _size(box: torch.Tensor, size_px: int) -> tuple[int, int]:
    """Rows and columns of the box within the square."""
    _, _, height, width = box.tolist()
    scale = size_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _padding(box: torch.Tensor, size_px: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of zeros before and after the box within the square."""
    rows, columns = (size_px - size for size in _size(box, size_px))
    return (rows // 2, columns // 2), (rows - rows // 2, columns - columns // 2)


def _resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
