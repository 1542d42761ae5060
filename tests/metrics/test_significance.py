"""Paired statistics against SciPy and against going through all signs."""

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from medseg.metrics.overlap import bootstrap_interval
from medseg.metrics.significance import (
    ALPHA,
    BETTER,
    NO_DIFFERENCE,
    WORSE,
    Paired,
    compare_paired,
    difference,
    direction,
    fewest_subjects,
    holm,
    signed_rank_test,
    verdict,
)

GAINS = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]


def enumerated_p(values):
    """Wilcoxon's two-sided p by going through all signs."""
    ranks = rankdata(np.abs(values))
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product([-1, 1], repeat=len(ranks))])
    return np.mean(np.abs(sums) >= abs(np.dot(np.sign(values), ranks)) - 1e-9)


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_smallest_p_is_two_to_the_one_minus_n(n, p):
    assert signed_rank_test(GAINS[:n]) == (pytest.approx(p), n * (n + 1) / 2)


@pytest.mark.parametrize(
    "values",
    [
        [0.3, -0.1, 0.2, 0.5, -0.4, 0.7, 0.6, 0.9],
        [-0.3, 0.1, -0.2, -0.5, -0.4, -0.7, 0.6],
        [0.1, 0.1, -0.1, 0.2, 0.2, 0.3, 0.3],  # ties
    ],
)
def test_p_is_exact(values):
    p, ranks = signed_rank_test(values)
    assert p == pytest.approx(enumerated_p(values))
    assert ranks == pytest.approx(np.dot(np.sign(values), rankdata(np.abs(values))))


def test_zeros_neither_help_nor_hurt():
    assert signed_rank_test([0.0, 0.0, 0.0]) == (1.0, 0.0)
    assert signed_rank_test([]) == (1.0, 0.0)
    assert signed_rank_test([*GAINS[:6], *[0.0] * 9]) == signed_rank_test(GAINS[:6])


def test_many_subjects():
    values = np.random.default_rng(0).normal(0.1, 1, 80)
    assert signed_rank_test(list(values))[0] == pytest.approx(wilcoxon(values).pvalue)


def test_two_eyes_count_as_one_subject():
    gains = [0.02, 0.04, 0.03, 0.05, -0.01, 0.03, 0.06, 0.02, 0.01, 0.02]
    subjects = [name for name in "abcde" for _ in range(2)]
    result = compare_paired([0.5] * 10, [0.5 + gain for gain in gains], subjects)
    assert (result.cases, result.subjects, result.changed) == (10, 5, 5)
    assert result.p == pytest.approx(wilcoxon([0.03, 0.04, 0.01, 0.04 + 1e-6, 0.015]).pvalue)
    assert result.p > 0.05 > wilcoxon(gains).pvalue
    expected = bootstrap_interval([difference(0.5, 0.5 + gain) for gain in gains], subjects)
    assert (result.difference, result.low, result.high) == pytest.approx(expected)
    assert (result.mean_a, result.mean_b) == pytest.approx((0.5, 0.5 + np.mean(gains)))


def test_unequal_numbers_of_eyes():
    """A person with many scans must not outvote the others."""
    subjects = ["a"] * 20 + ["b", "c", "d", "e", "f"]
    result = compare_paired([0.5] * 25, [0.6] * 20 + [0.4, 0.41, 0.42, 0.43, 0.44], subjects)
    assert (result.subjects, result.cases) == (6, 25)
    assert result.signed_ranks < 0 < result.difference
    assert verdict(result, 1) == NO_DIFFERENCE


def test_undefined_scores_leave_in_pairs():
    result = compare_paired([None, 0.5, 0.5, None], [0.9, None, 0.7, None], ["a", "b", "c", "d"])
    assert (result.cases, result.mean_a, result.mean_b) == (1, 0.5, 0.7)
    nothing = compare_paired([None], [0.5], ["a"])
    assert nothing == Paired(None, None, None, None, None, None, 0.0, 0, 0, 0)
    assert verdict(nothing, 1) == NO_DIFFERENCE


def test_rounding_noise_is_no_difference():
    assert 0.1 + 0.2 != 0.3
    result = compare_paired([0.3] * 8, [0.1 + 0.2] * 8, list("abcdefgh"))
    assert (result.p, result.changed, result.low, result.high) == (1.0, 0, 0.0, 0.0)
    assert difference(0.7, 0.8) == difference(0.6, 0.7)


@pytest.mark.parametrize(
    ("low", "high", "p", "ranks", "higher", "lower"),
    [
        (0.1, 0.2, 0.01, 9, BETTER, WORSE),
        (-0.2, -0.1, 0.01, -9, WORSE, BETTER),
        (-0.1, 0.2, 0.01, 9, NO_DIFFERENCE, NO_DIFFERENCE),
        (0.0, 0.2, 0.01, 9, NO_DIFFERENCE, NO_DIFFERENCE),
        (-0.2, 0.0, 0.01, -9, NO_DIFFERENCE, NO_DIFFERENCE),
        (0.1, 0.2, 0.05, 9, NO_DIFFERENCE, NO_DIFFERENCE),
        (0.1, 0.2, 0.01, -9, NO_DIFFERENCE, NO_DIFFERENCE),
        (-0.2, -0.1, 0.01, 9, NO_DIFFERENCE, NO_DIFFERENCE),
        (None, None, 0.01, 9, NO_DIFFERENCE, NO_DIFFERENCE),
    ],
)
def test_verdict_needs_interval_test_and_ranks(low, high, p, ranks, higher, lower):
    result = Paired(0.5, 0.6, 0.1, low, high, p, ranks, 9, 9, 9)
    assert (verdict(result, 1), verdict(result, -1)) == (higher, lower)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("dice", 1),
        ("dice_liver", 1),
        ("cl_dice", 1),
        ("average_precision", 1),
        ("hd95_mm", -1),
        ("assd", -1),
        ("relative_volume_error", -1),
        ("diceware", None),
        ("loss", None),
        ("second_observer_dice", None),
    ],
)
def test_direction(name, sign):
    assert direction(name) == sign


def test_every_score_of_a_case_has_a_direction():
    from medseg.metrics.overlap import score_case

    mask = np.eye(8, dtype=bool)
    assert {direction(name) for name in score_case(mask.astype(float), mask, mask)} == {1}


def test_holm_by_hand():
    """Of 4 values: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the 0.06 before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_step_down_procedure_rejects(seed):
    """In Holm's words: the smallest is compared with alpha / m, the next with alpha / (m - 1), and so on."""
    values = np.random.default_rng(seed).uniform(0, 0.08, 7).tolist()
    rejected = set()
    for rank, index in enumerate(np.argsort(values)):
        if values[index] > ALPHA / (len(values) - rank):
            break
        rejected.add(int(index))
    corrected = holm(values)
    assert {index for index, value in enumerate(corrected) if value <= ALPHA} == rejected
    assert all(value >= plain for value, plain in zip(corrected, values, strict=True))


@pytest.mark.parametrize(("tests", "subjects"), [(1, 6), (2, 7), (3, 7), (4, 8), (18, 10)])
def test_fewest_subjects(tests, subjects):
    """The smallest p of n differences is 2 / 2^n, and Holm multiplies the smallest by the number of tests."""
    smallest = {n: signed_rank_test(np.arange(1.0, n + 1).tolist())[0] for n in (subjects - 1, subjects)}
    assert fewest_subjects(tests) == subjects
    assert holm([smallest[subjects]] + [1.0] * (tests - 1))[0] < ALPHA
    assert holm([smallest[subjects - 1]] + [1.0] * (tests - 1))[0] >= ALPHA
