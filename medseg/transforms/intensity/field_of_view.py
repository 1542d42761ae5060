"""Light and contrast levelled inside the field of view."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch.nn import functional

from medseg.errors import UnsuitableError
from medseg.transforms.load import Data


class NormalizeFieldOfViewd(MapTransform):
    """Level the light and the contrast inside the field, channel by channel; 0 outside it.

    The local mean (a Gaussian of `sigma` of the field's diameter, over the field's pixels alone) is
    subtracted and the result divided by its standard deviation in the field, as in Foracchia et al.
    2005. A channel that is nearly flat (the blue of many cameras) is not blown up to pure noise: its
    divisor is at least `floor` of the strongest channel's.

    Args:
        keys: (C, row, column) after ResizeFieldOfViewd.
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
                    got="one colour all over",
                    advice="Check the export from the camera.",
                )
            spread = spread.clamp(min=float(self.floor * spread.max()))
            levelled[key] = MetaTensor(residual / spread[:, None, None], meta=levelled[key].meta)
        return levelled


def _local_mean(image: torch.Tensor, field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian mean over the field's pixels; computed at an eighth of the size, which it outlives."""
    from scipy.ndimage import gaussian_filter

    size = (max(1, image.shape[1] // 8), max(1, image.shape[2] // 8))
    stacked = functional.adaptive_avg_pool2d(torch.cat([image * field, field])[None], size)[0].numpy()
    width = sigma * max(size)
    smooth = torch.as_tensor(gaussian_filter(stacked, (0, width, width), mode="constant"))
    mean = smooth[:-1] / smooth[-1:].clamp(min=1e-3)
    return functional.interpolate(mean[None], size=image.shape[1:], mode="bilinear", align_corners=False)[0]
