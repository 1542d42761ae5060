"""Crop a photograph to its field of view, resize it to one diameter, and undo both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional

from medseg.transforms.load import Data


class ResizeFieldOfViewd(MapTransform):
    """Crop to the bounding box of the field of view and resize so that its circle has a given diameter.

    The network then sees vessels of the same width whatever the camera's resolution. Results are float32, so
    that a label keeps the share of each pixel that it covers. The meta data gets `field_box`, (top, left,
    height, width) in px of the photograph, for RestoreFieldOfViewd.

    Args:
        keys: tensors of (C, row, column) on the photograph's grid; the first is the photograph.
        diameter_px: the diameter of the field of view afterwards.
        field_of_view_key: the field of view on the photograph's grid, (1, row, column).
        margin: kept around the field of view, as a share of its bounding box's size.
    """

    def __init__(
        self,
        keys: KeysCollection,
        diameter_px: int,
        field_of_view_key: str = "field_of_view",
        margin: float = 0.02,
    ) -> None:
        super().__init__(keys)
        self.diameter_px = diameter_px
        self.field_of_view_key = field_of_view_key
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        resized = dict(data)
        meta = dict(resized[self.keys[0]].meta)
        box = _bounding_box(np.asarray(resized[self.field_of_view_key][0]), self.margin)
        meta["field_box"] = box
        top, left, height, width = box.tolist()
        scale = self.diameter_px / float(meta["field_diameter_px"])
        size = (max(8, round(height * scale)), max(8, round(width * scale)))
        for key in self.key_iterator(resized):
            cut = torch.as_tensor(resized[key])[:, top : top + height, left : left + width]
            resized[key] = MetaTensor(_resize(cut.float(), size), meta=meta)
        return resized


class RestoreFieldOfViewd(MapTransform):
    """Undo ResizeFieldOfViewd for probabilities, on the photograph's grid; 0 outside the field of view.

    Args:
        keys: tensors of (C, row, column) on the network's grid.
        image_key: the resized photograph, whose meta data has `field_box` and `source_shape`.
        field_of_view_key: the field of view on the photograph's grid, (1, row, column).
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", field_of_view_key: str = "source_field_of_view"
    ) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.field_of_view_key = field_of_view_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        restored = dict(data)
        meta = restored[self.image_key].meta
        top, left, height, width = (int(value) for value in meta["field_box"])
        rows, columns = (int(value) for value in meta["source_shape"])
        field_of_view = torch.as_tensor(restored[self.field_of_view_key])
        for key in self.key_iterator(restored):
            inner = _resize(torch.as_tensor(restored[key]).float(), (height, width))
            canvas = inner.new_zeros((inner.shape[0], rows, columns))
            canvas[:, top : top + height, left : left + width] = inner
            restored[key] = MetaTensor(canvas * field_of_view.to(canvas.device), meta=dict(meta))
        return restored


def _bounding_box(mask: np.ndarray, margin: float) -> torch.Tensor:
    """(top, left, height, width) of the mask with a margin, inside the picture."""
    spans = []
    for axis, length in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = int(inside[0]), int(inside[-1]) + 1
        pad = round(margin * (last - first))
        spans.append((max(0, first - pad), min(length, last + pad)))
    (top, bottom), (left, right) = spans
    return torch.tensor([top, left, bottom - top, right - left])


def _resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(
        image[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]
