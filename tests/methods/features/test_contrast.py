"""Contrast to the surroundings of a pixel."""

import numpy as np
import pytest

from medseg.methods.features import FeatureStack
from medseg.methods.features.contrast import surroundings


def test_surroundings_outside_the_region_do_not_count():
    values = np.random.default_rng(0).normal(size=(30, 30))
    region = np.zeros((30, 30), bool)
    region[8:20, 8:20] = True
    expected = surroundings(values, region, 3)
    values[~region] = 1e6
    for found, wanted in zip(surroundings(values, region, 3), expected, strict=True):
        np.testing.assert_allclose(found, wanted)


def test_their_mean_is_weighted_by_a_gaussian():
    values = np.zeros((61, 61))
    values[30, 30] = 1
    mean = surroundings(values, np.ones((61, 61), bool), 4)[0].reshape(61, 61)
    assert mean[30, 30] / mean[30, 34] == pytest.approx(np.exp(0.5), rel=1e-3)


def test_light_and_gain_do_not_change_the_contrast():
    image = np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32)
    contrast = FeatureStack(["local_contrast@1"])
    region = np.ones((40, 40), bool)
    np.testing.assert_allclose(contrast(3 * image + 50, region), contrast(image, region), atol=1e-3)


def test_a_dark_spot_on_a_slope_is_the_lowest():
    image = np.tile(np.linspace(0, 50, 80, dtype=np.float32), (80, 1))
    image[40:46, 60:66] -= 10
    found = FeatureStack(["local_contrast@1"])(image[None], np.ones((80, 80), bool))[0]
    assert image[43, 63] > image[43, 10]
    assert np.unravel_index(found[5:-5, 5:-5].argmin(), (70, 70)) == pytest.approx((37.5, 57.5), abs=2)
