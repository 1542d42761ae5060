"""Which classes of a division are the target: a rule that a configuration states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.errors import UsageError, did_you_mean

ORDERS = ("lowest", "highest")


class Target:
    """The classes whose mean of one feature is the lowest or the highest.

    Args:
        feature: one of the features that the image was divided by, as the configuration names it.
        order: lowest or highest.
        count: the number of classes that are the target.

    Raises:
        UsageError: an unknown order, or a count below 1.
    """

    def __init__(self, feature: str, order: str, count: int = 1) -> None:
        if order not in ORDERS:
            raise UsageError("an order of classes", got=order, advice=did_you_mean(order, ORDERS))
        if count < 1:
            raise UsageError("at least one class as the target", got=str(count), advice="Raise count.")
        self.feature, self.order, self.count = feature, order, count

    def __call__(
        self, classes: np.ndarray, features: np.ndarray, names: Sequence[str], region: np.ndarray
    ) -> np.ndarray:
        """Probability (spatial...) of the target.

        Args:
            classes: (K, spatial...), the probabilities of the classes.
            features: (F, spatial...).
            names: of the features.
            region: (spatial...) bool.

        Raises:
            UsageError: the image was not divided by this feature, or there are not more classes than `count`.
        """
        if self.feature not in names:
            raise UsageError(
                "a feature that the image is divided by",
                got=self.feature,
                advice=did_you_mean(self.feature, names),
            )
        if len(classes) <= self.count:
            raise UsageError(
                f"more than {self.count} classes", got=str(len(classes)), advice="Raise their number."
            )
        values = features[list(names).index(self.feature)][region]
        weights = classes[:, region]
        totals = weights.sum(axis=1, dtype=np.float64)
        means = (weights @ values) / np.where(totals > 0, totals, np.nan)  # an empty class is ranked last
        ranked = np.argsort(means if self.order == "lowest" else -means, kind="stable")
        chosen: np.ndarray = classes[ranked[: self.count]].sum(axis=0)
        return chosen
