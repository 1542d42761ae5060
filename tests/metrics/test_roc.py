"""ROC area and operating point against examples worked out by hand, published, or by scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medseg.errors import DataError
from medseg.metrics.overlap import bootstrap_interval
from medseg.metrics.roc import operating_point, roc_area, roc_curve


def alone(count):
    return [f"s{number}" for number in range(count)]


def test_by_hand():
    """Negatives 0 and 2, positives 1 and 3: three of four pairs in order; DeLong's variance 1/16 + 1/16."""
    found = roc_area([0.0, 0.2, 0.1, 0.3], [False, False, True, True], alone(4))
    assert found.area == 0.75
    assert found.standard_error == pytest.approx(math.sqrt(1 / 8))
    half = 1.959964 * math.sqrt(1 / 8) / (0.75 * 0.25)
    assert found.low == pytest.approx(1 / (1 + math.exp(half - math.log(3))))
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - math.log(3))))


def test_ties_count_half():
    """Of four pairs two tie, one is in order and one is not: 2 / 4."""
    assert roc_area([0.5, 0.7, 0.5, 0.7], [0, 0, 1, 1], alone(4)).area == pytest.approx(
        (0.5 + 0 + 1 + 0.5) / 4
    )


def test_published():
    """Hanley & McNeil, Radiology 143:29, 1982: 109 CT ratings; area and DeLong's error as Stata's manual."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.repeat([1, 2, 3, 4, 5] * 2, normal + abnormal) / 5
    truths = np.repeat([0, 1], [58, 51])
    found = roc_area(ratings, truths, alone(109))
    assert found.area == pytest.approx(0.8932, abs=5e-5)
    assert found.standard_error == pytest.approx(0.0307, abs=5e-5)


def test_area_is_scikit_learns():
    rng = np.random.default_rng(1)
    truths = rng.random(200) < 0.3
    values = np.round(rng.random(200) + 0.3 * truths, 1) / 2
    assert roc_area(values, truths, alone(200)).area == pytest.approx(roc_auc_score(truths, values))


def test_a_second_image_of_the_same_is_no_new_evidence():
    """Obuchowski's error is that of one image each; that of independent cases would be smaller by root 2."""
    rng = np.random.default_rng(2)
    truths = rng.random(60) < 0.4
    values = rng.random(60) * 0.7 + 0.3 * truths
    once = roc_area(values, truths, alone(60))
    twice = roc_area(np.tile(values, 2), np.tile(truths, 2), alone(60) * 2)
    assert twice == pytest.approx(once)
    naive = roc_area(np.tile(values, 2), np.tile(truths, 2), alone(120))
    assert naive.standard_error == pytest.approx(once.standard_error / math.sqrt(2), rel=0.03)


def test_error_of_clusters_with_both_classes():
    """By Obuchowski's formula: sums of placements 0.25 and -0.25 by subject, their products of both signs."""
    found = roc_area([0.0, 0.2, 0.1, 0.3], [0, 0, 1, 1], ["a", "b", "a", "b"])
    # Positives .5 and 1, negatives 1 and .5, all less .75: own terms 1/16 each, product -1/16 each.
    assert found.standard_error == pytest.approx(math.sqrt(1 / 8 + 2 * 2 / 1 * (-1 / 8) / 4), abs=1e-9)


def test_interval_holds_what_it_promises():
    """Of 300 studies with two images a woman, about 95 % hold the true area, here that of d' = 1.5."""
    rng = np.random.default_rng(3)
    true_area = 0.5 * (1 + math.erf(1.5 / 2))
    subjects = np.repeat(alone(100), 2)
    held = 0
    for _ in range(300):
        truth = np.repeat(rng.random(100) < 0.4, 2)
        score = truth * 1.5 + np.repeat(rng.normal(size=100), 2) * 0.8 + rng.normal(size=200) * 0.6
        found = roc_area(1 / (1 + np.exp(-score)), truth, subjects)
        held += found.low < true_area < found.high
    assert 0.91 <= held / 300 <= 0.985


def test_without_an_interval():
    perfect = roc_area([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], alone(4))
    assert (perfect.area, perfect.low, perfect.high) == (1, None, None)
    one_woman = roc_area([0.1, 0.9, 0.8, 0.3], [0, 0, 1, 1], ["a", "b", "c", "c"])
    assert one_woman.area == 0.5
    assert one_woman.standard_error is None
    assert roc_area([0.1, 0.2], [1, 1], alone(2)) == (None, None, None, None)


def test_curve():
    thresholds, sensitivity, specificity = roc_curve([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    assert thresholds.tolist() == [0.9, 0.5, 0.1]
    assert sensitivity.tolist() == [0.5, 1, 1]
    assert specificity.tolist() == [1, 0.5, 0]


def test_operating_point():
    """19 of 20 positives from 0.81 on; of four negatives one is above."""
    values = [0.5, *[0.81 + n / 100 for n in range(19)], 0.1, 0.2, 0.8, 0.9]
    truths = [1] * 20 + [0] * 4
    found = operating_point(values, truths, alone(24))
    assert found.threshold == 0.81
    assert found.sensitivity == 0.95
    assert found.specificity == 0.75
    expected = bootstrap_interval([1, 1, 1, 0], ["s20", "s21", "s22", "s23"])
    assert (found.specificity, found.specificity_low, found.specificity_high) == expected
    assert found.sensitivity_low < 0.95 < found.sensitivity_high
    assert operating_point(values, truths, alone(24), 0.96).threshold == 0.5


def test_threshold_takes_ties_together():
    found = operating_point([0.5, 0.5, 0.5, 0.2], [1, 0, 1, 0], alone(4))
    assert (found.threshold, found.sensitivity, found.specificity) == (0.5, 1, 0.5)


@pytest.mark.parametrize(
    ("values", "truths", "subjects"),
    [
        ([], [], []),
        ([0.1], [1, 0], ["a"]),
        ([0.1, 0.2], [1, 0], ["a"]),
        ([math.nan, 0.2], [1, 0], ["a", "b"]),
    ],
)
def test_bad_input(values, truths, subjects):
    with pytest.raises(DataError):
        roc_area(values, truths, subjects)


def test_one_class():
    with pytest.raises(DataError, match="positive and negative"):
        operating_point([0.1, 0.2], [0, 0], ["a", "b"])
