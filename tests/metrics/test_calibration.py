"""Calibration: exact small examples, and temperatures that are known because they were simulated."""

import math

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.metrics.calibration import (
    apply_temperature,
    brier_score,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)


def overconfident(count=20000, temperature=2.0):
    """Truths drawn by sound probabilities, and what a network with logits too large would say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, count)
    truths = rng.random(count) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-logits * temperature)), truths


def test_brier():
    assert brier_score([0.9, 0.2, 0.5], [1, 0, 1]) == pytest.approx((0.01 + 0.04 + 0.25) / 3)


def test_bins():
    low, high = reliability_bins([0.0, 0.1, 0.2, 0.9], [0, 1, 0, 1], bins=5)
    assert low == (0.0, 0.2, 3, pytest.approx(0.1), pytest.approx(1 / 3))
    assert high == (0.8, 1.0, 1, 0.9, 1.0)


def test_bins_are_closed_above():
    for edge in range(1, 16):
        (found,) = reliability_bins([edge / 15], [1])
        assert found.high == pytest.approx(edge / 15)


def test_calibration_error():
    """Two bins of 3 and 1 cases: (3 * |0.1 - 1/3| + 1 * |0.9 - 1|) / 4."""
    found = expected_calibration_error([0.0, 0.1, 0.2, 0.9], [0, 1, 0, 1], bins=5)
    assert found == pytest.approx((3 * (1 / 3 - 0.1) + 0.1) / 4)
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0
    assert expected_calibration_error([0.0, 1.0], [1, 0]) == 1


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0, 4.0])
def test_a_known_temperature(true):
    probabilities, truths = overconfident(temperature=true)
    assert fit_temperature(probabilities, truths) == pytest.approx(true, rel=0.05)


def test_exact_temperature():
    """Three of four are right at 0.9, of odds 9: T = log 9 / log 3."""
    found = fit_temperature([0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1], [1, 1, 1, 0, 0, 0, 0, 1])
    assert found == pytest.approx(2.0, rel=1e-4)
    assert apply_temperature([0.9, 0.5, 0.1], 2.0) == pytest.approx([0.75, 0.5, 0.25])


def test_scaling_helps_and_keeps_the_order():
    probabilities, truths = overconfident(2000)
    subjects = [f"s{n // 2}" for n in range(2000)]
    scaled = cross_fitted(probabilities, truths, subjects)
    assert expected_calibration_error(scaled, truths) < 0.5 * expected_calibration_error(
        probabilities, truths
    )
    assert brier_score(scaled, truths) < brier_score(probabilities, truths)
    whole = apply_temperature(probabilities, 2.0)
    assert (np.argsort(whole, kind="stable") == np.argsort(probabilities, kind="stable")).all()


def test_a_case_has_no_part_in_its_own_temperature():
    """Another truth of one subject leaves its own probabilities as they were."""
    probabilities, truths = overconfident(200)
    subjects = [f"s{n // 2}" for n in range(200)]
    before = cross_fitted(probabilities, truths, subjects)
    truths[0] = not truths[0]
    after = cross_fitted(probabilities, truths, subjects)
    assert (before[:2] == after[:2]).all()
    assert (before != after).any()


def test_certain_probabilities_stay_finite():
    scaled = apply_temperature([0.0, 1.0], 3.0)
    assert np.isfinite(scaled).all()
    assert 0 < scaled[0] < scaled[1] < 1
    assert math.isfinite(fit_temperature([0.0, 1.0, 1.0], [0, 1, 0]))


def test_undefined():
    assert fit_temperature([0.1, 0.9], [1, 1]) is None
    assert cross_fitted([0.1, 0.9], [0, 1], ["a", "a"]) is None
    assert cross_fitted([0.1, 0.9], [0, 1], ["a", "b"]) is None


@pytest.mark.parametrize(
    ("probabilities", "truths"), [([], []), ([1.2], [1]), ([-0.1], [0]), ([math.nan], [1]), ([0.5], [1, 0])]
)
def test_bad_input(probabilities, truths):
    with pytest.raises(DataError, match=r"a probability in \[0, 1\]"):
        brier_score(probabilities, truths)
