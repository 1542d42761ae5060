"""Blurring and denoising; sizes are in pixels or voxels of the grid that the image is on."""

from __future__ import annotations

import numpy as np
from monai.config import KeysCollection

from medseg.errors import UnsuitableError
from medseg.transforms.intensity.region_filter import RegionFilterd, contrast, require_positive


class GaussianFilterd(RegionFilterd):
    """A Gaussian.

    Args:
        keys: see RegionFilterd.
        sigma: standard deviation.
        region_key: see RegionFilterd.

    Raises:
        UsageError: sigma is not above 0.
    """

    def __init__(self, keys: KeysCollection, sigma: float = 1.0, region_key: str | None = None) -> None:
        super().__init__(keys, region_key)
        require_positive(sigma=sigma)
        self.sigma = sigma

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(values, self.sigma, mode="nearest")


class MedianFilterd(RegionFilterd):
    """The median in a square or cubic window: single wrong pixels go, edges stay.

    Args:
        keys: see RegionFilterd.
        radius: how far the window reaches to each side, a whole number.
        region_key: see RegionFilterd.

    Raises:
        UsageError: the radius is not above 0.
    """

    def __init__(self, keys: KeysCollection, radius: int = 1, region_key: str | None = None) -> None:
        super().__init__(keys, region_key)
        require_positive(radius=radius)
        self.radius = int(radius)

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        from scipy.ndimage import median_filter

        return median_filter(values, 2 * self.radius + 1, mode="nearest")


class BilateralFilterd(RegionFilterd):
    """A Gaussian mean of near pixels with similar values (Tomasi and Manduchi, ICCV 1998), of pictures.

    Args:
        keys: see RegionFilterd.
        sigma: standard deviation of the distance.
        similarity: standard deviation of the difference in value, as a share of the image's contrast (1st to
            99th percentile).
        region_key: see RegionFilterd.

    Raises:
        UsageError: sigma or similarity is not above 0.
        UnsuitableError: the image is a volume.
    """

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float = 2.0,
        similarity: float = 0.1,
        region_key: str | None = None,
    ) -> None:
        super().__init__(keys, region_key)
        require_positive(sigma=sigma, similarity=similarity)
        self.sigma, self.similarity = sigma, similarity

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        from skimage.restoration import denoise_bilateral

        if values.ndim != 2:
            raise UnsuitableError(
                "a picture for the bilateral filter",
                got="a volume",
                advice="Use AnisotropicDiffusiond, which keeps edges, too.",
            )
        # scikit-image's table of similarities begins at 0 and ends at the largest value.
        low, span = values.min(), np.ptp(values)
        spread = self.similarity * contrast(values, region) / span
        padded = np.pad((values - low) / span, 1, mode="edge")  # it drops axes of one pixel
        found = denoise_bilateral(padded, sigma_color=spread, sigma_spatial=self.sigma, mode="edge")
        return low + span * found[1:-1, 1:-1]


class NonLocalMeansd(RegionFilterd):
    """The mean of pixels whose surroundings look alike (Buades, Coll and Morel, CVPR 2005).

    Args:
        keys: see RegionFilterd.
        patch: width of the surroundings that are compared.
        distance: how far to each side pixels are looked for.
        similarity: difference of the surroundings beyond which pixels hardly count, as a share of the image's
            contrast (1st to 99th percentile); about the noise's standard deviation.
        region_key: see RegionFilterd.

    Raises:
        UsageError: one of the numbers is not above 0.
    """

    def __init__(
        self,
        keys: KeysCollection,
        patch: int = 5,
        distance: int = 6,
        similarity: float = 0.1,
        region_key: str | None = None,
    ) -> None:
        super().__init__(keys, region_key)
        require_positive(patch=patch, distance=distance, similarity=similarity)
        self.patch, self.distance, self.similarity = int(patch), int(distance), similarity

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        from skimage.restoration import denoise_nl_means

        height = self.similarity * contrast(values, region)
        padded = np.pad(values, 1, mode="edge")  # scikit-image drops axes of one pixel
        found = denoise_nl_means(padded, patch_size=self.patch, patch_distance=self.distance, h=height)
        return found[(slice(1, -1),) * values.ndim]


class AnisotropicDiffusiond(RegionFilterd):
    """Diffusion that stops at edges (Perona and Malik, PAMI 12, 1990), with no flow out of the region.

    Without edges, n steps are a Gaussian with a standard deviation of sqrt(n / (2 * axes)).

    Args:
        keys: see RegionFilterd.
        steps: their number.
        edge: difference between neighbours beyond which hardly anything flows, as a share of the image's
            contrast (1st to 99th percentile).
        region_key: see RegionFilterd.

    Raises:
        UsageError: one of the numbers is not above 0.
    """

    def __init__(
        self, keys: KeysCollection, steps: int = 20, edge: float = 0.1, region_key: str | None = None
    ) -> None:
        super().__init__(keys, region_key)
        require_positive(steps=steps, edge=edge)
        self.steps, self.edge = int(steps), edge

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        height = self.edge * contrast(values, region)
        rate = 1 / (4 * values.ndim)  # half the largest at which the scheme is stable
        current = values
        for _ in range(self.steps):
            gain = np.zeros_like(current)
            for axis in range(values.ndim):
                gain += _inflow(current, region, axis, height)
            current = current + rate * gain
        return current


def _inflow(values: np.ndarray, region: np.ndarray, axis: int, height: float) -> np.ndarray:
    """What flows into each pixel from its two neighbours along an axis, between pixels of the region."""
    differences = np.diff(values, axis=axis)
    behind, ahead = (np.take(region, part, axis) for part in _neighbours(region.shape[axis]))
    flow = differences * np.exp(-((differences / height) ** 2)) * (behind & ahead)
    return np.diff(flow, axis=axis, prepend=np.float32(0), append=np.float32(0))


def _neighbours(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of all pixels along an axis but the last, and of their next ones."""
    return np.arange(size - 1), np.arange(1, size)
