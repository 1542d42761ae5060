"""Calibration of probabilities: reliability, Brier score, calibration error, temperature.

Probabilities of the positive class are float in [0, 1], truths bool or 0/1, one of each for each case. Other
values or different numbers of both raise a DataError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medseg.errors import DataError

BINS = 15  # of equal width, as in Guo et al. 2017
_TEMPERATURES = (0.05, 20.0)
_PARTS = 5
# Probabilities are clipped this far from 0 and 1 before the logit; float32 comes about as near to 1.
_SMALLEST = 1e-7


class Bin(NamedTuple):
    """The cases with a probability in (low, high], or [0, high]: mean probability and share of positives."""

    low: float
    high: float
    cases: int
    mean_probability: float
    share_positive: float


def brier_score(probabilities: Sequence[float], truths: Sequence[bool]) -> float:
    """Mean squared difference of probability and truth, 0 to 1 (Brier, Mon. Weather Rev. 78:1, 1950)."""
    values, positive = _checked(probabilities, truths)
    return float(np.mean((values - positive) ** 2))


def reliability_bins(probabilities: Sequence[float], truths: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """Bins of equal width over [0, 1], those without cases left out."""
    values, positive = _checked(probabilities, truths)
    # Rounded, so that 0.6 is in the bin that ends there: 0.6 * 15 is not exactly 9 in floating point.
    index = np.clip(np.ceil(np.round(values * bins, 9)).astype(int) - 1, 0, bins - 1)
    return [
        Bin(
            i / bins,
            (i + 1) / bins,
            int(np.count_nonzero(index == i)),
            float(values[index == i].mean()),
            float(positive[index == i].mean()),
        )
        for i in np.unique(index).tolist()
    ]


def expected_calibration_error(
    probabilities: Sequence[float], truths: Sequence[bool], bins: int = BINS
) -> float:
    """The mean over cases of |mean probability - share of positives| of the case's bin, 0 to 1.

    Naeini et al., AAAI 2015, with the probability of the positive class. Guo et al. 2017 use that of the
    predicted class, which can't distinguish too many alarms from too few. Few cases per bin bias it upwards.
    """
    found = reliability_bins(probabilities, truths, bins)
    total = sum(entry.cases for entry in found)
    return sum(entry.cases * abs(entry.mean_probability - entry.share_positive) for entry in found) / total


def fit_temperature(probabilities: Sequence[float], truths: Sequence[bool]) -> float | None:
    """The temperature with the highest likelihood, from 0.05 to 20; above 1 for overconfident probabilities.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017: logit / T with the smallest negative log
    likelihood. None where only one class occurs: the optimum would be a bound of the range.
    """
    from scipy.optimize import minimize_scalar

    values, positive = _checked(probabilities, truths)
    if positive.all() or not positive.any():
        return None
    signed = np.where(positive, 1, -1) * _logits(values)
    found = minimize_scalar(
        lambda log_t: float(np.mean(np.logaddexp(0, -signed * np.exp(-log_t)))),
        bounds=np.log(_TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def apply_temperature(probabilities: Sequence[float] | np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities with their logits divided by the temperature, in the same shape.

    Exact 0 and 1 count as 1e-7 and 1 - 1e-7.
    """
    return np.asarray(1 / (1 + np.exp(-_logits(np.asarray(probabilities, dtype=float)) / temperature)))


def cross_fitted(
    probabilities: Sequence[float], truths: Sequence[bool], subjects: Sequence[str]
) -> np.ndarray | None:
    """Each probability after a temperature that was fitted on other subjects' cases; (cases,).

    Scores of a temperature on the cases that it was fitted on would be too good. Subjects are split into five
    parts with a fixed seed. None where the other parts have cases of one class alone, or no cases.
    """
    values, _ = _checked(probabilities, truths)
    positive = np.asarray(truths).astype(bool)
    names, owner = np.unique(subjects, return_inverse=True)
    part = np.random.default_rng(0).permutation(names.size)[owner] % _PARTS
    scaled = np.empty_like(values)
    for number in np.unique(part):
        own, others = part == number, part != number
        temperature = (
            fit_temperature(values[others].tolist(), positive[others].tolist()) if others.any() else None
        )
        if temperature is None:
            return None
        scaled[own] = apply_temperature(values[own], temperature)
    return scaled


def _logits(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _checked(probabilities: Sequence[float], truths: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Values as float and truths as 0.0 or 1.0 for the means, (cases,) each."""
    values, positive = np.asarray(probabilities, dtype=float), np.asarray(truths).astype(bool)
    if not values.size or values.shape != positive.shape or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            "a probability in [0, 1] and a truth for each case, at least one",
            got=f"{values.size} probabilities and {positive.size} truths",
            advice="Apply the sigmoid to the logits first, and leave out cases without a truth.",
        )
    return values, positive
