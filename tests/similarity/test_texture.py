"""Texture and intensity descriptors: known pictures, and scikit-image's own properties."""

import numpy as np
import pytest

from medseg.similarity.intensity import intensity_descriptor
from medseg.similarity.texture import LEVELS, OUTSIDE, cooccurrence, lbp_histogram, planes_of, to_levels


def stripes(period=8, shape=(64, 64)):
    return np.broadcast_to((np.arange(shape[1]) // (period // 2) % 2 * 200.0), shape)


def test_levels_span_the_range():
    levels = to_levels(np.array([[-1.0, 0, 50, 100, 300]]), 0, 100)
    assert levels.tolist() == [[0, 0, LEVELS // 2, LEVELS - 1, LEVELS - 1]]


def test_a_plain_picture_has_one_pair_of_levels():
    matrix = cooccurrence([np.full((9, 9), 3, np.uint8)])
    assert matrix[3, 3] == pytest.approx(1)
    assert matrix.sum() == pytest.approx(1)


def test_pairs_with_the_outside_do_not_count():
    levels = np.full((9, 9), 3, np.uint8)
    levels[:, 5:] = OUTSIDE
    assert cooccurrence([levels])[3, 3] == pytest.approx(1)
    assert not cooccurrence([np.full((9, 9), OUTSIDE, np.uint8)]).any()
    half = lbp_histogram([levels])
    assert half.sum() == pytest.approx(1)
    assert np.count_nonzero(half) == 1  # the border of the outside is no texture


def test_patterns_do_not_depend_on_a_quarter_turn():
    levels = np.random.default_rng(0).integers(0, LEVELS, (40, 40)).astype(np.uint8)
    assert lbp_histogram([levels]) == pytest.approx(lbp_histogram([np.rot90(levels)]), abs=0.02)


def test_planes_of_a_volume_are_inside_and_few():
    assert len(planes_of(np.zeros((4, 5, 100)))) == 16
    assert len(planes_of(np.zeros((4, 5, 3)))) == 3
    assert len(planes_of(np.zeros((4, 5, 1)))) == 1
    assert [plane.shape for plane in planes_of(np.zeros((4, 5)))] == [(4, 5)]


def test_texture_does_not_tell_the_brightness():
    one, two = (intensity_descriptor(image[None]) for image in (stripes(), 3 * stripes() + 40))
    assert one[17:] == pytest.approx(two[17:])
    assert not np.allclose(one[:17], two[:17])
    assert not np.allclose(one[17:], intensity_descriptor(stripes(16)[None])[17:])


@pytest.mark.parametrize("shape", [(1, 30, 40), (3, 30, 40), (1, 20, 22, 24)])
def test_the_length_depends_on_the_channels_alone(shape):
    found = intensity_descriptor(np.random.default_rng(0).normal(size=shape))
    assert found.shape == (shape[0] * 47,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_constant_image_is_described():
    assert np.isfinite(intensity_descriptor(np.full((1, 30, 40), 5.0))).all()
