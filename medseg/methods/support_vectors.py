"""A support vector machine with a Gaussian kernel, as tensors."""

from __future__ import annotations

import numpy as np
import torch

from medseg.errors import DataError

HELD_OUT = 0.2  # of the samples, for the sigmoid


class SupportVectors(torch.nn.Module):
    """A linear support vector machine on Nystroem's approximation of a Gaussian kernel.

    The kernel to a few landmarks stands for the kernel to all samples (Williams and Seeger, NIPS 2000). A
    sigmoid turns the margin into a probability (Platt, 1999); it is fitted on samples that the machine was
    not. The normalization of Nystroem's method is multiplied into the coefficients.

    Args:
        features: the number of features.
        outputs: 1 for a target and background, else the number of classes, each against the rest.
        landmarks: the number of samples that the kernel is taken to.
        penalty: C of the machine: what a sample on the wrong side costs.
    """

    fitted: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor
    landmarks: torch.Tensor
    slope: torch.Tensor
    offset: torch.Tensor

    def __init__(self, features: int, outputs: int = 1, landmarks: int = 300, penalty: float = 1.0) -> None:
        super().__init__()
        self.outputs, self.penalty = outputs, penalty
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("landmarks", torch.zeros(landmarks, features))
        # Parameters, because an optimizer wants some; no gradient ever changes them.
        self.coefficients = torch.nn.Parameter(torch.zeros(landmarks, outputs).double(), requires_grad=False)
        self.intercept = torch.nn.Parameter(torch.zeros(outputs), requires_grad=False)
        self.register_buffer("slope", torch.ones(outputs))
        self.register_buffer("offset", torch.zeros(outputs))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Logits (n, K) of features (n, F): of the target, or of each class against the rest."""
        return self.margin(samples) * self.slope + self.offset

    def margin(self, samples: torch.Tensor) -> torch.Tensor:
        """Signed distance (n, K) of features (n, F) to the border of a class, in the unit of the margin."""
        scaled = (samples - self.mean) / self.spread
        # Squared distances, by a product of matrices.
        squares = (scaled**2).sum(1, keepdim=True) + (self.landmarks**2).sum(1)
        distances = (squares - 2 * scaled @ self.landmarks.T).clamp(min=0)
        kernel = torch.exp(-distances / samples.shape[1])
        return (kernel.double() @ self.coefficients).float() + self.intercept

    def fit(self, samples: np.ndarray, labels: np.ndarray, weights: np.ndarray, seed: int) -> None:
        """Fit to features (n, F) with labels (n,); weights (n,) are the pixels that a sample stands for.

        The sample has as many pixels of each class, as far as there are. The machine takes them as equal,
        the sigmoid by their weights, so that probabilities are those of whole images.

        Raises:
            DataError: there are fewer samples than landmarks.
        """
        from sklearn.kernel_approximation import Nystroem
        from sklearn.model_selection import train_test_split
        from sklearn.svm import LinearSVC

        kept, held = train_test_split(
            np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=seed
        )
        if len(kept) < len(self.landmarks):
            raise DataError(
                f"at least {len(self.landmarks)} pixels to take as landmarks",
                got=f"{len(kept)} pixels of the training images",
                advice="Raise per_class, add images, or lower landmarks.",
            )
        mean, spread = samples[kept].mean(axis=0), samples[kept].std(axis=0)
        spread[spread < 1e-6] = 1
        count, features = self.landmarks.shape
        kernel = Nystroem(gamma=1 / features, n_components=count, random_state=seed)
        machine = LinearSVC(C=self.penalty, dual=False, random_state=seed)
        machine.fit(kernel.fit_transform((samples[kept] - mean) / spread), labels[kept])
        values = {
            "mean": mean,
            "spread": spread,
            "landmarks": kernel.components_,
            "coefficients": kernel.normalization_.T @ machine.coef_.T,
            "intercept": machine.intercept_,
            "fitted": True,
        }
        for name, value in values.items():
            getattr(self, name).data.copy_(torch.as_tensor(value))
        self._fit_sigmoids(samples[held], labels[held], weights[held])

    def _fit_sigmoids(self, samples: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression

        margins = self.margin(torch.as_tensor(samples, device=self.mean.device)).cpu().numpy()
        for output in range(self.outputs):
            truths = labels == (output if self.outputs > 1 else 1)
            sigmoid = LogisticRegression(C=1e6).fit(margins[:, [output]], truths, weights)
            self.slope[output], self.offset[output] = sigmoid.coef_.item(), sigmoid.intercept_.item()
