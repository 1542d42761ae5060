"""From rows to a fitted predictor, and how good it is on cases that the fit left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medseg.errors import DataError
from medseg.quality.prediction import Fitted, novelty, regression
from medseg.training.quality.collect import FOREIGN, REAL, Row
from medseg.training.quality.figures import figures

USUAL_DICE = 0.8  # signals of masks at least as good are usual
LEAST_ROWS = 40
FOLDS = 5
SIMPLE = "mirrored"  # the sign that the prediction is compared with


def with_novelty(rows: Sequence[Row]) -> list[Row]:
    """The rows with the signal `novelty` for each label: how far the image is from the real ones of its
    network.

    Real images are measured against those of other groups. The unit is the median distance of the real ones.
    """
    found: dict[str, float] = {}
    for network in sorted({row.network for row in rows}):
        own = [row for row in rows if row.network == network and row.features is not None]
        real = [row for row in own if row.change == REAL]
        if len(real) < LEAST_ROWS // 2:
            continue
        features = np.stack([row.features for row in real if row.features is not None])
        known = novelty.describe(features, [row.group for row in real])
        distances = known["distances_in_order"]
        median = float(np.median(distances))
        found |= {
            row.case: float(value) for row, value in zip(real, np.log2(distances / median), strict=True)
        }
        others = [row for row in own if row.change != REAL]
        if others:
            features = np.stack([row.features for row in others if row.features is not None])
            far = np.log2(novelty.distance(known, features) / median)
            found |= {row.case: float(value) for row, value in zip(others, far, strict=True)}
    for row in rows:
        for signals in row.signals.values():
            if row.case in found:
                signals["novelty"] = found[row.case]
    return list(rows)


def signals_of(rows: Sequence[Row], label: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names; (n, F) signals, usual values where unknown; (n,) Dice; (F,) the usual values."""
    names = sorted({name for row in rows for name in row.signals[label]})
    dice = np.array([row.dice[label] for row in rows])
    table = np.array([[row.signals[label].get(name, np.nan) for name in names] for row in rows])
    good = table[dice >= min(USUAL_DICE, float(np.quantile(dice, 0.7)))]
    usual = np.array([np.nanmedian(column) if np.isfinite(column).any() else 0.0 for column in good.T])
    return names, np.where(np.isfinite(table), table, usual), dice, usual


def fit(rows: Sequence[Row], labels: Sequence[str], about: Mapping[str, Any]) -> Fitted:
    """Fit a predictor for each label.

    Args:
        rows: of `collect`.
        labels: that are predicted.
        about: facts that are stored with it, such as method and weights_sha256.

    Raises:
        DataError: too few rows.
    """
    if len(rows) < LEAST_ROWS:
        raise DataError(
            f"{LEAST_ROWS} or more masks to fit on",
            got=f"{len(rows)}",
            advice="Add images, or changes of each.",
        )
    names: dict[str, list[str]] = {}
    arrays: dict[str, np.ndarray] = {}
    for label in labels:
        names[label], signals, dice, usual = signals_of(rows, label)
        grown = regression.grow(signals, dice, [row.group for row in rows], FOLDS)
        arrays |= {f"{label}/{name}": array for name, array in grown.items()}
        arrays[f"{label}/usual"] = usual
    return Fitted({**about, "labels": list(labels), "names": names}, arrays)


def check(rows: Sequence[Row], labels: Sequence[str], checked: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of predictions for rows that the fit left out, of all and of the real images alone.

    Args:
        rows: of `collect`, with novelty.
        labels: that are predicted.
        checked: `data set/split` whose rows are left out at once; without any, groups are left out in turn.

    Returns:
        Figures with `name`: label, and which rows.
    """
    found = []
    for label in labels:
        predicted, left = left_out(rows, label, checked)
        dice = np.array([row.dice[label] for row in left])
        simple = np.array([row.signals[label].get(SIMPLE, np.nan) for row in left])
        is_real = np.array([row.change == REAL for row in left])
        parts = {"all": np.ones(len(left), bool), "real": is_real, "changed": ~is_real}
        for name, chosen in parts.items():
            if chosen.any():
                sign = simple[chosen] if np.isfinite(simple[chosen]).all() else None
                found.append({"name": f"{label}, {name}", **figures(dice[chosen], predicted[chosen], sign)})
    return found


def are_checked(rows: Sequence[Row], checked: Sequence[str]) -> np.ndarray:
    """(n,) bool: the rows of the named sets, and half of the foreign ones; none where no set is named."""
    halves = [int(row.group.encode().hex(), 16) % 2 == 0 for row in rows]
    return np.array(
        [
            bool(checked) and (half if row.change == FOREIGN else row.data_set in checked)
            for row, half in zip(rows, halves, strict=True)
        ]
    )


def left_out(rows: Sequence[Row], label: str, checked: Sequence[str]) -> tuple[np.ndarray, list[Row]]:
    """(n, 3) predictions, and their rows, by predictors that saw no row of the same group."""
    _, signals, dice, _ = signals_of(rows, label)
    groups = np.array([row.group for row in rows])
    if checked:
        left = are_checked(rows, checked)
        parts = [(np.flatnonzero(~left), np.flatnonzero(left))]
    else:
        from sklearn.model_selection import GroupKFold

        parts = list(GroupKFold(min(FOLDS, len(set(groups)))).split(signals, groups=groups))
    found = np.zeros((len(rows), 3))
    seen = np.zeros(len(rows), bool)
    for kept, left_rows in parts:
        grown = regression.grow(signals[kept], dice[kept], list(groups[kept]), FOLDS)
        found[left_rows], seen[left_rows] = regression.predict(grown, signals[left_rows]), True
    return found[seen], [row for row, is_seen in zip(rows, seen, strict=True) if is_seen]
