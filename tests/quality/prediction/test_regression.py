"""Forests as arrays, and intervals that cover."""

import numpy as np
import pytest

from medseg.quality.prediction import regression


def cases(count, seed):
    random = np.random.default_rng(seed)
    signals = random.normal(size=(count, 5))
    spread = 0.02 + 0.08 * (signals[:, 1] > 0)
    return signals, np.clip(0.8 + 0.08 * signals[:, 0] + spread * random.normal(size=count), 0, 1)


@pytest.fixture(scope="module")
def grown():
    signals, dice = cases(300, 0)
    return regression.grow(signals, dice, [str(number // 2) for number in range(300)])


def test_the_arrays_are_the_forest():
    signals, dice = cases(120, 1)
    forest = regression._forest(signals, dice, 3)
    arrays = {**regression._arrays(forest, "value"), **regression._arrays(forest, "spread")}
    arrays["quantiles"] = np.array([-1.0, 1.0])
    others = cases(50, 2)[0]
    found = regression.predict(arrays, others)
    np.testing.assert_allclose(found[:, 0], np.clip(forest.predict(others), 0, 1), atol=1e-6)


def test_the_interval_covers_and_follows_the_spread(grown):
    signals, dice = cases(1500, 5)
    value, low, high = regression.predict(grown, signals).T
    assert 0.86 <= ((dice >= low) & (dice <= high)).mean() <= 0.94
    assert (low <= value).all()
    assert (value <= high).all()
    width = high - low
    assert width[signals[:, 1] > 0.5].mean() > 1.5 * width[signals[:, 1] < -0.5].mean()


def test_conformal_ends_by_hand():
    """19 scores: 5% of 20 is one, so the ends are the first and the last."""
    scores = np.arange(19.0)
    assert regression.conformal(scores) == (0.0, 18.0)
    assert regression.conformal(np.arange(39.0)) == (1.0, 37.0)


def test_no_group_is_on_both_sides():
    """A signal that names the group alone teaches nothing about other groups."""
    groups = np.repeat(np.arange(30), 4)
    dice = np.random.default_rng(0).uniform(size=30)[groups]
    found = regression.out_of_fold(groups[:, None].astype(float), dice, [str(group) for group in groups])
    assert abs(np.corrcoef(found, dice)[0, 1]) < 0.6
