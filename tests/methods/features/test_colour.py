"""Colours, also of levelled channels."""

import numpy as np
import pytest
from skimage.color import rgb2hsv, rgb2lab

from medseg.methods.features import FeatureStack

NAMES = ["red", "green", "blue", "hue", "saturation", "value", "lab_l", "lab_a", "lab_b"]
EVERYWHERE = np.ones((20, 21), bool)


@pytest.fixture
def picture():
    """From 0 to 1, with both ends in it."""
    channels = np.random.default_rng(0).uniform(size=(3, 20, 21)).astype(np.float32)
    channels[:, 0, 0], channels[:, 0, 1] = 0, 1
    return channels


def test_as_scikit_image(picture):
    found = FeatureStack(NAMES)(picture, EVERYWHERE)
    pixels = np.moveaxis(picture, 0, -1)
    np.testing.assert_array_equal(found[:3], picture)
    np.testing.assert_allclose(found[3:6], np.moveaxis(rgb2hsv(pixels), -1, 0), atol=1e-6)
    np.testing.assert_allclose(found[6:], np.moveaxis(rgb2lab(pixels), -1, 0), atol=1e-3)


def test_gain_and_offset_of_all_channels_change_nothing(picture):
    """Levelled channels have a mean of 0."""
    plain = FeatureStack(NAMES[3:])(picture, EVERYWHERE)
    levelled = FeatureStack(NAMES[3:])(5 * picture - 2, EVERYWHERE)
    np.testing.assert_allclose(levelled, plain, atol=1e-2)


def test_known_colours():
    picture = np.zeros((3, 1, 4), np.float32)
    picture[0, 0, 0] = picture[1, 0, 1] = picture[2, 0, 2] = 1  # red, green, blue, black
    found = FeatureStack(["hue", "saturation", "lab_l"])(picture, np.ones((1, 4), bool))[:, 0]
    np.testing.assert_allclose(found[0, :3], [0, 1 / 3, 2 / 3], atol=1e-6)
    np.testing.assert_allclose(found[1], [1, 1, 1, 0])
    np.testing.assert_allclose(found[2], [53.24, 87.73, 32.30, 0], atol=0.05)
