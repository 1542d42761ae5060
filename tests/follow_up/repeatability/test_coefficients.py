"""Coefficients and limits of differences whose distribution is known."""

import math

import numpy as np
import pytest

from medseg.follow_up.repeatability.coefficients import (
    difference,
    limit_of_difference,
    repeatability_coefficient,
    simultaneous_limits,
)


def test_the_coefficient_is_qibas():
    within = 3.0
    pairs = np.random.default_rng(0).normal(0, within, (20000, 2))
    coefficient = repeatability_coefficient(pairs[:, 1] - pairs[:, 0])
    assert coefficient == pytest.approx(1.96 * math.sqrt(2) * within, rel=0.02)


def test_a_relative_difference_has_no_order():
    assert difference("relative", 10, 12.5) == pytest.approx(-difference("relative", 12.5, 10))
    assert limit_of_difference("relative", difference("relative", 10, 12.5)) == pytest.approx(0.25)
    assert difference("absolute", -850, -840) == 10
    assert limit_of_difference("absolute", 10) == 10
    assert difference("relative", 0, 0) == 0
    assert difference("relative", 0, 1) == math.inf


def test_95_percent_of_new_pairs_stay_within_all_limits():
    random = np.random.default_rng(1)

    def pairs(count):
        common = random.standard_t(3, count)  # heavy tails, and measures that go together
        return {
            name: size * (common + random.standard_t(3, count))
            for name, size in zip("abc", (1, 10, 50), strict=True)
        }

    fit, new = pairs(400), pairs(4000)
    new["c"][:50] = np.nan
    limits = simultaneous_limits(fit)
    within = [~(np.abs(new[name]) > limits[name]) for name in new]
    assert 0.93 < np.all(within, axis=0).mean() < 0.98


def test_an_outlier_of_one_measure_does_not_widen_the_others():
    limits = simultaneous_limits({"a": [1.0] * 99 + [50.0], "b": [1.0, 2.0] * 50})
    assert limits["b"] == pytest.approx(1.96 * math.sqrt(2.5))
    assert limits["a"] >= repeatability_coefficient([1.0] * 99 + [50.0])


def test_few_pairs_and_missing_measures():
    limits = simultaneous_limits({"a": [0.1, -4.0, math.nan], "b": [math.nan] * 3}, margin=1.5)
    assert limits["a"] == pytest.approx(1.5 * 1.96 * math.sqrt(16.01 / 2))
    assert math.isnan(limits["b"])
