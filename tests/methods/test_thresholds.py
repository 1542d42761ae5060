"""Thresholds against scikit-image, and on images whose threshold is known."""

import numpy as np
import pytest
from skimage import filters

from medseg.errors import UsageError
from medseg.methods.thresholds import HISTOGRAM, Threshold


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((40, 40)) < 0.3, rng.normal(4, 0.5, (40, 40)), rng.normal(0, 1, (40, 40)))
    return values[None].astype(np.float32)


@pytest.mark.parametrize("kind", HISTOGRAM)
def test_a_threshold_from_the_histogram_is_that_of_scikit_image(kind, picture):
    """And it sees the region alone."""
    region = np.zeros((40, 40), bool)
    region[5:30] = True
    expected = getattr(filters, f"threshold_{kind}")(picture[0, 5:30])
    assert ((Threshold(kind)(picture, region)[1] > 0) == ((picture[0] > expected) & region)).all()


def test_three_classes_are_in_the_order_of_their_values(picture):
    classes = Threshold("otsu", 3)(picture, np.ones((40, 40), bool))
    means = [picture[0][own > 0].mean() for own in classes]
    assert means == sorted(means)
    low, high = filters.threshold_multiotsu(picture[0], 3)
    assert (classes[1] > 0).sum() == ((picture[0] > low) & (picture[0] <= high)).sum()


def test_a_fixed_threshold():
    values = np.array([[[-900.0, -500, -300, 40]]], np.float32)
    classes = Threshold("fixed", value=-400)(values, np.ones((1, 4), bool))
    assert classes[0].tolist() == [[1, 1, 0, 0]]


def test_a_local_threshold_finds_a_line_on_a_slope():
    """Where no global one can: the slope rises by more than the line is deep."""
    values = np.tile(np.linspace(0, 20, 60, dtype=np.float32), (60, 1))
    values[30] -= 4
    found = Threshold("local", sigma=5, weight=-1)(values[None], np.ones((60, 60), bool))[0] > 0
    assert found[30, 5:-5].all()
    assert found[:, 5:-5].sum() == 50


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "otzu"},
        {"kind": "otsu", "classes": 1},
        {"kind": "li", "classes": 3},
        {"kind": "fixed"},
        {"kind": "otsu", "value": 3.0},
        {"kind": "local"},
        {"kind": "otsu", "sigma": 3.0},
    ],
)
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(UsageError):
        Threshold(**options)


def test_two_features_are_refused():
    with pytest.raises(UsageError, match="expected one feature; got 2"):
        Threshold("otsu")(np.zeros((2, 4, 4), np.float32), np.ones((4, 4), bool))
