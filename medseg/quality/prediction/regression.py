"""A regression of Dice on signals, and its interval, as plain arrays.

Two random forests (Breiman, Machine Learning 45, 2001), grown by scikit-learn: one for the Dice, one for how
far it is off. The interval is that of split conformal prediction with normalised residuals (Lei et al.,
Journal of the American Statistical Association 113, 2018), its two ends apart, calibrated on the residuals
of cases whose group took no part in the growing (cross-conformal: Vovk, Annals of Mathematics and Artificial
Intelligence 74, 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COVERAGE = 0.9
LEAST_SPREAD = 0.01  # of Dice: forests give 0 where all cases are alike
Arrays = dict[str, np.ndarray]
_TREES = {"n_estimators": 80, "max_leaf_nodes": 100, "min_samples_leaf": 3, "max_features": 0.4, "n_jobs": 1}


def grow(
    signals: np.ndarray, dice: np.ndarray, groups: Sequence[str], folds: int = 5, seed: int = 7
) -> Arrays:
    """Fit the regression and calibrate its interval.

    Args:
        signals: (n, F), without NaN.
        dice: (n,), from 0 to 1.
        groups: (n,), such as subjects: the calibration never splits one.
        folds: into which the groups are divided for the calibration.
        seed: of the forests.

    Returns:
        The arrays that `predict` takes.
    """
    held_out = out_of_fold(signals, dice, groups, folds, seed)
    residuals = dice - held_out
    spread = _forest(signals, np.abs(residuals), seed)
    scale = np.maximum(_out_of_fold(signals, np.abs(residuals), groups, folds, seed), LEAST_SPREAD)
    low, high = conformal(residuals / scale)
    value = _arrays(_forest(signals, dice, seed), "value")
    return {**value, **_arrays(spread, "spread"), "quantiles": np.array([low, high])}


def conformal(scores: np.ndarray, coverage: float = COVERAGE) -> tuple[float, float]:
    """The two ends between which a further score lies with a probability of at least `coverage`.

    Args:
        scores: (n,) of the calibration cases, exchangeable with the further one.
        coverage: the half of what is left is cut at each end, with the correction for finite samples.
    """
    ordered, count = np.sort(scores), len(scores)
    cut = int(np.floor((count + 1) * (1 - coverage) / 2 + 1e-9))
    return float(ordered[max(cut - 1, 0)]), float(ordered[min(count - cut, count - 1)])


def predict(arrays: Mapping[str, np.ndarray], signals: np.ndarray) -> np.ndarray:
    """(n, 3) predicted Dice, and the two ends of its interval, of signals (n, F)."""
    value = _mean_of_trees(arrays, "value", signals)
    scale = np.maximum(_mean_of_trees(arrays, "spread", signals), LEAST_SPREAD)
    low, high = arrays["quantiles"]
    return np.clip(np.stack([value, value + low * scale, value + high * scale], axis=1), 0, 1)


def out_of_fold(
    signals: np.ndarray, dice: np.ndarray, groups: Sequence[str], folds: int = 5, seed: int = 7
) -> np.ndarray:
    """(n,) predictions, each by a forest that saw no case of the same group."""
    return _out_of_fold(signals, dice, groups, folds, seed)


def _out_of_fold(
    signals: np.ndarray, target: np.ndarray, groups: Sequence[str], folds: int, seed: int
) -> np.ndarray:
    from sklearn.model_selection import GroupKFold

    found = np.zeros(len(target))
    parts = GroupKFold(min(folds, len(set(groups))))
    for kept, left in parts.split(signals, groups=np.asarray(groups)):
        found[left] = _forest(signals[kept], target[kept], seed).predict(signals[left])
    return found


def _forest(signals: np.ndarray, target: np.ndarray, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(random_state=seed, **_TREES).fit(signals, target)


def _arrays(forest: Any, name: str) -> Arrays:
    """For each node of each tree its feature, threshold, branches and value; a leaf is its own branch."""
    trees = [grown.tree_ for grown in forest.estimators_]
    size = max(tree.node_count for tree in trees)
    feature = np.zeros((len(trees), size), dtype=np.int16)
    threshold = np.zeros((len(trees), size), dtype=np.float64)
    branches = np.zeros((2, len(trees), size), dtype=np.int16)
    value = np.zeros((len(trees), size), dtype=np.float32)
    for number, tree in enumerate(trees):
        count = tree.node_count
        own, leaf = np.arange(count), tree.children_left < 0
        feature[number, :count] = np.maximum(tree.feature, 0)
        threshold[number, :count] = tree.threshold
        branches[:, number, :count] = np.where(leaf, own, [tree.children_left, tree.children_right])
        value[number, :count] = tree.value[:, 0, 0]
    parts = {"feature": feature, "threshold": threshold, "branches": branches, "leaf": value}
    return {f"{name}_{part}": array for part, array in parts.items()}


def _mean_of_trees(arrays: Mapping[str, np.ndarray], name: str, signals: np.ndarray) -> np.ndarray:
    feature, threshold, branches, leaf = (
        arrays[f"{name}_{part}"] for part in ("feature", "threshold", "branches", "leaf")
    )
    trees = np.arange(len(feature))
    # scikit-learn asks in single precision.
    rows = np.asarray(signals, dtype=np.float32)
    found = np.zeros(len(rows))
    for number, row in enumerate(rows):
        node = np.zeros(len(feature), dtype=np.int64)
        while True:
            right = (row[feature[trees, node]] > threshold[trees, node]).astype(np.int64)
            following = branches[right, trees, node]
            if np.array_equal(following, node):
                break
            node = following
        found[number] = leaf[trees, node].mean()
    return found
