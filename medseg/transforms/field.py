"""One look for every fundus photograph: its field found, resized to one diameter, and levelled.

RestoreFieldd, beside the transform that it undoes, brings the answer back to the photograph's own pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional

from medseg.case import warn
from medseg.errors import UnsuitableError
from medseg.fundus import find_field
from medseg.transforms.load import Data


class FindFieldd(MapTransform):
    """Add the field of view of a fundus photograph as (1, row, column), uint8.

    Leaves `field_diameter_px` and what speaks against a fundus photograph in the image's meta data.

    Raises:
        UnsuitableError: see medseg.fundus.find_field.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field") -> None:
        super().__init__(keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        found = dict(data)
        for key in self.key_iterator(found):
            image = found[key]
            field = find_field(np.asarray(image))
            found[self.field_key] = MetaTensor(torch.as_tensor(field.mask[None].astype(np.uint8)))
            image.meta["field_diameter_px"] = torch.tensor(field.diameter_px)
            warn(image.meta, self, *field.warnings)
        return found


class ResizeFieldd(MapTransform):
    """Cut to the field's bounding box and resize so that its circle has one diameter.

    A 700 px and a 3500 px photograph then look alike to the network. Results are float32, so that
    a label keeps the share of each pixel that it covers. The box goes to the meta data for
    RestoreFieldd.

    Args:
        keys: tensors of (C, row, column) on the photograph's grid; the first is the photograph.
        diameter_px: the field's diameter afterwards.
        margin: kept around the field, as a share of its diameter.
    """

    def __init__(
        self, keys: KeysCollection, diameter_px: int, field_key: str = "field", margin: float = 0.02
    ) -> None:
        super().__init__(keys)
        self.diameter_px = diameter_px
        self.field_key = field_key
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        resized = dict(data)
        meta = dict(resized[self.keys[0]].meta)
        box = _bounding_box(np.asarray(resized[self.field_key][0]), self.margin)
        meta["field_box"] = box
        top, left, height, width = box.tolist()
        scale = self.diameter_px / float(meta["field_diameter_px"])
        size = (max(8, round(height * scale)), max(8, round(width * scale)))
        for key in self.key_iterator(resized):
            cut = torch.as_tensor(resized[key])[:, top : top + height, left : left + width]
            resized[key] = MetaTensor(_resize(cut.float(), size), meta=meta)
        return resized


class RestoreFieldd(MapTransform):
    """Undo ResizeFieldd for probabilities: back to the photograph's grid, 0 outside the field.

    Args:
        keys: tensors of (C, row, column) on the network's grid.
        image_key: the resized photograph, whose meta data knows the way back.
        field_key: the field on the photograph's grid, (1, row, column).
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", field_key: str = "source_field"
    ) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        restored = dict(data)
        meta = restored[self.image_key].meta
        top, left, height, width = (int(value) for value in meta["field_box"])
        rows, columns = (int(value) for value in meta["source_shape"])
        field = torch.as_tensor(restored[self.field_key])
        for key in self.key_iterator(restored):
            inner = _resize(torch.as_tensor(restored[key]).float(), (height, width))
            canvas = inner.new_zeros((inner.shape[0], rows, columns))
            canvas[:, top : top + height, left : left + width] = inner
            restored[key] = MetaTensor(canvas * field.to(canvas.device), meta=dict(meta))
        return restored


class NormalizeFieldd(MapTransform):
    """Level the light and the contrast inside the field, channel by channel; 0 outside it.

    The local mean (a Gaussian of `sigma` of the field's diameter, over the field's pixels alone) is
    subtracted and the result divided by its standard deviation in the field, as in Foracchia et al.
    2005. A channel that is nearly flat (the blue of many cameras) is not blown up to pure noise: its
    divisor is at least `floor` of the strongest channel's.

    Args:
        keys: (C, row, column) after ResizeFieldd.
        sigma: of the Gaussian, as a share of the larger side.
        floor: see above.
    """

    def __init__(
        self, keys: KeysCollection, field_key: str = "field", sigma: float = 0.05, floor: float = 0.25
    ) -> None:
        super().__init__(keys)
        self.field_key = field_key
        self.sigma = sigma
        self.floor = floor

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        levelled = dict(data)
        field = torch.as_tensor(levelled[self.field_key]).float()
        field = (field > 0.5).float()
        for key in self.key_iterator(levelled):
            image = torch.as_tensor(levelled[key])
            residual = (image - _local_mean(image, field, self.sigma)) * field
            spread = (residual.square().sum(dim=(1, 2)) / field.sum()).sqrt()
            # Rounding alone leaves a millionth of the brightness, the noise of a camera a thousandth.
            if not float(spread.max()) > 1e-4 * float((image * field).abs().max()):
                raise UnsuitableError(
                    "a photograph with some contrast inside its field",
                    came="one colour all over",
                    do="Check the export from the camera.",
                )
            spread = spread.clamp(min=float(self.floor * spread.max()))
            levelled[key] = MetaTensor(residual / spread[:, None, None], meta=levelled[key].meta)
        return levelled


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


def _local_mean(image: torch.Tensor, field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian mean over the field's pixels; computed at an eighth of the size, which it outlives."""
    from scipy.ndimage import gaussian_filter

    size = (max(1, image.shape[1] // 8), max(1, image.shape[2] // 8))
    stacked = functional.adaptive_avg_pool2d(torch.cat([image * field, field])[None], size)[0].numpy()
    width = sigma * max(size)
    smooth = torch.as_tensor(gaussian_filter(stacked, (0, width, width), mode="constant"))
    mean = smooth[:-1] / smooth[-1:].clamp(min=1e-3)
    return functional.interpolate(mean[None], size=image.shape[1:], mode="bilinear", align_corners=False)[0]
