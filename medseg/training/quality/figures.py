"""How good a prediction of Dice is: error, coverage of its intervals, which bad masks it finds, and at what
cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLUMNS = (
    *("masks", "cases", "bad", "mean error", "coverage", "width", "AUROC"),
    *("AURC", "of mirrored Dice", "of a perfect order"),
)
BAD = 0.7  # Dice below which a mask is called bad


def figures(dice: np.ndarray, predicted: np.ndarray, simple: np.ndarray | None = None) -> dict[str, Any]:
    """The figures of a prediction.

    Args:
        dice: (n,) true Dice.
        predicted: (n, 3) value and the two ends of the interval.
        simple: (n,) another sign of quality to compare with, such as the Dice of mirrored copies; the
            higher, the better.

    Returns:
        `cases`, `bad` (below a Dice of 0.7), `mean_absolute_error`, `coverage` of the intervals, their mean
        `width`;
        `auroc` of finding the bad ones (None where there are none, or no others); `aurc`, the area under the
        risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017), risk being 1 - Dice, with that of a perfect
        order, of no order and of the simple sign.
    """
    value = predicted[:, 0]
    found: dict[str, Any] = {
        "cases": len(dice),
        "bad": int((dice < BAD).sum()),
        "mean_absolute_error": float(np.abs(value - dice).mean()),
        "coverage": float(((dice >= predicted[:, 1] - 1e-9) & (dice <= predicted[:, 2] + 1e-9)).mean()),
        "width": float((predicted[:, 2] - predicted[:, 1]).mean()),
        "auroc": auroc(dice, value),
        "aurc": {"predicted": aurc(dice, value), "perfect": aurc(dice, dice), "none": float(1 - dice.mean())},
    }
    if simple is not None:
        found["aurc"]["simple"] = aurc(dice, simple)
        found["auroc_simple"] = auroc(dice, simple)
    return found


def auroc(dice: np.ndarray, sign: np.ndarray) -> float | None:
    """The ROC area of finding masks with a Dice below 0.7 by a low sign; None without both kinds."""
    from sklearn.metrics import roc_auc_score

    bad = dice < BAD
    return None if bad.all() or not bad.any() else float(roc_auc_score(bad, -sign))


def aurc(dice: np.ndarray, sign: np.ndarray) -> float:
    """The mean, over all shares of cases that are kept, of 1 - Dice among those with the highest sign."""
    risks = 1 - dice[np.argsort(-sign, kind="stable")]
    return float((np.cumsum(risks) / np.arange(1, len(risks) + 1)).mean())


def found_by_review(dice: np.ndarray, sign: np.ndarray, share: float = 0.2) -> float | None:
    """The share of the masks with a Dice below 0.7 that are among the lowest signs."""
    bad = dice < BAD
    first = np.argsort(sign, kind="stable")[: round(share * len(dice))]
    return float(bad[first].sum() / bad.sum()) if bad.any() else None


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Figures as rows of a table with COLUMNS."""
    return [
        [
            str(row["name"]),
            str(row["cases"]),
            str(row["bad"]),
            f"{row['mean_absolute_error']:.3f}",
            f"{row['coverage']:.2f}",
            f"{row['width']:.2f}",
            "-" if row["auroc"] is None else f"{row['auroc']:.3f}",
            f"{row['aurc']['predicted']:.3f}",
            f"{row['aurc']['simple']:.3f}" if "simple" in row["aurc"] else "-",
            f"{row['aurc']['perfect']:.3f}",
        ]
        for row in rows
    ]
