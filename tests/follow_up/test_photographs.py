"""Photographs of one eye are registered to within a pixel; those of two eyes are refused."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medseg.errors import UnsuitableError
from medseg.follow_up.photographs import Photograph, fitted, register_photographs, vessel_overlap
from medseg.follow_up.repeatability.photograph import retake_photograph
from medseg.phantoms.retina import fundus


@pytest.fixture(scope="module")
def eye():
    picture, mask, field = fundus(480, seed=5)
    return Photograph(np.moveaxis(picture, -1, 0), mask > 0, field)


def taken_again(photograph, seed):
    again = retake_photograph(photograph.picture, photograph.field, np.random.default_rng(seed))
    vessels = map_coordinates(photograph.vessels.astype(np.uint8), again.to_source, order=0) > 0
    field = photograph.field & again.picture.any(axis=0)
    return Photograph(again.picture, vessels & field, field), again.to_source


@pytest.fixture(scope="module")
def pair(eye):
    again, to_source = taken_again(eye, 4)
    return again, to_source, register_photographs(again, eye)


def test_a_bent_and_shifted_retina_is_found_to_a_pixel(pair):
    _, to_source, found = pair
    places = np.argwhere(found.shared)[::97]
    true = to_source[:, places[:, 0], places[:, 1]].T
    away = np.linalg.norm(found.to_later(places) - true, axis=1)
    assert away.mean() < 0.7
    assert np.percentile(away, 95) < 1.5
    assert found.overlap > 0.9


def test_the_way_back(pair, eye):
    _, _, found = pair
    places = np.argwhere(found.shared)[::97].astype(float)
    back = found.to_later.inverse(eye.field.shape)
    np.testing.assert_allclose(back(found.to_later(places)), places, atol=0.5)


def test_the_other_eye_is_refused(eye):
    mirrored = Photograph(
        *(np.ascontiguousarray(array[..., ::-1]) for array in (eye.picture, eye.vessels, eye.field))
    )
    with pytest.raises(UnsuitableError, match="of one eye"):
        register_photographs(eye, mirrored)


def test_vessels_that_do_not_lie_on_each_other_are_refused(eye, pair):
    """Features alone are not believed: here they agree, and the masks are of two eyes."""
    again = pair[0]
    other = Photograph(again.picture, np.ascontiguousarray(again.vessels[:, ::-1]) & again.field, again.field)
    with pytest.raises(UnsuitableError, match="of the vessels on each other"):
        register_photographs(other, eye)


def test_a_blank_photograph_is_refused(eye):
    blank = Photograph(np.full_like(eye.picture, 90), eye.vessels, eye.field)
    with pytest.raises(UnsuitableError, match="features"):
        register_photographs(eye, blank)


def test_no_vessels_overlap_nothing(eye):
    assert vessel_overlap(eye, np.zeros_like(eye.vessels), eye.field) == 0


def test_zoom_and_turn_of_a_map():
    places = np.random.default_rng(0).uniform(0, 400, (50, 2))
    angle, zoom = np.radians(7), 1.25
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = fitted(places, places @ turn.T + (3, -8), "quadratic")
    assert found.zoom == pytest.approx(zoom)
    assert found.turn_deg == pytest.approx(7)
