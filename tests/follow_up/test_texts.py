"""Values, changes, limits and growth in words."""

import math

import pytest

from medseg.follow_up.change import Limit, change_of
from medseg.follow_up.texts import difference_text, digits, growth_text, limit_text, measure_name, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.06746, "0.0675"),
        (12.345, "12.3"),
        (5123.6, "5124"),
        (-0.00012, "-0.00012"),
        (math.inf, "unbounded"),
    ],
    ids=str,
)
def test_digits(value, text):
    assert digits(value) == text


def test_values_with_units():
    assert value_text(None, "ml") == "-"
    assert value_text(12.0, "% of the lung") == "12%"
    assert value_text(0.06746, "% of the lung") == "0.067%"
    assert value_text(3.25, "px of the earlier photograph") == "3.25 px"
    assert value_text(84.2, "mm2") == "84.2 mm²"
    assert measure_name("largest_lesion_area_mm2") == "Largest lesion area"


def test_a_difference_is_told_as_it_is_judged():
    relative, absolute = Limit("relative", 0.25, "s"), Limit("absolute", 10.0, "s")
    assert difference_text(change_of("a", "ml", 4.0, 5.0, relative)) == "+25.0%"
    assert difference_text(change_of("a", "HU", -850.0, -862.0, absolute)) == "-12 HU"
    assert difference_text(change_of("a", "% of the lung", 5.0, 7.5, absolute)) == "+2.5 points"
    assert difference_text(change_of("a", "HU", -850.0, -840.0, None)) == "+10 HU"
    assert difference_text(change_of("a", "ml", 4.0, 5.0, None)) == "+25.0%"
    assert limit_text(relative, "ml") == "+25% or -20%"
    assert limit_text(absolute, "HU") == "±10 HU"
    assert limit_text(None, "HU") == "not known"


def test_growth_in_words():
    assert growth_text(None) == ""
    assert growth_text({"doubling_days": None, "interval_days": None, "note": "none"}) == "none"
    halving = {"doubling_days": -100.0, "interval_days": [-200.0, -50.0]}
    assert growth_text(halving) == "halves in 100 days (50 to 200)"
