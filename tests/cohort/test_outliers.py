"""Outliers by the modified z of Iglewicz and Hoaglin."""

import numpy as np
import pytest

from medseg.cohort.outliers import FEWEST, LIMIT, modified_z


def test_it_is_the_standard_score_of_a_normal_distribution():
    values = np.random.default_rng(0).normal(50, 4, 20_000)
    z = modified_z(values)
    assert z == pytest.approx((values - 50) / 4, abs=0.15)
    assert (np.abs(z) > LIMIT).mean() == pytest.approx(0.00047, abs=0.0005)


def test_one_far_value_is_found_however_far_it_lies():
    values = np.append(np.linspace(9, 11, 20), 1e9)
    assert np.flatnonzero(np.abs(modified_z(values)) > LIMIT).tolist() == [20]


@pytest.mark.parametrize(
    "values",
    [np.arange(FEWEST - 1.0), np.r_[np.ones(11), np.arange(9)], np.full(50, 0.1), np.zeros(20)],
    ids=["few", "half are equal", "constant", "zeros"],
)
def test_what_has_no_spread_is_not_judged(values):
    assert modified_z(values) is None
