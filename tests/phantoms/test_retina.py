"""The phantoms are what they say: the measures are tested against them."""

from __future__ import annotations

import numpy as np
import pytest

from medseg import phantoms


@pytest.fixture(scope="module")
def eye() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return phantoms.fundus(400)


@pytest.mark.seconds
def test_fundus_has_the_stated_axes_and_types(eye):
    picture, mask, field = eye
    assert (picture.shape, picture.dtype) == ((400, 400, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((400, 400), np.uint8)
    assert (field.shape, field.dtype) == ((400, 400), bool)
    assert set(np.unique(mask)) == {0, 1}


def test_fundus_field_is_a_disc_on_black(eye):
    picture, mask, field = eye
    assert np.ptp(np.flatnonzero(field.any(axis=0))) + 1 == pytest.approx(0.92 * 400, abs=2)
    assert field.sum() == pytest.approx(np.pi * (0.46 * 400) ** 2, rel=0.01)
    assert picture[~field].max() == 0
    assert not mask[~field].any()


def test_fundus_looks_like_an_eye(eye):
    picture, mask, field = eye
    red, green, blue = (picture[field & (mask == 0)][:, c].mean() for c in range(3))
    assert red > 1.4 * green > 1.4 * 1.4 * blue
    green_at = {name: _green_near(picture, point) for name, point in _landmarks().items()}
    assert green_at["disc"] > 1.3 * green > 1.3 * 1.3 * green_at["fovea"]


def test_fundus_vessels_are_darker_than_what_lies_next_to_them(eye):
    from scipy.ndimage import binary_dilation

    picture, mask, field = eye
    beside = binary_dilation(mask, iterations=4) & ~binary_dilation(mask, iterations=2) & field
    assert picture[mask == 1][:, 1].mean() < 0.85 * picture[beside][:, 1].mean()
    assert 0.05 < mask[field].mean() < 0.15


@pytest.mark.seconds
def test_fundus_is_the_same_for_the_same_seed_only(eye):
    again, other = phantoms.fundus(400), phantoms.fundus(400, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(eye, again, strict=True))
    assert not np.array_equal(eye[1], other[1])


@pytest.mark.parametrize("angle_deg", [0, 20, 45, 90])
def test_bar_has_the_area_of_its_sides(angle_deg):
    shifts = [(0.1 * k, 0.03 * k) for k in range(10)]
    areas = [phantoms.bar(200, 120, 7, angle_deg, shift).sum() for shift in shifts]
    assert np.mean(areas) == pytest.approx(120 * 7, rel=0.03)


def test_bar_at_90_degrees_lies_along_the_rows_axis():
    inside = phantoms.bar(100, 60, 4, 90)
    assert (inside.any(axis=1).sum(), inside.any(axis=0).sum()) == (60, 4)


def test_stroke_is_a_stadium_where_it_was_put():
    picture = np.zeros((60, 120), dtype=bool)
    phantoms.stroke(picture, np.array([(30.2, 20.0), (30.2, 100.0)]), 9)
    assert picture.sum() == pytest.approx(80 * 9 + np.pi * 4.5**2, rel=0.02)
    assert np.argwhere(picture).mean(axis=0) == pytest.approx((30.2, 60), abs=0.3)


def test_stroke_tapers_and_is_cut_at_the_edge_of_the_picture():
    picture = np.zeros((40, 100), dtype=bool)
    phantoms.stroke(picture, np.array([(20.0, -30.0), (20.0, 130.0)]), np.array([4.0, 20.0]))
    assert picture[:, 0].sum() == pytest.approx(4 + 16 * 30 / 160, abs=1)
    assert picture[:, 99].sum() == pytest.approx(4 + 16 * 129 / 160, abs=1)
    outside = np.zeros((10, 10), dtype=bool)
    phantoms.stroke(outside, np.array([(-30.0, -30.0), (-20.0, 30.0)]), 5)
    assert not outside.any()


def test_sierpinski_triples_when_its_side_doubles():
    assert [int(phantoms.sierpinski(order).sum()) for order in range(4)] == [1, 3, 9, 27]


def _landmarks() -> dict[str, np.ndarray]:
    middle, radius_px = 199.5, 0.46 * 400
    return {"disc": middle + radius_px * phantoms.DISC, "fovea": middle + radius_px * phantoms.FOVEA}


def _green_near(picture: np.ndarray, point: np.ndarray) -> float:
    row, column = np.round(point).astype(int)
    return float(np.median(picture[row - 15 : row + 16, column - 15 : column + 16, 1]))
