"""How far an image is from the training images."""

import numpy as np
import pytest

from medseg.quality.prediction import novelty


@pytest.fixture(scope="module")
def known():
    features = np.random.default_rng(0).normal(size=(200, 40)) @ np.diag(np.linspace(0.1, 3, 40))
    return novelty.describe(features, [str(number // 2) for number in range(200)])


def test_others_like_them_spread_over_the_percentiles(known):
    others = np.random.default_rng(1).normal(size=(400, 40)) @ np.diag(np.linspace(0.1, 3, 40))
    found = [novelty.percentile(known, value) for value in novelty.distance(known, others)]
    assert 35 < np.median(found) < 65
    assert np.mean(np.array(found) > 95) < 0.12


def test_what_is_far_off(known):
    far = np.full((1, 40), 9.0)
    assert novelty.percentile(known, novelty.distance(known, far)[0]) > 99


def test_what_is_off_the_components_only(known):
    """Components that the training images hardly vary in count too."""
    odd = np.zeros((1, 40))
    odd[0, 0] = 6.0  # sixty times its spread
    assert novelty.percentile(known, novelty.distance(known, odd)[0]) > 99
