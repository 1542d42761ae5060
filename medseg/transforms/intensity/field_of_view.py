"""Normalize illumination and contrast inside the field of view."""

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
    """Normalize illumination and contrast inside the field of view, channel by channel; 0 outside it.

    The local mean, Gaussian-weighted over the pixels of the field of view alone, is subtracted, and the
    result is divided by its standard deviation in the field of view (Foracchia, Grisan and Ruggeri, Medical
    Image Analysis 9, 2005). The divisor is at least `floor` times the largest of any channel, so that a
    channel with hardly any contrast, as the blue of many cameras, does not become noise.

    Args:
        keys: (C, row, column) after ResizeFieldOfViewd; float32 afterwards.
        field_of_view_key: (1, row, column) on the same grid, above 0.5 inside.
        sigma: standard deviation of the Gaussian, as a share of the larger side.
        floor: smallest divisor, as a share of the largest channel's.

    Raises:
        UnsuitableError: the photograph has no contrast.
    """

    def __init__(
        self,
        keys: KeysCollection,
        field_of_view_key: str = "field_of_view",
        sigma: float = 0.05,
        floor: float = 0.25,
    ) -> None:
        super().__init__(keys)
        self.field_of_view_key = field_of_view_key
        self.sigma = sigma
        self.floor = floor

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        levelled = dict(data)
        inside = torch.as_tensor(levelled[self.field_of_view_key]).float()
        inside = (inside > 0.5).float()
        for key in self.key_iterator(levelled):
            image = torch.as_tensor(levelled[key])
            residual = (image - _local_mean(image, inside, self.sigma)) * inside
            spread = (residual.square().sum(dim=(1, 2)) / inside.sum()).sqrt()
            # Rounding alone leaves a millionth of the brightness, the noise of a camera a thousandth.
            if not float(spread.max()) > 1e-4 * float((image * inside).abs().max()):
                raise UnsuitableError(
                    "a photograph with some contrast inside its field of view",
                    got="a photograph of one colour",
                    advice="Check the export from the camera.",
                )
            spread = spread.clamp(min=float(self.floor * spread.max()))
            levelled[key] = MetaTensor(residual / spread[:, None, None], meta=levelled[key].meta)
        return levelled


def _local_mean(image: torch.Tensor, inside: torch.Tensor, sigma: float) -> torch.Tensor:
    """(C, row, column) Gaussian mean over the pixels inside, computed at an eighth of the size."""
    from scipy.ndimage import gaussian_filter

    size = (max(1, image.shape[1] // 8), max(1, image.shape[2] // 8))
    stacked = functional.adaptive_avg_pool2d(torch.cat([image * inside, inside])[None], size)[0].numpy()
    width = sigma * max(size)
    smooth = torch.as_tensor(gaussian_filter(stacked, (0, width, width), mode="constant"))
    mean = smooth[:-1] / smooth[-1:].clamp(min=1e-3)
    return functional.interpolate(mean[None], size=image.shape[1:], mode="bilinear", align_corners=False)[0]
