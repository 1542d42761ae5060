"""A CT taken again shows the same body elsewhere, as noisy, thick and sharp as it was asked for."""

import numpy as np
import pytest

from medseg.follow_up.repeatability.scan import Retake, draw_retake, retake_scan
from medseg.volume import Volume

BALL_MM, SPACING = 20.0, (1.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def ball():
    """A dense ball in lung, off the middle, and its centre in mm."""
    affine = np.diag([*SPACING, 1.0])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (80, 80, 40)), indexing="ij"), -1) * SPACING
    centre = np.array([46.0, 36.0, 42.0])
    hu = np.where(np.linalg.norm(grid - centre, axis=-1) < BALL_MM, 40, -850).astype(np.int16)
    return Volume(hu[None], affine=affine), centre


def centre_and_ml(volume):
    places = np.argwhere(volume.array[0] > -400)
    voxel_ml = abs(np.linalg.det(volume.affine[:3, :3])) / 1000
    return places.mean(axis=0) @ volume.affine[:3, :3].T + volume.affine[:3, 3], len(places) * voxel_ml


def test_the_body_moves_and_keeps_its_volume(ball):
    volume, centre = ball
    retake = Retake(shift_mm=(5.0, -3.0, 4.0), turn_deg=(0.0, 0.0, 90.0), zoom=1.1)
    again = retake_scan(volume, retake, np.random.default_rng(0))
    middle = np.array([39.5, 39.5, 39.0])
    turned = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ (centre - middle) + middle
    found, ml = centre_and_ml(again)
    np.testing.assert_allclose(found, turned + retake.shift_mm, atol=0.3)
    assert ml == pytest.approx(centre_and_ml(volume)[1], rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(again.affine[:3, :3], axis=0), (1.1, 1.1, 2.0))


def test_noise_is_what_was_asked_for_and_thick_slices_blur(ball):
    volume, _ = ball
    noisy = retake_scan(volume, Retake(noise_hu=20.0), np.random.default_rng(0)).array[0]
    assert 12 < noisy[5:20, 5:20].std() < 40
    thick = retake_scan(volume, Retake(thickness=2.0), np.random.default_rng(0)).array[0]
    assert np.count_nonzero((thick > -700) & (thick < -100)) > np.count_nonzero(
        (volume.array[0] > -700) & (volume.array[0] < -100)
    )


def test_strength_grades_and_a_seed_repeats():
    assert draw_retake(np.random.default_rng(0), 0.0) == Retake()
    draws = [draw_retake(np.random.default_rng(1), strength) for strength in (0.5, 1.0, 1.0)]
    assert draws[1] == draws[2]
    assert np.abs(draws[0].shift_mm).max() < np.abs(draws[1].shift_mm).max()
