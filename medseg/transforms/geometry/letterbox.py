"""Pictures of any size on one square, and the answer back on their own pixels."""

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
    """Cut to the field's bounding box, resize its long side to one size, and pad with zeros to a square.

    Results are float32, so that a label keeps the share of each pixel that it covers. The box goes to the
    first image's meta data for FromSquared.

    Args:
        keys: images (C, row, column) on the picture's grid.
        size_px: side of the square.
        label_keys: labels on the same grid; one that an item lacks is passed over.
        field_key: (1, row, column), what to look at; an item without it is looked at as a whole.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size_px: int,
        label_keys: Sequence[str] = (),
        field_key: str = "field",
    ) -> None:
        super().__init__(keys)
        self.size_px, self.label_keys, self.field_key = size_px, tuple(label_keys), field_key

    def __call__(self, data: Mapping[Any, Any]) -> Data:
        squared = dict(data)
        meta = dict(getattr(squared[self.keys[0]], "meta", {}))  # which MONAI can be told not to track
        meta["box"] = _box(squared.get(self.field_key), squared[self.keys[0]].shape[1:])
        for key in (*self.key_iterator(squared), *(key for key in self.label_keys if key in squared)):
            squared[key] = MetaTensor(self._square(torch.as_tensor(squared[key]), meta["box"]), meta=meta)
        return squared

    def _square(self, image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        top, left, height, width = box.tolist()
        small = _resize(image[:, top : top + height, left : left + width].float(), _size(box, self.size_px))
        before, after = _padding(box, self.size_px)
        return functional.pad(small, (before[1], after[1], before[0], after[0]))


class FromSquared(MapTransform):
    """Undo ToSquared for probabilities: back to the picture's grid, 0 outside the field.

    Args:
        keys: (C, size, size).
        image_key: the squared picture, whose meta data knows the way back.
        field_key: (1, row, column) on the picture's grid; an item without it has no outside.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", field_key: str = "source_field"
    ) -> None:
        super().__init__(keys)
        self.image_key, self.field_key = image_key, field_key

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
            if self.field_key in restored:
                whole *= torch.as_tensor(restored[self.field_key]) > 0
            restored[key] = MetaTensor(whole)
        return restored


def _box(field: Any, shape: Sequence[int]) -> torch.Tensor:
    """Top, left, height and width of what to look at."""
    if field is None:
        return torch.tensor([0, 0, *shape])
    seen = np.asarray(field)[0] > 0
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
    """Rows and columns of nothing before and after it."""
    rows, columns = (size_px - size for size in _size(box, size_px))
    return (rows // 2, columns // 2), (rows - rows // 2, columns - columns // 2)


def _resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
