"""Paired comparison of two methods on the same cases: difference, interval, test, verdict.

A verdict of better or worse needs both the test and the interval, so that it errs towards "no difference
shown", which is no proof that two methods are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.metrics.overlap import bootstrap_interval

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference shown"

ALPHA = 0.05
# The smallest two-sided p of n differences is 2 / 2^n: 0.0625 for 5, 0.03125 for 6.
FEWEST_SUBJECTS = 6

# A score's name is one of these, or begins with one: hd95, hd95_mm, dice_liver. A score whose best value is
# neither high nor low, such as a signed error, belongs in neither list.
HIGHER_IS_BETTER = (
    *("dice", "cl_dice", "sensitivity", "specificity", "balanced_accuracy", "mcc", "roc_auc"),
    *("average_precision", "precision", "iou", "nsd", "surface_dice"),
)
LOWER_IS_BETTER = (
    *("hd", "hd95", "hausdorff", "assd", "masd", "brier", "calibration_error", "false_positives"),
    *("volume_error", "absolute_volume_error", "relative_volume_error"),  # magnitudes
)

_DECIMALS = 12  # rounding errors must neither break ties nor make a difference of equal scores


@dataclass(frozen=True)
class Paired:
    """One score of two methods on the same cases; B - A throughout.

    Means and difference are over the cases that have the score in both, None without any. `low` and
    `high` bound the 95% interval of the mean difference, None with one subject. `changed` counts the
    subjects whose mean difference is not 0; `p` and `signed_ranks` are those of `signed_rank_test`.
    """

    mean_a: float | None
    mean_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    signed_ranks: float
    cases: int
    subjects: int
    changed: int


def direction(score: str) -> int | None:
    """1 where a higher value is better, -1 where a lower one is, None for an unknown name."""
    if score.endswith("_sensitivity"):  # of objects, by their name
        return 1
    for sign, names in ((1, HIGHER_IS_BETTER), (-1, LOWER_IS_BETTER)):
        if any(score == name or score.startswith(f"{name}_") for name in names):
            return sign
    return None


def difference(a: float, b: float) -> float:
    """B - A without rounding errors."""
    return round(b - a, _DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def compare_paired(
    first: Sequence[float | None], second: Sequence[float | None], subjects: Sequence[str]
) -> Paired:
    """Compare one score of two methods, case by case.

    The interval resamples subjects, see `bootstrap_interval`. The test takes one number from each
    subject, the mean of its differences, because two eyes of one person are not two independent
    observations (Altman & Bland, BMJ 314:1874, 1997).

    Args:
        first: the score of A, one per case; None where it is not defined.
        second: the score of B, in the same order.
        subjects: the person that each case belongs to, in the same order.

    Raises:
        DataError: a score is NaN or infinite.
    """
    pairs = [
        (a, b, subject)
        for a, b, subject in zip(first, second, subjects, strict=True)
        if a is not None and b is not None
    ]
    differences, owners = [difference(a, b) for a, b, _ in pairs], [subject for *_, subject in pairs]
    mean, low, high = bootstrap_interval(differences, owners)
    by_subject = _subject_means(differences, owners)
    p, signed_ranks = signed_rank_test(by_subject)
    return Paired(
        mean_a=float(np.mean([a for a, *_ in pairs])) if pairs else None,
        mean_b=float(np.mean([b for _, b, _ in pairs])) if pairs else None,
        difference=mean,
        low=low,
        high=high,
        p=p if pairs else None,
        signed_ranks=signed_ranks,
        cases=len(pairs),
        subjects=len(by_subject),
        changed=sum(value != 0 for value in by_subject),
    )


def signed_rank_test(differences: Sequence[float]) -> tuple[float, float]:
    """Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945), two-sided.

    Zeros are left out, as Wilcoxon did. The p value is exact for up to 50 differences without ties and
    up to 13 with ties, else from the normal approximation with correction for ties, as SciPy does.

    Args:
        differences: one per independent subject.

    Returns:
        p, 1.0 where all differences are 0; and the sum of the ranks of gains minus that of losses.
    """
    values = np.array([value for value in differences if value != 0], dtype=float)
    if not values.size:
        return 1.0, 0.0
    from scipy.stats import rankdata, wilcoxon

    signed_ranks = float(np.sum(np.sign(values) * rankdata(np.abs(values))))
    return float(wilcoxon(values).pvalue), signed_ranks


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of several tests, so that all of them together err once in twenty.

    Step-down procedure: Holm, Scand. J. Statist. 6:65-70, 1979. The smallest of m values is multiplied by m,
    the next by m - 1 and so on; none becomes smaller than the one before it, and none larger than 1.

    Args:
        p_values: one for each test, from 0 to 1; the tests may depend on each other.

    Returns:
        The corrected values in the same order; one below ALPHA is significant.
    """
    corrected = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def fewest_subjects(tests: int) -> int:
    """The fewest subjects with which the smallest of several corrected p values can fall below ALPHA."""
    subjects = 1
    while tests * 2 / 2**subjects >= ALPHA:
        subjects += 1
    return subjects


def verdict(result: Paired, direction: int) -> str:
    """Whether B is better than A by this score.

    It is better or worse only if p < 0.05, and the whole interval and the sum of signed ranks are on that
    side of 0. The percentile interval alone is too narrow for few subjects, and ranks alone ignore the size
    of the differences; together they err towards "no difference shown".

    Args:
        result: of the score.
        direction: 1 where a higher value is better, -1 where a lower one is.

    Returns:
        BETTER, WORSE or NO_DIFFERENCE.
    """
    if result.p is None or result.low is None or result.high is None or result.p >= ALPHA:
        return NO_DIFFERENCE
    evidence = (result.low, result.high, result.signed_ranks)
    if all(direction * value > 0 for value in evidence):
        return BETTER
    return WORSE if all(direction * value < 0 for value in evidence) else NO_DIFFERENCE


def _subject_means(differences: Sequence[float], subjects: Sequence[str]) -> list[float]:
    """The mean difference of each subject."""
    by_subject: dict[str, list[float]] = {}
    for value, subject in zip(differences, subjects, strict=True):
        by_subject.setdefault(subject, []).append(value)
    return [difference(0.0, float(np.mean(values))) for values in by_subject.values()]
