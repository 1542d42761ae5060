"""Limits of change from pairs of images in which nothing has changed.

The repeatability coefficient is that of the Quantitative Imaging Biomarkers Alliance (Raunig et al.,
Statistical Methods in Medical Research 24, 2015): 1.96 sqrt(2) times the standard deviation within a subject.
Two images of one subject differ by less in 95% of cases, if differences are normal.

Here several measures are judged at once, and differences have heavy tails. So all coefficients of a task are
multiplied by one factor: the least with which, in 95% of the pairs, none of the measures exceeds its limit,
with the correction for a finite number of pairs of split conformal prediction (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005).
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
    mean square of the differences; no mean is subtracted, because a pair has no order. NaN are left out.
    """
    return float(1.96 * np.sqrt(np.nanmean(np.square(differences))))


def simultaneous_factor(
    differences: Mapping[str, Sequence[float] | np.ndarray], coefficients: Mapping[str, float]
) -> float:
    """By how much to multiply coefficients so that whole pairs stay within all limits in 95% of cases.

    Args:
        differences: measure to (n,) differences, of the same pairs in the same order; NaN where a pair lacks
            a measure.
        coefficients: measure to its repeatability coefficient, above 0.

    Returns:
        At least 1. With fewer than 19 pairs it is the largest ratio that was seen, and covers less than 95%.
    """
    ratios = np.stack([np.abs(values) / coefficients[name] for name, values in differences.items()])
    worst = np.sort(np.nanmax(ratios[:, np.isfinite(ratios).any(axis=0)], axis=0))
    rank = math.ceil((len(worst) + 1) * COVERAGE)
    return max(1.0, float(worst[min(rank, len(worst)) - 1]))
