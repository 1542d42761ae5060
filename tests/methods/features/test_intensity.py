"""Brightness, and what surrounds a pixel."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import ball, black_tophat, disk, white_tophat

from medseg.methods.features import FeatureStack

NOISE = np.random.default_rng(0).normal(size=(30, 33)).astype(np.float32)


def computed(name, grey, region=None):
    return FeatureStack([name])(grey[None], np.ones(grey.shape, bool) if region is None else region)[0]


def test_gaussian():
    expected = gaussian_filter(NOISE, 2.5, mode="nearest")
    np.testing.assert_allclose(computed("gaussian@2.5", NOISE), expected, atol=1e-6)


@pytest.mark.parametrize("offset", [0, -1000])
def test_moments_of_a_window(offset):
    window = NOISE[8:15, 17:24].astype(float)
    assert computed("local_mean@3", NOISE + offset)[11, 20] == pytest.approx(window.mean() + offset, abs=1e-4)
    assert computed("local_std@3", NOISE + offset)[11, 20] == pytest.approx(window.std(), abs=1e-3)


def test_moments_take_the_pixels_of_the_region_alone():
    region = np.zeros(NOISE.shape, bool)
    region[10:, :] = True
    window = NOISE[10:14, 17:24].astype(float)
    assert computed("local_mean@3", NOISE, region)[10, 20] == pytest.approx(window.mean(), abs=1e-5)
    assert computed("local_std@3", NOISE, region)[10, 20] == pytest.approx(window.std(), abs=1e-5)


def test_moments_in_a_volume():
    volume = np.random.default_rng(1).normal(size=(12, 13, 14)).astype(np.float32)
    window = volume[3:8, 4:9, 5:10].astype(float)
    assert computed("local_mean@2", volume)[5, 6, 7] == pytest.approx(window.mean(), abs=1e-5)
    assert computed("local_std@2", volume)[5, 6, 7] == pytest.approx(window.std(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "function"), [("black_tophat", black_tophat), ("white_tophat", white_tophat)]
)
def test_tophats(name, function):
    expected = function(NOISE, disk(3, decomposition="sequence"), mode="ignore")
    np.testing.assert_allclose(computed(f"{name}@3", NOISE), expected)
    volume = np.random.default_rng(1).normal(size=(12, 13, 14)).astype(np.float32)
    expected = function(volume, ball(2, decomposition="sequence"), mode="ignore")
    np.testing.assert_allclose(computed(f"{name}@2", volume), expected)


def test_a_thin_dark_line_on_a_slope():
    """The background goes, the line's depth stays; a wide line is background."""
    picture = np.broadcast_to(np.arange(60, dtype=np.float32), (60, 60)).copy() / 10
    picture[29:32] -= 4
    found = computed("black_tophat@4", picture)
    assert found[29:32, 10:50] == pytest.approx(4, abs=0.5)
    assert found[:20, 10:50] == pytest.approx(0, abs=0.5)
    assert computed("black_tophat@1", picture)[30, 10:50] == pytest.approx(0, abs=0.5)
    assert computed("white_tophat@4", picture)[29:32, 10:50] == pytest.approx(0, abs=0.5)
