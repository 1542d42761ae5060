"""Shapes of superpixels and of dark components."""

import numpy as np
import pytest
from skimage.draw import ellipse
from skimage.measure import label

from medseg.errors import UnsuitableError
from medseg.methods.features import FeatureStack
from medseg.methods.features.shape import MOST_REGIONS

PROPERTIES = ["area", "eccentricity", "solidity", "orientation"]


def computed(family, grey, scale, region=None):
    names = [f"{family}_{name}@{scale:g}" for name in PROPERTIES]
    region = np.ones(grey.shape, bool) if region is None else region
    return dict(zip(PROPERTIES, FeatureStack(names)(grey[None], region), strict=True))


@pytest.fixture
def lesion():
    """A dark ellipse of 40 x 16 px, upright, in a bright picture."""
    picture = np.ones((80, 80), np.float32)
    picture[ellipse(40, 30, 20, 8)] = 0
    return picture


def test_a_dark_ellipse(lesion):
    found = computed("dark_component", lesion, 0.5)
    inside = found["area"] > 0
    assert (inside == (lesion == 0)).mean() > 0.99
    assert found["area"][40, 30] == pytest.approx((lesion == 0).mean(), rel=0.05)
    assert found["eccentricity"][40, 30] == pytest.approx(np.sqrt(1 - (8 / 20) ** 2), abs=0.02)
    assert found["solidity"][40, 30] > 0.95
    assert found["orientation"][40, 30] == pytest.approx(1, abs=0.01)
    assert computed("dark_component", lesion.T, 0.5)["orientation"][30, 40] == pytest.approx(-1, abs=0.01)


def test_a_ring_is_less_solid(lesion):
    lesion[ellipse(40, 30, 15, 5)] = 1
    assert computed("dark_component", lesion, 0.5)["solidity"][58, 30] < 0.6


def test_the_share_is_that_of_the_region(lesion):
    region = np.zeros(lesion.shape, bool)
    region[:, :60] = True
    whole, part = (computed("dark_component", lesion, 0.5, seen)["area"][40, 30] for seen in (None, region))
    assert part == pytest.approx(whole * 80 / 60)


def test_superpixels_follow_a_dark_ellipse(lesion):
    noisy = lesion + 0.02 * np.random.default_rng(0).normal(size=lesion.shape).astype(np.float32)
    areas = computed("superpixel", noisy, 16)["area"]
    assert len(np.unique(areas)) > 5
    inside = areas[lesion == 0]
    outside = areas[lesion == 1]
    shared = np.intersect1d(inside, outside)
    assert np.isin(inside, shared).mean() < 0.1
    assert (areas * 6400 <= 4 * 16**2).all()


def test_superpixels_end_where_the_region_does():
    region = np.zeros((40, 40), bool)
    region[:, :22] = True
    picture = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    found = computed("superpixel", picture, 10, region)
    assert not any(values[:, 22:].any() for values in found.values())
    assert (found["area"][:, :22] > 0).all()


def test_too_many_superpixels():
    picture = np.zeros((200, 200), np.float32)
    with pytest.raises(UnsuitableError, match=f"at most {MOST_REGIONS} superpixels"):
        computed("superpixel", picture, 2)


def test_noise_has_a_bounded_number_of_components(monkeypatch):
    """The largest ones."""
    noise = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    every = computed("dark_component", noise, 1)["area"]
    monkeypatch.setattr("medseg.methods.features.shape.MOST_REGIONS", 5)
    largest = computed("dark_component", noise, 1)["area"]
    assert label(every > 0).max() > 10
    assert label(largest > 0).max() == 5
    np.testing.assert_array_equal(largest, np.where(every >= largest[largest > 0].min(), every, 0))
