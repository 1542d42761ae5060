"""Methods that are fitted to each image: features, a division into classes, and the classes of the target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from medseg.methods.features import FeatureStack
from medseg.methods.regions import Region, require_contrast
from medseg.methods.target import Target

MOST_LOGIT = 12.0  # of a pixel that certainly belongs to a class

# Features (F, spatial...) and a region to the probabilities of classes (K, spatial...), 0 outside the region.
Divide = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Unsupervised(torch.nn.Module):
    """Divides an image into classes by its features, and scores the target by a stated rule.

    Args:
        features: the features that the pixels are divided by.
        divide: a function such as medseg.methods.kmeans.KMeans: features (F, spatial...) and the region to
            probabilities of classes (K, spatial...).
        target: which of the classes is the target; it never sees a reference mask.
        region: a function such as medseg.methods.regions.not_black: where in the image to look.
    """

    def __init__(self, features: FeatureStack, divide: Divide, target: Target, region: Region) -> None:
        super().__init__()
        self.features, self.divide, self.target, self.region = features, divide, target, region

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, spatial...) of the target in images (n, C, spatial...).

        Raises:
            UnsuitableError: an image that is too small, constant or not of numbers.
        """
        scores = [self._scores(image) for image in x.cpu().float().numpy()]
        return torch.as_tensor(np.stack(scores))[:, None].to(x.device)

    def _scores(self, image: np.ndarray) -> np.ndarray:
        region = self.region(image)
        require_contrast(image, region)
        features = self.features(image, region)
        classes = self.divide(features, region)
        return logits(self.target(classes, features, self.features.names, region), region)


def logits(probability: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Log odds (spatial...) float32 of a probability, within MOST_LOGIT; the lowest outside the region."""
    least = 1 / (1 + np.exp(MOST_LOGIT))
    inside = np.clip(probability, least, 1 - least)
    found = np.log(inside) - np.log1p(-inside)
    return np.where(region, found, -MOST_LOGIT).astype(np.float32)
