"""Vessels of a photograph by matched filters: lines with a Gaussian profile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from medseg.errors import UnsuitableError

GREEN = 1  # vessels have most contrast there
OUTSIDE = -10.0  # logit outside the field of view
LEAST_CONTRAST = 0.15  # of a levelled picture, whose spread is 1: less is not amplified


class MatchedFilter(torch.nn.Module):
    """A bank of oriented line filters in the place of a network.

    Source: Chaudhuri et al., IEEE Trans. Med. Imaging 8, 1989, 263-269. The profile across a vessel is a dark
    Gaussian, the same along `length_px`; its mean is subtracted, so that even brightness gives 0, and it is
    divided by its energy, so that a vessel with the profile's own width and contrast c has the response c,
    whatever the width. The response is the largest of all widths and directions, and at most the darkness of
    the pixel itself, so that the mask is no wider than the vessel.

    Args:
        sigmas_px: standard deviations of the Gaussian profiles.
        length_px: the length over which a vessel is taken for straight.
        directions: number of directions in half a turn.
        threshold: response at which the logit is 0, in units of the local contrast.
        contrast_px: standard deviation of the Gaussian over which the local contrast is taken.
        border_px: width of the rim of the field of view whose values are not used: cameras blur it.
    """

    def __init__(
        self,
        sigmas_px: Sequence[float],
        length_px: float,
        directions: int,
        threshold: float,
        contrast_px: float,
        border_px: float,
    ) -> None:
        super().__init__()
        self.threshold, self.contrast_px, self.border_px = threshold, contrast_px, border_px
        self.kernels = [
            line_kernel(sigma, length_px, math.pi * turn / directions)
            for sigma in sigmas_px
            for turn in range(directions)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, row, column), levelled and 0 outside the field of view, to logits (1, 1, row, column).

        Raises:
            UnsuitableError: the input is a volume, or not one picture.
        """
        if x.ndim != 4 or x.shape[0] != 1:
            raise UnsuitableError(
                "one picture: matched_filter works on pictures only",
                got=f"an array of shape {tuple(x.shape)}",
                advice="Choose a method for volumes.",
            )
        from scipy.ndimage import binary_fill_holes, gaussian_filter

        inside = binary_fill_holes((x[0] != 0).any(0).cpu().numpy())
        levelled = self._levelled(x[0, min(GREEN, x.shape[1] - 1)].cpu().numpy(), inside)
        response = torch.as_tensor(np.minimum(self._response(levelled), -gaussian_filter(levelled, 1.0)))
        logit = (response - self.threshold).masked_fill(~torch.as_tensor(inside), OUTSIDE)
        return logit[None, None].to(x.device)

    def _levelled(self, image: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Even contrast; beyond the used part pixels repeat the nearest, so that its border is no line."""
        from scipy.ndimage import distance_transform_edt, gaussian_filter

        used = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] > self.border_px
        if not used.any():
            return np.zeros_like(image)
        shares = np.maximum(gaussian_filter(used.astype(np.float32), self.contrast_px), 1e-3)
        variance = gaussian_filter(np.where(used, image, 0) ** 2, self.contrast_px) / shares
        image = image / np.maximum(np.sqrt(variance), LEAST_CONTRAST)
        nearest = distance_transform_edt(~used, return_distances=False, return_indices=True)
        return image[tuple(nearest)]

    def _response(self, image: np.ndarray) -> np.ndarray:
        """The largest response of all kernels at each pixel; one by one, to bound the memory."""
        half = max(len(kernel) for kernel in self.kernels) // 2
        rows, columns = image.shape
        padded = np.pad(image, half, mode="edge")
        size = [rows + 4 * half, columns + 4 * half]
        spectrum = torch.fft.rfft2(torch.as_tensor(padded), s=size)
        largest = torch.full((rows, columns), -torch.inf)
        for kernel in self.kernels:
            margin = half - len(kernel) // 2
            whole = functional.pad(kernel.flip(0, 1), [margin] * 4)
            response = torch.fft.irfft2(spectrum * torch.fft.rfft2(whole, s=size), s=size)
            largest = torch.maximum(largest, response[2 * half :, 2 * half :][:rows, :columns])
        return largest.numpy()


def line_kernel(sigma_px: float, length_px: float, angle: float) -> torch.Tensor:
    """A dark line with a Gaussian profile, zero mean, and response 1 to itself with contrast 1.

    Args:
        sigma_px: standard deviation of the profile, which is cut at three of them.
        length_px: length of the line.
        angle: direction of the line in radians, from the columns' axis.

    Returns:
        (n, n) float32, n odd.
    """
    half = math.ceil(math.hypot(length_px / 2, 3 * sigma_px))
    steps = torch.arange(-half, half + 1, dtype=torch.float32)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    along = column * math.cos(angle) + row * math.sin(angle)
    across = row * math.cos(angle) - column * math.sin(angle)
    support = (along.abs() <= length_px / 2) & (across.abs() <= 3 * sigma_px)
    profile = -torch.exp(-across.square() / (2 * sigma_px**2))
    kernel = torch.where(support, profile - profile[support].mean(), 0.0)
    return kernel / kernel.square().sum()
