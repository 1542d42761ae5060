"""A random walker from seeds that the values of a feature choose."""

from __future__ import annotations

import math
import warnings

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.divisions import require_distinct
from medseg.methods.features import standardised


class RandomWalker:
    """The probability that a walker who starts in a pixel reaches the seeds of a class first.

    Steps across a large difference of the features are unlikely: Grady, IEEE Transactions on Pattern Analysis
    and Machine Intelligence 28, 2006. The seeds of class 0 are the pixels with the lowest values of the first
    feature, those of class 1 the pixels with the highest.

    Args:
        lowest, highest: shares of the region's pixels that are seeds of class 0 and of class 1.
        beta: how much a difference hinders a step.
        most: pixels at most: a larger image is walked on block means, and its probabilities are interpolated.

    Raises:
        UsageError: shares that are not above 0, or together not below 1.
    """

    def __init__(self, lowest: float, highest: float, beta: float = 90.0, most: int = 1_000_000) -> None:
        if min(lowest, highest) <= 0 or lowest + highest >= 1:
            raise UsageError(
                "shares of seeds above 0, together below 1",
                got=f"{lowest:g} and {highest:g}",
                advice="Correct lowest and highest.",
            )
        self.lowest, self.highest, self.beta, self.most = lowest, highest, beta, most

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Probabilities (2, spatial...) float32 of features (F, spatial...); 0 outside the region.

        Raises:
            UnsuitableError: seeds of both classes can't be told apart.
        """
        from skimage.transform import resize

        scaled = np.where(region, standardised(features, region), 0)
        step = math.ceil((region.size / self.most) ** (1 / region.ndim))
        high = self._walked(_blocks(scaled, step), _blocks(region[None].astype(np.float32), step)[0] > 0.5)
        if step > 1:
            high = resize(high, region.shape, order=1, mode="edge")
        return np.where(region, np.stack([1 - high, high]), 0).astype(np.float32)

    def _walked(self, scaled: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Probability (spatial...) of class 1."""
        from skimage.segmentation import random_walker

        first = scaled[0]
        require_distinct(first[region][:, None], 2)
        low, high = np.quantile(first[region], [self.lowest, 1 - self.highest])
        if low >= high:
            raise UnsuitableError(
                "an image whose lowest and highest values differ",
                got="one in which most pixels have the same",
                advice="Name another feature, or check the export of the image.",
            )
        seeds = np.where(first <= low, 1, np.where(first >= high, 2, 0))
        seeds[~region] = -1
        with warnings.catch_warnings():  # of parts without a seed, which stay at probability 0
            warnings.simplefilter("ignore", UserWarning)
            found = random_walker(
                np.moveaxis(scaled, 0, -1), seeds, beta=self.beta, mode="cg_j", tol=1e-3,
                return_full_prob=True, channel_axis=-1,
            )  # fmt: skip
        probability: np.ndarray = found[1]
        return np.where(region, probability, 0)


def _blocks(values: np.ndarray, step: int) -> np.ndarray:
    """Means (F, spatial...) over blocks of `step` pixels along each axis."""
    from skimage.measure import block_reduce

    if step == 1:
        return values
    found: np.ndarray = block_reduce(values, (1, *(step,) * (values.ndim - 1)), np.mean)
    return found
