"""The volume of a ball by its density: the same in thick slices, with noise, and beside another."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from medseg.follow_up.partial_volume import solids
from medseg.instances import numbered

SPACING = np.array([0.8, 0.8, 1.25])
BALL_ML = 4 / 3 * np.pi * 6**3 / 1000


def ball(centre=(0, 0, 0), radius=6.0):
    """Share of each voxel that a ball fills, (60, 60, 50)."""
    places = (np.moveaxis(np.indices((60, 60, 50)), 0, -1) - (30, 30, 25)) * SPACING
    share = np.zeros(places.shape[:-1])
    for shift in np.ndindex(3, 3, 3):
        share += np.linalg.norm(places + (np.array(shift) - 1) / 3 * SPACING - centre, axis=-1) <= radius
    return share / 27


def volumes(share, blur=None, noise_hu=0.0):
    hu = -850 + share * 890
    hu = hu if blur is None else blur(hu)
    hu = hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape)
    numbers = numbered(hu > -300)
    inside = np.ones(hu.shape, bool)
    found = solids(numbers, hu, inside, SPACING, float(np.prod(SPACING)) / 1000)
    return [each.volume_ml for each in found], numbers


@pytest.mark.parametrize(
    ("blur", "noise_hu"),
    [
        (None, 0),
        (lambda hu: gaussian_filter(hu, 1.2), 0),
        (lambda hu: uniform_filter1d(hu, 4, axis=2), 0),
        (None, 20),
    ],
    ids=["sharp", "soft kernel", "slices of 5 mm", "noise"],
)
def test_a_ball_has_its_volume(blur, noise_hu):
    found, _ = volumes(ball(), blur, noise_hu)
    assert found[0] == pytest.approx(BALL_ML, rel=0.06)


def test_a_neighbour_is_not_counted():
    found, numbers = volumes(np.maximum(ball((-8, 0, 0)), ball((8, 0, 0), 5.0)))
    assert numbers.max() == 2
    assert found == pytest.approx([BALL_ML, BALL_ML * (5 / 6) ** 3], rel=0.06)


def test_nothing_has_no_volume():
    empty = np.zeros((4, 4, 4), np.uint8)
    assert solids(empty, empty, empty > 0, SPACING, 1.0) == []
