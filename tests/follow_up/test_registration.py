"""The registration of lungs: a known place is found again, there and back."""

import numpy as np
import pytest
from two_chests import chest

from medseg.errors import UnsuitableError
from medseg.follow_up.lung_grid import lungs_of
from medseg.follow_up.registration import GRID_MM, determinant, register

pytest.importorskip("SimpleITK")
pytestmark = pytest.mark.seconds


def lungs(**settings):
    hu, labels, affine = chest(**settings)
    return lungs_of(hu, labels, affine, (1, 2), GRID_MM)


def test_a_shift_and_a_breath_are_found():
    found = register(lungs(), lungs(shift_mm=(14, -9, 21), zoom=1.1, seed=1))
    places = np.array([(-60, 20, 30), (70, -20, -30), (50, 10, 40.0)])
    there = places * (1, 1, 1.1) + (14, -9, 21)
    assert np.linalg.norm(found.to_earlier(there) - places, axis=1).max() < 3
    assert np.linalg.norm(found.to_later(found.to_earlier(there)) - there, axis=1).max() < 0.05
    inside = found.later.labels > 0
    assert determinant(found)[inside].mean() == pytest.approx(1 / 1.1, rel=0.03)


def test_a_grid_in_another_order_of_axes_is_the_same():
    hu, labels, affine = chest()
    turned = affine.copy()
    turned[:3, 2] *= -1
    turned[:3, 3] = affine[:3, 3] + affine[:3, 2] * (hu.shape[2] - 1)
    one = lungs_of(hu, labels, affine, (1, 2), GRID_MM)
    other = lungs_of(hu[..., ::-1], labels[..., ::-1], turned, (1, 2), GRID_MM)
    np.testing.assert_allclose(one.hu, other.hu, atol=1)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_a_mask_without_lungs_is_refused():
    hu, labels, affine = chest()
    with pytest.raises(UnsuitableError, match="lungs in both masks"):
        lungs_of(hu, 0 * labels, affine, (1, 2), GRID_MM)
