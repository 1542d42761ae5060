"""ROC curve of one probability per case, its area with an interval, and an operating point.

Probabilities are float, truths bool or 0/1, subjects the person that each case belongs to; all three have the
same length. Cases of one person are not independent, and the intervals take that into account.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medseg.errors import DataError
from medseg.metrics.overlap import bootstrap_interval

_Z = 1.959964  # normal quantile of a two-sided 95 % interval
_ROUNDING = 1e-9


class RocArea(NamedTuple):
    """Area under the ROC curve, its standard error and 95 % interval; None where not defined."""

    area: float | None
    standard_error: float | None
    low: float | None
    high: float | None


class OperatingPoint(NamedTuple):
    """A threshold (positive: probability >= threshold), and both rates there with 95 % intervals."""

    threshold: float
    sensitivity: float
    sensitivity_low: float | None
    sensitivity_high: float | None
    specificity: float
    specificity_low: float | None
    specificity_high: float | None


def roc_area(probabilities: Sequence[float], truths: Sequence[bool], subjects: Sequence[str]) -> RocArea:
    """The area under the ROC curve; ties count half.

    The variance is Obuchowski's for clustered data (Biometrics 53:567, 1997); with one case per subject it is
    that of DeLong et al. (Biometrics 44:837, 1988). The interval is symmetric on the logit scale (Pepe, The
    Statistical Evaluation of Medical Tests, 2003, 5.2.4), so that it stays within 0 and 1. It is None at an
    area of 0 or 1, where the variance is 0, and with fewer than two subjects of a class.

    Raises:
        DataError: no cases, lengths that differ, or a probability that is infinite or NaN.
    """
    values, positive, cluster = _checked(probabilities, truths, subjects)
    if positive.all() or not positive.any():
        return RocArea(None, None, None, None)
    over, under = _placements(values, positive)
    area = float(over.mean())
    error = _standard_error(over - area, under - area, cluster[positive], cluster[~positive])
    if error is None or not 0 < area < 1:
        return RocArea(area, error, None, None)
    centre, half = math.log(area / (1 - area)), _Z * error / (area * (1 - area))
    return RocArea(area, error, _logistic(centre - half), _logistic(centre + half))


def roc_curve(
    probabilities: Sequence[float], truths: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds from high to low, and sensitivity and specificity at each; (points,) each.

    Raises:
        DataError: only one class, lengths that differ, or a probability that is infinite or NaN.
    """
    values, positive, _ = _checked(probabilities, truths, [""] * len(truths))
    if positive.all() or not positive.any():
        raise DataError(
            "positive and negative cases",
            got="cases of one class",
            advice="Add cases of the other class.",
        )
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    tp, fp = np.cumsum(positive)[ends], np.cumsum(~positive)[ends]
    return values[ends], tp / tp[-1], 1 - fp / fp[-1]


def operating_point(
    probabilities: Sequence[float],
    truths: Sequence[bool],
    subjects: Sequence[str],
    sensitivity: float = 0.95,
) -> OperatingPoint:
    """The highest threshold that reaches a sensitivity, and sensitivity and specificity there.

    The intervals resample subjects (see bootstrap_interval) with a fixed threshold. The threshold is chosen
    on the same cases: on new cases expect a slightly lower sensitivity.

    Raises:
        DataError: as roc_curve.
    """
    thresholds, reached, _ = roc_curve(probabilities, truths)
    # With a tolerance, because 19 / 20 must reach 0.95 in floating point.
    threshold = float(thresholds[int(np.argmax(reached >= sensitivity - _ROUNDING))])
    rates: list[float | None] = []
    for wanted in (True, False):
        of_class = [
            (float((p >= threshold) == wanted), subject)
            for p, truth, subject in zip(probabilities, truths, subjects, strict=True)
            if bool(truth) == wanted
        ]
        rates += bootstrap_interval([right for right, _ in of_class], [subject for _, subject in of_class])
    return OperatingPoint(threshold, *rates)  # type: ignore[arg-type]  # both classes have cases


def _placements(values: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative the share of positives above it.

    From ranks, ties at their mean (Sun & Xu, IEEE Signal Process. Lett. 21:1389, 2014).
    """
    from scipy.stats import rankdata

    ranks = rankdata(values)
    over = (ranks[positive] - rankdata(values[positive])) / np.count_nonzero(~positive)
    under = 1 - (ranks[~positive] - rankdata(values[~positive])) / np.count_nonzero(positive)
    return over, under


def _standard_error(
    over: np.ndarray, under: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> float | None:
    """Obuchowski's, of placements minus the area; `positive` and `negative` are the cases' clusters."""
    count = int(max(positive.max(), negative.max())) + 1
    sums = [np.bincount(c, weights=v, minlength=count) for c, v in ((positive, over), (negative, under))]
    clusters = [np.unique(c).size for c in (positive, negative)]
    if min(clusters) < 2:
        return None
    own = sum(
        i / (i - 1) * float(np.sum(total**2)) / values.size**2
        for i, total, values in zip(clusters, sums, (over, under), strict=True)
    )
    both = 2 * count / (count - 1) * float(np.sum(sums[0] * sums[1])) / (over.size * under.size)
    return math.sqrt(max(own + both, 0.0))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _checked(
    probabilities: Sequence[float], truths: Sequence[bool], subjects: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (float), truths (bool) and the index of each case's subject; (cases,) each."""
    lengths = len(probabilities), len(truths), len(subjects)
    values = np.asarray(probabilities, dtype=float)
    if len(set(lengths)) > 1 or not lengths[0] or not np.isfinite(values).all():
        raise DataError(
            "a finite probability, a truth and a subject for each case, at least one",
            got="{} probabilities, {} truths and {} subjects".format(*lengths),
            advice="Leave out cases that lack one of them.",
        )
    return values, np.asarray(truths).astype(bool), np.unique(subjects, return_inverse=True)[1]
