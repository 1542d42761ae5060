"""Does a probability mean what it says: reliability, Brier score, calibration error, temperature.

Probabilities of the positive class are float in [0, 1], truths bool or 0/1, one of each a case. Anything else
is a DataError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medseg.errors import DataError

BINS = 15  # of equal width, as Guo et al. have them
_TEMPERATURES = (0.05, 20.0)
_PARTS = 5
# Of logits of exactly 0 and 1; float32 has none nearer to 1.
_SMALLEST = 1e-7


class Bin(NamedTuple):
    """Cases whose probability is in (low, high], the first one with 0: their mean, and what was true."""

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
    # Rounded, so that 0.6 is in the bin that ends there: 0.6 * 15 is 9.0 in decimals alone.
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

    Naeini et al., AAAI 2015, of the probability of the positive class; Guo et al. 2017 take that of the
    predicted class, which can't tell too many alarms from too few. Few cases a bin bias it upwards.
    """
    found = reliability_bins(probabilities, truths, bins)
    total = sum(entry.cases for entry in found)
    return sum(entry.cases * abs(entry.mean_probability - entry.share_positive) for entry in found) / total


def fit_temperature(probabilities: Sequence[float], truths: Sequence[bool]) -> float | None:
    """The temperature that makes probabilities most likely; above 1 they were too sure.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017: logit / T with the smallest negative
    log likelihood. From 0.05 to 20. None where only one class occurs: any answer would be a bound.
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
    """Probabilities whose logits are divided by the temperature; same shape, same order.

    Exact 0 and 1 count as 1e-7 and 1 - 1e-7.
    """
    return np.asarray(1 / (1 + np.exp(-_logits(np.asarray(probabilities, dtype=float)) / temperature)))


def cross_fitted(
    probabilities: Sequence[float], truths: Sequence[bool], subjects: Sequence[str]
) -> np.ndarray | None:
    """Each probability after the temperature that other subjects' cases gave; (cases,).

    For the scores of a temperature, which would flatter it on the cases that it was fitted on. Subjects are
    dealt into five parts by a fixed seed. None where a part's others are of one class, or one subject.
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
            got=f"{values.size} and {positive.size} of them",
            advice="Apply the sigmoid to the logits first, and leave out cases without a truth.",
        )
    return values, positive
