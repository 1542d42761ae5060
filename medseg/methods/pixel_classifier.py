"""Methods that are trained on pixels: the features of each, and a classifier of them."""

from __future__ import annotations

import numpy as np
import torch

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.features import FeatureStack
from medseg.methods.regions import Region, require_contrast

LEAST_LOGIT = -12.0  # of the target outside the region


class PixelClassifier(torch.nn.Module):
    """Classifies each pixel by its features, as scikit-image's trainable segmentation does.

    Memory: the features, 4 bytes each, of the image on the task's grid, and the classifier's work on `chunk`
    pixels at once.

    Args:
        in_channels: the number of channels of an image.
        features: the features of a pixel.
        classifier: a module such as medseg.methods.support_vectors.SupportVectors: features (n, F) to
            logits (n, K). Its entry `fitted` says whether it was.
        region: a function such as medseg.methods.regions.not_black: where in the image to look.
        chunk: the number of pixels that are classified at once.
    """

    def __init__(
        self,
        in_channels: int,
        features: FeatureStack,
        classifier: torch.nn.Module,
        region: Region,
        chunk: int = 16384,
    ) -> None:
        super().__init__()
        self.in_channels, self.features, self.region, self.chunk = in_channels, features, region, chunk
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, K, spatial...) of images (n, C, spatial...); outside the region those of background.

        Raises:
            UnsuitableError: an image that is too small, constant, not of numbers, or of other channels.
            UsageError: there are no weights.
        """
        if not self.classifier.fitted:
            raise UsageError(
                "a classifier with weights",
                got="one that was not trained",
                advice="Train it with `medseg train TASK --method NAME`, and give its weights.",
            )
        return torch.stack([self._logits(image) for image in x.cpu().float().numpy()]).to(x.device)

    def pixels(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features (F, spatial...) of an image (C, spatial...), and where to look (spatial...).

        Raises:
            UnsuitableError: see forward.
        """
        if len(image) != self.in_channels:
            raise UnsuitableError(
                f"an image with {self.in_channels} channels",
                got=f"one with {len(image)}",
                advice="Choose an image of the kind that the method was trained on.",
            )
        region = self.region(image)
        require_contrast(image, region)
        return self.features(image, region), region

    def _logits(self, image: np.ndarray) -> torch.Tensor:
        features, region = self.pixels(image)
        where = np.flatnonzero(region)
        flat = features.reshape(len(features), -1)
        outputs = [self.classify(flat[:, some].T) for some in np.split(where, self._cuts(len(where)))]
        found = torch.cat(outputs)
        logits = torch.full((found.shape[1], region.size), LEAST_LOGIT)
        if len(logits) > 1:  # background is the first of several classes
            logits[0] = 0.0
        logits[:, torch.from_numpy(where)] = found.T
        return logits.reshape(-1, *region.shape)

    def classify(self, samples: np.ndarray) -> torch.Tensor:
        """Logits (n, K) float32 of the features (n, F) of some pixels."""
        device = next(self.classifier.parameters()).device
        found: torch.Tensor = self.classifier(torch.from_numpy(np.ascontiguousarray(samples)).to(device))
        return found.float().cpu()

    def _cuts(self, count: int) -> range:
        return range(self.chunk, count, self.chunk)
