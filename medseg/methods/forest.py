"""A random forest, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

LEAST_PROBABILITY = 1e-4  # a leaf may hold samples of one class only, which is no certainty


class Forest(torch.nn.Module):
    """A random forest (Breiman, Machine Learning 2001), grown by scikit-learn.

    Each tree is a row of arrays, with a column for each node: the feature that it asks for, the threshold,
    its two branches, the probabilities. A leaf is its own branch. Rows are of one length: size is bounded.

    Args:
        features: the number of features.
        outputs: 1 for a target and background, else the number of classes.
        trees: the number of trees.
        leaves: the largest number of leaves of a tree; up to 16000.
        depth: the largest number of questions on the way to a leaf, which bounds the time.
        least: the smallest number of samples in a leaf.
    """

    fitted: torch.Tensor
    feature: torch.Tensor
    threshold: torch.Tensor
    branches: torch.Tensor

    def __init__(
        self,
        features: int,
        outputs: int = 1,
        trees: int = 40,
        leaves: int = 500,
        depth: int = 14,
        least: int = 5,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.leaves, self.depth, self.least = leaves, depth, least
        shape = (trees, 2 * leaves - 1)
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("feature", torch.zeros(shape, dtype=torch.int16))
        self.register_buffer("threshold", torch.zeros(shape))
        self.register_buffer("branches", torch.zeros((2, *shape), dtype=torch.int16))
        # A parameter, because an optimizer wants one; no gradient ever changes it.
        self.probability = torch.nn.Parameter(torch.zeros(*shape, outputs), requires_grad=False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Logits (n, K) of features (n, F): log odds of the target, or log probabilities of the classes."""
        found = self.probabilities(samples).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return torch.logit(found) if self.outputs == 1 else found.log()

    def probabilities(self, samples: torch.Tensor) -> torch.Tensor:
        """Probabilities (n, K) of the target or of the classes: the mean over the trees."""
        count, device = len(samples), samples.device
        columns = samples.T.contiguous().flatten()
        position = torch.arange(count, dtype=torch.int32, device=device)
        total = torch.zeros(count, self.outputs, device=device)
        for tree in range(len(self.feature)):
            # Where the values of each node's feature begin in the flattened columns.
            column = self.feature[tree].int() * count
            branches = self.branches[:, tree].int().T.flatten()
            node = torch.zeros_like(position)
            for _ in range(self.depth):
                values = columns.index_select(0, column.index_select(0, node) + position)
                right = values > self.threshold[tree].index_select(0, node)
                node = branches.index_select(0, 2 * node + right)
            total += self.probability[tree].index_select(0, node)
        return total / len(self.feature)

    def fit(self, samples: np.ndarray, labels: np.ndarray, weights: np.ndarray, seed: int) -> None:
        """Grow the trees from features (n, F) float32 with labels (n,).

        The weights (n,) are the pixels that a sample stands for, so that probabilities are those of whole
        images although the sample has as many pixels of each class.
        """
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            len(self.feature),
            max_leaf_nodes=self.leaves,
            max_depth=self.depth,
            min_samples_leaf=self.least,
            max_samples=0.5,
            random_state=seed,
        )
        self.take(forest.fit(samples, labels, weights))

    def take(self, forest: Any) -> None:
        """Take over the trees of a fitted sklearn.ensemble.RandomForestClassifier of classes 0, 1, ..."""
        for number, grown in enumerate(forest.estimators_):
            self._take_tree(number, grown.tree_)
        self.fitted.fill_(True)

    def _take_tree(self, number: int, tree: Any) -> None:
        count = tree.node_count
        own = np.arange(count)
        leaf = tree.children_left < 0
        children = np.where(leaf, own, [tree.children_left, tree.children_right])
        # scikit-learn asks whether a feature, in single precision, is at most a threshold in double
        # precision. Rounded down to single precision, the threshold gives the same answers.
        threshold = tree.threshold.astype(np.float32)
        threshold = np.where(
            threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold
        )
        values = tree.value[:, 0]
        probability = values / values.sum(axis=1, keepdims=True)
        self.feature[number, :count] = torch.from_numpy(np.maximum(tree.feature, 0).astype(np.int16))
        self.threshold[number, :count] = torch.from_numpy(threshold)
        self.branches[:, number, :count] = torch.from_numpy(children.astype(np.int16))
        self.probability.data[number, :count] = torch.from_numpy(
            probability[:, 1:] if self.outputs == 1 else probability
        ).float()
