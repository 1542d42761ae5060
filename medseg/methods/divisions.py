"""What the divisions of an image into classes share."""

from __future__ import annotations

import numpy as np

from medseg.errors import UnsuitableError, UsageError


def one_hot(numbers: np.ndarray, count: int, region: np.ndarray) -> np.ndarray:
    """Classes (count, spatial...) float32 of the pixels' class numbers (n,), 0 outside the region.

    Args:
        numbers: of the class of each pixel of the region, in its order.
        count: of the classes.
        region: (spatial...) bool.
    """
    classes = np.zeros((count, *region.shape), dtype=np.float32)
    for number, own in enumerate(classes):
        own[region] = numbers == number
    return classes


def pixels(features: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The pixels of a region as rows: (F, spatial...) to (n, F), float64, as scikit-learn wants them."""
    return features[:, region].T.astype(np.float64)


def sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of the rows, drawn without replacement by a generator with this seed."""
    if len(rows) <= most:
        return rows
    return rows[np.random.default_rng(seed).choice(len(rows), most, replace=False)]


def require_classes(count: int) -> None:
    """Check a number of classes that a configuration gives.

    Raises:
        UsageError: below 2.
    """
    if count < 2:
        raise UsageError("at least two classes", got=str(count), advice="Raise classes.")


def require_distinct(rows: np.ndarray, count: int) -> None:
    """Check that rows (n, F) have as many distinct values as there shall be classes.

    Raises:
        UnsuitableError: they have fewer.
    """
    distinct = np.unique(rows, axis=0)
    if len(distinct) < count:
        raise UnsuitableError(
            f"an image with at least {count} distinct values, one for each class",
            got=f"{len(distinct)} among the pixels that the classes are fitted to",
            advice="Lower the number of classes, or check the export of the image.",
        )
