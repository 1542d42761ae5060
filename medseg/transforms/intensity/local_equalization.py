"""Local contrast."""

from __future__ import annotations

import numpy as np
from monai.config import KeysCollection

from medseg.errors import UsageError
from medseg.transforms.intensity.region_filter import RegionFilterd, require_positive


class LocalEqualizationd(RegionFilterd):
    """Contrast-limited adaptive histogram equalization, CLAHE (Zuiderveld, Graphics Gems IV, 1994).

    The range of each channel stays, its values do not: they are no Hounsfield units afterwards.

    Args:
        keys: see RegionFilterd.
        tiles: number of tiles along each axis whose histograms are equalized.
        clip: share of a tile's pixels that one bin of its histogram may hold, from above 0 (hardly any
            change) to 1 (no limit).
        region_key: see RegionFilterd.

    Raises:
        UsageError: tiles or clip is out of range.
    """

    def __init__(
        self, keys: KeysCollection, tiles: int = 8, clip: float = 0.01, region_key: str | None = None
    ) -> None:
        super().__init__(keys, region_key)
        require_positive(tiles=tiles, clip=clip)
        if clip > 1:
            raise UsageError("clip up to 1", got=str(clip), advice="Correct the configuration.")
        self.tiles, self.clip = int(tiles), clip

    def _filtered(self, values: np.ndarray, region: np.ndarray) -> np.ndarray:
        from skimage.exposure import equalize_adapthist

        low, high = values.min(), values.max()
        sizes = [max(1, size // self.tiles) for size in values.shape]
        equalized = equalize_adapthist((values - low) / (high - low), sizes, self.clip)
        return low + (high - low) * equalized
