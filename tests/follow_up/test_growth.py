"""Volume doubling time: a known growth, its interval, and what has none."""

import numpy as np
import pytest

from medseg.follow_up.change import Limit
from medseg.follow_up.growth import growth_of

LIMIT = Limit("relative", 0.25, "a test")


def test_a_known_growth_of_two_and_of_four_times():
    found = growth_of([0, 200], [1.0, 2.0], LIMIT)
    assert found["doubling_days"] == pytest.approx(200)
    # The ratio is 2, from 2 / 1.25 to 2 * 1.25.
    assert found["interval_days"] == pytest.approx([200 * np.log(2) / np.log(f) for f in (2.5, 1.6)])
    assert found["percent_per_year"] == pytest.approx(100 * (2 ** (365.25 / 200) - 1))
    more = growth_of([0, 100, 200, 300], [1, 2**0.5, 2, 2**1.5], LIMIT)
    assert more["doubling_days"] == pytest.approx(200)
    assert np.ptp(more["interval_days"]) < np.ptp(found["interval_days"])


def test_shrinking_has_a_negative_time():
    assert growth_of([0, 90], [4, 1], LIMIT)["doubling_days"] == pytest.approx(-45)
    low, high = growth_of([0, 90], [4, 1], LIMIT)["interval_days"]
    assert low < -45 < high < 0


def test_within_the_error_there_is_no_interval():
    found = growth_of([0, 200], [1.0, 1.2], LIMIT)
    assert found["interval_days"] is None
    assert "neither" in found["note"]
    assert growth_of([0, 200], [1.0, 1.0], LIMIT)["doubling_days"] is None


def test_the_interval_covers_the_truth_in_95_percent():
    random = np.random.default_rng(0)
    sd = np.log(1.25) / 1.959964 / 2**0.5
    days, truth = np.array([0, 180, 400.0]), 150.0
    hits = 0
    for _ in range(2000):
        volumes = 0.5 * 2 ** (days / truth) * np.exp(random.normal(0, sd, 3))
        low, high = growth_of(days.tolist(), volumes.tolist(), LIMIT)["interval_days"]
        hits += low <= truth <= high
    assert 0.935 < hits / 2000 < 0.965


@pytest.mark.parametrize(
    ("days", "volumes", "limit"),
    [
        ([0], [1], LIMIT),
        ([0, 0], [1, 2], LIMIT),
        ([0, 9], [0, 2], LIMIT),
        ([0, 9], [1, 2], None),
        ([0, 9], [1, 2], Limit("absolute", 3, "a test")),
    ],
    ids=["one time", "one day", "no volume", "no limit", "absolute"],
)
def test_where_it_is_not_defined(days, volumes, limit):
    assert growth_of(days, volumes, limit) is None
