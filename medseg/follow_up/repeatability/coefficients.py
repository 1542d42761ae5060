"""Limits of change from pairs of images in which nothing has changed.

The repeatability coefficient is that of the Quantitative Imaging Biomarkers Alliance (Raunig et al.,
Statistical Methods in Medical Research 24, 2015): 1.96 sqrt(2) times the standard deviation within a subject.
Two images of one subject differ by less in 95% of cases, if differences are normal.

Here several measures are judged at once, and differences have heavy tails. So each measure's limit is also at
least the quantile of its differences at one level, the same for all measures: the least level at which, in
95% of the pairs, none of the measures exceeds its limit. Copula conformal prediction (Messoudi, Destercke and
Rousseau, Pattern Recognition 120, 2021) chooses it so, with the correction for a finite number of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from medseg.follow_up.change import ABSOLUTE

COVERAGE = 0.95


def difference(kind: str, earlier: float, later: float) -> float:
    """By how much a pair differs, as medseg.follow_up.change judges it.

    Later minus earlier; for a relative measure the logarithm of their ratio, infinite where one of them is 0.
    """
    if kind == ABSOLUTE or earlier == later:
        return later - earlier
    return math.log(later / earlier) if min(earlier, later) > 0 else math.copysign(math.inf, later - earlier)


def limit_of_difference(kind: str, largest: float) -> float:
    """The limit of medseg.follow_up.change.Limit for the largest difference that is no change."""
    return largest if kind == ABSOLUTE else math.expm1(largest)


def repeatability_coefficient(differences: Sequence[float] | np.ndarray) -> float:
    """1.96 sqrt(2) times the within-subject standard deviation, from (n,) differences of pairs.

    Two images of one subject differ by sqrt(2) times that deviation, which is therefore the root of half the
    mean square of the differences; no mean is subtracted, because a pair has no order. NaN are left out; NaN
    without any difference.
    """
    squares = np.square(np.asarray(differences, float))
    known = squares[~np.isnan(squares)]
    return float(1.96 * np.sqrt(known.mean())) if len(known) else math.nan


def simultaneous_limits(
    differences: Mapping[str, Sequence[float] | np.ndarray], margin: float = 1.0
) -> dict[str, float]:
    """The largest difference of each measure that is no change, for whole pairs in 95% of cases.

    Args:
        differences: measure to (n,) differences, of the same pairs in the same order; NaN where a pair lacks
            a measure.
        margin: factor of all limits, for people who differ more than those of the pairs.

    Returns:
        Measure to its limit, at least the margin times its repeatability coefficient; NaN for one that no
        pair has. With fewer than 19 pairs, the quantile is the largest difference that was seen.
    """
    values = {name: np.abs(np.asarray(each, float)) for name, each in differences.items()}
    ranks = np.array([_ranks(each) for each in values.values()])
    worst = np.sort(ranks.max(axis=0)[ranks.max(axis=0) > 0])
    place = math.ceil((len(worst) + 1) * COVERAGE)
    level = float(worst[min(place, len(worst)) - 1])
    return {name: margin * _limit(each, level) for name, each in values.items()}


def _ranks(values: np.ndarray) -> np.ndarray:
    """Of each value the share of the known ones that are not larger; 0 for NaN."""
    known = np.sort(values[~np.isnan(values)])
    shares = np.searchsorted(known, values, side="right") / max(1, len(known))
    return np.where(np.isnan(values), 0.0, shares)


def _limit(values: np.ndarray, level: float) -> float:
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return math.nan
    # A hair less than the product, which rounding may put above the whole number that it is.
    place = math.ceil(level * len(known) - 1e-9)
    return max(repeatability_coefficient(known), float(known[max(place, 1) - 1]))
