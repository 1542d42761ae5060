"""How far an image is from the training images, in the network's own terms.

The distance is that of Mahalanobis between the pooled deepest features of the network and those of the
training images (Lee et al., "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks", NeurIPS 2018), on the features' principal components, with a covariance that is shrunk
(Ledoit and Wolf, Journal of Multivariate Analysis 88, 2004). Its percentile is among the distances of
training images whose group took no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

COMPONENTS = 24
Arrays = dict[str, np.ndarray]


def describe(features: np.ndarray, groups: Sequence[str], folds: int = 5) -> Arrays:
    """The arrays that `distance` and `percentile` take, and the distances in the order of the images.

    Args:
        features: (n, D) of the training images.
        groups: (n,), such as subjects.
        folds: parts of the groups, each of which is measured against the others.
    """
    from sklearn.model_selection import GroupKFold

    distances = np.zeros(len(features))
    parts = GroupKFold(min(folds, len(set(groups))))
    for kept, left in parts.split(features, groups=np.asarray(groups)):
        distances[left] = distance(_space(features[kept]), features[left])
    return {**_space(features), "distances": np.sort(distances), "distances_in_order": distances}


def _space(features: np.ndarray) -> Arrays:
    """Mean, and a matrix under which the features have unit covariance."""
    from sklearn.covariance import LedoitWolf

    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    centred = (features - mean) / scale
    count = max(1, min(COMPONENTS, len(features) // 4, features.shape[1]))
    axes = np.linalg.svd(centred, full_matrices=False)[2][:count]
    precision = LedoitWolf().fit(centred @ axes.T).precision_
    # What the components leave over counts too: an image unlike all lies off their plane.
    rest = np.linalg.norm(centred - centred @ axes.T @ axes, axis=1)
    return {
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
        "axes": axes.astype(np.float32),
        "whiten": np.linalg.cholesky(precision).astype(np.float32),
        "rest": np.array([np.sqrt(np.mean(rest**2)) + 1e-6]),
    }


def distance(arrays: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) distances of features (n, D)."""
    centred = (features - arrays["mean"]) / arrays["scale"]
    within = centred @ arrays["axes"].T
    off = np.linalg.norm(centred - within @ arrays["axes"], axis=1) / arrays["rest"][0]
    white = within @ arrays["whiten"]
    # The rest counts as one more component for each that is kept, so that neither part drowns the other.
    return np.asarray(np.sqrt((white**2).sum(axis=1) + len(arrays["axes"]) * off**2))


def percentile(arrays: Mapping[str, np.ndarray], found: float) -> float:
    """The share of the training images, in percent, that are nearer to the others than this distance."""
    known = arrays["distances"]
    return float(100 * np.searchsorted(known, found) / (len(known) + 1))
