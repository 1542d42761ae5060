"""The training of a classifier that is fitted at once: an epoch collects pixels, and its end fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from medseg.errors import DataError

FEWEST = 10  # pixels of a class, of which some are held out


class FitToPixels:
    """Trains a medseg.methods.pixel_classifier.PixelClassifier under MONAI's trainer.

    `update` is the trainer's iteration_update: it takes pixels of each class from a training image. As a
    handler it fits the classifier when the epoch is over; it must precede the handler that validates. All
    that is fitted lies in the network's state, so that checkpoints, best weights and lineage are as usual.

    Args:
        network: the network that is trained.
        per_class: the number of pixels of each class that an image gives, if it has so many.
        seed: of the choice of pixels and of the fit.
    """

    def __init__(self, network: Any, per_class: int, seed: int) -> None:
        self.network, self.per_class, self.seed = network, per_class, seed
        self.classes = max(network.classifier.outputs, 2)
        self.samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Register the handler; MONAI's trainer calls this."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.samples.clear)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def update(self, engine: Engine, batch: dict[str, Any]) -> list[dict[str, float]]:
        """Collect pixels of a batch; nothing is fitted yet, so the loss is that of even odds."""
        generator = np.random.default_rng([self.seed, engine.state.epoch, engine.state.iteration])
        for image, label in zip(batch["image"], batch["label"], strict=True):
            self.samples.append(self._sample(image.cpu().float().numpy(), label.cpu().numpy(), generator))
        return [{"loss": math.log(self.classes)}]

    def __call__(self, engine: Engine) -> None:
        """Fit the classifier; its log loss, weighted as in whole images, becomes a metric.

        Raises:
            DataError: a class is missing in the training images, or has hardly a pixel.
        """
        samples, labels, weights = (np.concatenate(parts) for parts in zip(*self.samples, strict=True))
        counts = np.bincount(labels, minlength=self.classes).tolist()
        if min(counts) < FEWEST:
            few = [f"{count} of class {number}" for number, count in enumerate(counts) if count < FEWEST]
            raise DataError(
                f"training images with at least {FEWEST} pixels of each of {self.classes} classes",
                got=", ".join(few),
                advice="Add images whose masks have the class, or correct the masks.",
            )
        self.network.classifier.fit(samples, labels, weights, self.seed)
        engine.state.metrics["fit_loss"] = log_loss(self.network.classify(samples), labels, weights)

    def _sample(
        self, image: np.ndarray, label: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (n, F), labels (n,) of some pixels, and how many each stands for (n,)."""
        features, region = self.network.pixels(image)
        of_pixels = np.where(region, label[0].round(), -1).astype(np.int64).ravel()
        chosen, weights = [], []
        for number in range(self.classes):
            found = np.flatnonzero(of_pixels == number)
            some = generator.permutation(found)[: self.per_class]
            chosen.append(some)
            weights.append(np.full(len(some), len(found) / max(len(some), 1)))
        where = np.concatenate(chosen)
        samples = np.ascontiguousarray(features.reshape(len(features), -1)[:, where].T)
        return samples, of_pixels[where], np.concatenate(weights)


def log_loss(logits: torch.Tensor, labels: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean log loss of logits (n, 1) of a target, or (n, K) of classes, with labels (n,)."""
    even = torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits
    losses = torch.nn.functional.cross_entropy(even, torch.from_numpy(labels), reduction="none")
    return float(np.average(losses.numpy(), weights=weights))
