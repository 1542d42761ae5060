"""Samples compared: false alarms, power, effects, and what is not tested."""

import numpy as np
import pytest

from medseg.drift.comparison import FEWEST, RATE, _difference_interval, _shift_interval, compare_samples
from medseg.drift.sample import Sample
from medseg.errors import UnsuitableError


def sample(numbers, events=(), units=()):
    events = {("warning", name): np.asarray(column, float) for name, column in dict(events).items()}
    numbers = {name: np.asarray(column, float) for name, column in numbers.items()}
    persons = len(next(iter({**numbers, **events}.values())))
    return Sample(numbers, events, {"warning": np.zeros(persons)}, dict(units), persons)


def drawn(rng, persons, shift=0.0, measures=8):
    """Independent measures, the first one shifted, and warnings of several rates."""
    numbers = {f"m{i}": np.exp(rng.normal(shift if i == 0 else 0, 1, persons)) for i in range(measures)}
    return sample(numbers, {str(rate): rng.random(persons) < rate for rate in (0.02, 0.1, 0.4)})


def test_equal_distributions_are_rarely_called_drift():
    """Binomial: of 60 comparisons more than 9 would be called once in a thousand times at a rate of 5%."""
    rng = np.random.default_rng(0)
    called = [bool(compare_samples(drawn(rng, 40), drawn(rng, 40)).called) for _ in range(60)]
    assert sum(called) <= 9


def test_a_shifted_measure_is_called_and_named_with_its_effect():
    rng = np.random.default_rng(1)
    comparison = compare_samples(drawn(rng, 200), drawn(rng, 60, shift=1.0))
    first = comparison.findings[0]
    assert [finding.name for finding in comparison.called] == ["m0"]
    assert first.shift == first.now - first.reference
    assert 0 < first.low < first.shift < first.high
    assert comparison.smallest < first.statistic < 1


def test_samples_that_are_nearly_equal_give_no_warning(recwarn):
    counts = np.repeat([1.0, 2.0], [54, 6])
    other = np.repeat([1.0, 2.0], [56, 4])
    assert compare_samples(sample({"m": counts}), sample({"m": other})).findings[0].corrected > 0.99
    assert not recwarn.list


def test_a_spread_that_changes_around_the_same_median_is_called():
    values = np.linspace(-1, 1, 61)
    comparison = compare_samples(sample({"m": values}), sample({"m": 5 * values}))
    assert comparison.called[0].shift == 0


def test_a_warning_that_was_never_given_before_is_called():
    values = np.random.default_rng(2).normal(size=80)
    now = sample({"m": values[40:]}, {"cut off": np.arange(40) < 15})
    comparison = compare_samples(sample({"m": values[:40]}), now)
    (found,) = comparison.called
    assert (found.name, found.sort, found.reference, found.now) == ("warning: cut off", RATE, 0, 15 / 40)
    assert found.low > 0.2


def test_measures_of_one_order_are_one_test():
    rng = np.random.default_rng(3)
    columns = [rng.normal(100, 10, 30) for _ in range(2)]
    both = [sample({"mm2": c, "cm2": c / 100, "log": np.log(c), "other": c[::-1]}) for c in columns]
    found = {finding.name: finding.same for finding in compare_samples(*both).findings}
    assert found == {"mm2": ("cm2", "log"), "other": ()}


def test_an_event_and_its_opposite_are_one_test():
    left = np.arange(20) < 12
    sides = [sample({}, {"left": left, "right": ~left}) for _ in range(2)]
    (found,) = compare_samples(*sides).findings
    assert found.same == ("warning: right",)


def test_what_is_not_tested_has_a_reason():
    count = FEWEST + 5
    values, some = np.arange(count), np.where(np.arange(count) < 3, 1.0, np.nan)
    one = np.zeros(count)
    one[0] = 1
    first = sample({"m": values, "constant": values * 0 + 2, "few": some, "unit": values}, {"rare": one})
    now = sample({"m": values, "constant": values * 0 + 2, "few": values, "unit": values, "new": values})
    first.units["unit"], now.units["unit"] = "px", "mm"
    assert compare_samples(first, now).untested == {
        "constant": "always 2",
        "few": "3 values in the reference",
        "unit": "in other units: px in the reference, mm now",
        "new": "no values in the reference",
        "warning: rare": "too rare for a test",
    }


def test_too_few_persons_are_refused():
    few, enough = sample({"m": np.arange(FEWEST - 1)}), sample({"m": np.arange(FEWEST)})
    for pair in ((few, enough), (enough, few)):
        with pytest.raises(UnsuitableError, match=f"at least {FEWEST} persons"):
            compare_samples(*pair)


def test_nothing_to_test_is_refused():
    with pytest.raises(UnsuitableError, match="a measure with values on both sides; got m: always 1"):
        compare_samples(sample({"m": np.ones(20)}), sample({"m": np.ones(20)}))


def test_the_interval_of_a_difference_of_rates_is_newcombes():
    """Newcombe 1998, table II, example a: 56 of 70 and 48 of 80."""
    assert _difference_interval(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_interval_of_a_shift_is_that_of_resampling():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 1, 41), rng.normal(1, 2, 61)
    shifts = [np.median(rng.choice(second, 61)) - np.median(rng.choice(first, 41)) for _ in range(4000)]
    assert _shift_interval(first, second) == pytest.approx(np.quantile(shifts, (0.025, 0.975)), abs=0.1)
