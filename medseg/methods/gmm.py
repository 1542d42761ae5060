"""Gaussian mixtures, and mixtures with a spatial prior: hidden Markov random fields."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.divisions import pixels, require_classes, require_distinct, sample
from medseg.methods.features import standardised

RIDGE = 1e-4  # added to each variance of the standardised features: a class of one value has a density, too
SETTLED = 1e-3  # mean change of a probability in one round


class GaussianMixture:
    """A mixture of Gaussians, fitted by expectation maximisation, with or without a spatial prior.

    The classes are the components of the mixture (Dempster, Laird and Rubin, Journal of the Royal
    Statistical Society B 39, 1977). With `weight`, a pixel's class also depends on those of its neighbours
    along each axis: its probability is multiplied by exp(weight * sum of the neighbours' probabilities of
    that class), in rounds until nothing changes. That is the hidden Markov random field of Zhang, Brady and
    Smith (IEEE Transactions on Medical Imaging 20, 2001) in its mean-field approximation, except that the
    Gaussians stay those of the plain mixture: estimated again in each round, the Gaussian of a thin structure
    widens until it is lost. With weight 0 the result is that of the plain mixture.

    Args:
        classes: number of Gaussians.
        weight: of the spatial prior; 0 for none.
        most: pixels that the plain mixture is fitted to; of a larger image a random sample.
        iterations: most iterations of the expectation maximisation, and most rounds with the spatial prior.
        seed: of the sample, and of k-means, which gives the first means.

    Raises:
        UsageError: fewer than two classes, or a weight below 0.
    """

    def __init__(
        self, classes: int, weight: float = 0.0, most: int = 50_000, iterations: int = 200, seed: int = 0
    ) -> None:
        require_classes(classes)
        if weight < 0:
            raise UsageError("a weight of at least 0", got=f"{weight:g}", advice="Raise weight.")
        self.classes, self.weight, self.most = classes, weight, most
        self.iterations, self.seed = iterations, seed

    def __call__(self, features: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Probabilities (K, spatial...) float32 of features (F, spatial...); 0 outside the region.

        Raises:
            UnsuitableError: fewer distinct values than classes, or iterations that do not converge.
        """
        rows = pixels(standardised(features, region), region)
        fitted = self._fitted(sample(rows, self.most, self.seed))
        logs = np.log(fitted.weights_) + _densities(rows, fitted.means_, fitted.covariances_)
        return _placed(self._with_neighbours(logs, region), region)

    def _fitted(self, rows: np.ndarray) -> Any:
        from sklearn import mixture
        from sklearn.exceptions import ConvergenceWarning

        require_distinct(rows, self.classes)
        model = mixture.GaussianMixture(
            self.classes, reg_covar=RIDGE, max_iter=self.iterations, random_state=self.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows)
        if not model.converged_:
            raise _not_converged(self.iterations)
        return model

    def _with_neighbours(self, logs: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Probabilities (n, K) with the spatial prior; logs (n, K) are those of the plain mixture."""
        probabilities = _normalised(logs)
        for _ in range(self.iterations):
            prior = self.weight * _neighbours(_placed(probabilities, region))[:, region].T
            before, probabilities = probabilities, _normalised(logs + prior)
            if np.abs(probabilities - before).mean() < SETTLED:
                return probabilities
        raise _not_converged(self.iterations)


def _densities(rows: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Log densities (n, K) of Gaussians at rows (n, F)."""
    found = np.empty((len(rows), len(means)))
    for column, mean, covariance in zip(found.T, means, covariances, strict=True):
        factor = np.linalg.cholesky(covariance)
        whitened = np.linalg.solve(factor, (rows - mean).T)
        column[...] = -0.5 * np.einsum("fn,fn->n", whitened, whitened)
        column -= np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
    return found


def _normalised(logs: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    found: np.ndarray = softmax(logs, axis=1)
    return found


def _placed(probabilities: np.ndarray, region: np.ndarray) -> np.ndarray:
    classes = np.zeros((probabilities.shape[1], *region.shape), dtype=np.float32)
    classes[:, region] = probabilities.T
    return classes


def _neighbours(classes: np.ndarray) -> np.ndarray:
    """Sums over the two neighbours along each axis, (K, spatial...); beyond the image there are none."""
    sums = np.zeros_like(classes)
    for axis in range(1, classes.ndim):
        before, after = np.moveaxis(classes, axis, 0), np.moveaxis(sums, axis, 0)
        after[1:] += before[:-1]
        after[:-1] += before[1:]
    return sums


def _not_converged(iterations: int) -> UnsuitableError:
    return UnsuitableError(
        "an image on which expectation maximisation converges",
        got=f"one on which it did not in {iterations} iterations",
        advice="Raise the method's iterations (see `medseg info`), or lower its number of classes.",
    )
