"""Objects carried from slice to slice: by fractions of a pixel, without leaking, and as far as they reach."""

import numpy as np
import pytest

from medseg.methods.optical_flow import OTHER_VALUES, SMALL, drawn, follow, signed_distance

PIXEL = (1.0, 1.0)


def disc(shape, centre, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def textured(mask, seed=0):
    """A bright object on a dark background, both with a texture that moves with the object."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=mask.shape), 2)
    return 100.0 * gaussian_filter(mask.astype(float), 1) + 40 * noise


def overlap(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize("refine", [True, False])
def test_an_object_that_moves_by_fractions_of_a_pixel_is_followed(refine):
    """Ten steps of 0.4 px: whole pixels would lose every one of them."""
    truth = [disc((96, 96), (40 + 0.4 * n, 40 + 0.4 * n), 14) for n in range(11)]
    start = drawn(textured(truth[0]), truth[0], PIXEL)
    levels, reason = follow(start, [textured(mask) for mask in truth[1:]], refine=refine)
    assert reason == ""
    assert len(levels) == 10
    assert overlap(levels[-1] > 0, truth[-1]) > 0.93 > overlap(truth[0], truth[-1])


def test_pixels_that_are_not_square():
    """Of 3 mm by 1 mm: the same object as on a square grid, within the coarser rows."""
    truth = [disc((192, 96), (80, 40 + n), 20)[::3] for n in range(6)]
    start = drawn(100.0 * truth[0], truth[0], (3.0, 1.0))
    assert start.radius == pytest.approx(20, abs=1)
    levels, _ = follow(start, [100.0 * mask for mask in truth[1:]])
    assert overlap(levels[-1] > 0, truth[-1]) > 0.9


def test_it_ends_where_its_values_end():
    truth = disc((80, 80), (40, 40), 12)
    image, empty = 100.0 * truth, np.zeros((80, 80))
    levels, reason = follow(drawn(image, truth, PIXEL), [image, image, empty, empty])
    assert (len(levels), reason) == (2, OTHER_VALUES)


def test_it_ends_where_it_becomes_small():
    truth = [disc((80, 80), (40, 40), radius) for radius in (16, 13, 10, 8, 6, 5, 4, 3)]
    levels, reason = follow(drawn(100.0 * truth[0], truth[0], PIXEL), [100.0 * mask for mask in truth[1:]])
    assert (len(levels), reason) == (6, SMALL)
    assert overlap(levels[-1] > 0, truth[6]) > 0.75


def test_it_does_not_grow_into_a_wall_of_the_same_values():
    truth, wall = disc((96, 96), (48, 40), 14), np.zeros((96, 96), bool)
    wall[:, 54:] = True
    image = 100.0 * (truth | wall)
    levels, reason = follow(drawn(image, truth, PIXEL), [image] * 12)
    assert reason == ""
    assert (levels[-1] > 0)[:, 58:].sum() == 0
    assert overlap(levels[-1] > 0, truth) > 0.9


def test_thin_structures_inside_stay_inside():
    """As vessels in a lung."""
    truth = disc((96, 96), (48, 48), 30)
    image = 100.0 * truth
    image[47:49, 30:60] = 0
    levels, _ = follow(drawn(image, truth, PIXEL), [image] * 3)
    assert (levels[-1] > 0)[47:49, 32:58].all()


def test_what_it_encloses_with_its_values_is_its_own():
    """An island in a hole, as lung above the dome of the liver, is no rival."""
    truth = disc((96, 96), (48, 48), 30)
    ring = truth & ~disc((96, 96), (48, 48), 14) | disc((96, 96), (48, 48), 6)
    levels, _ = follow(drawn(100.0 * truth, truth, PIXEL), [100.0 * ring, 100.0 * truth])
    assert not (levels[0] > 0)[48, 58]
    assert (levels[0] > 0)[48, 48]
    assert (levels[1] > 0)[48, 48]


def test_values_that_do_not_tell_are_not_used():
    truth = disc((64, 64), (32, 32), 10)
    noise = np.random.default_rng(0).normal(size=(3, 64, 64))
    start = drawn(noise[0], truth, PIXEL)
    assert not start.is_distinct
    levels, reason = follow(start, noise[1:])
    assert (len(levels), reason) == (2, "")


def test_between_drawn_slices_it_never_ends():
    truth = disc((64, 64), (32, 32), 10)
    image, empty = 100.0 * truth, np.zeros((64, 64))
    levels, reason = follow(drawn(image, truth, PIXEL), [empty, image], stop=False)
    assert (len(levels), reason) == (2, "")


@pytest.mark.parametrize(("mask", "sign"), [(np.zeros((5, 5), bool), -1), (np.ones((5, 5), bool), 1)])
def test_the_distance_from_no_outline_is_finite(mask, sign):
    level = signed_distance(mask, PIXEL)
    assert np.isfinite(level).all()
    assert (np.sign(level) == sign).all()
