"""Two images on one grid: resampled where they lie, or refused with a reason."""

import numpy as np
import pytest

from medseg.errors import UnsuitableError
from medseg.similarity.alignment import aligned
from medseg.similarity.comparison import compare_images
from medseg.volume import Volume


def sphere(spacing_mm, origin_mm=(0, 0, 0), size=24, axes=(1, 1, 1)):
    """A volume that shows a ball of 12 mm around (24, 24, 24) mm, soft at its border."""
    affine = np.diag([*(spacing_mm * np.array(axes)), 1.0])
    affine[:3, 3] = origin_mm
    index = np.indices((size,) * 3).reshape(3, -1)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    away = np.linalg.norm(place - 24, axis=0).reshape((size,) * 3)
    return Volume(np.clip(100 * (14 - away), -1000, 200)[None].astype(np.float32), affine, "ball.nii.gz")


def picture(shape, seed=0):
    return Volume(np.random.default_rng(seed).integers(0, 256, (1, *shape)).astype(np.uint8))


def test_the_same_grid_is_left_alone():
    a, b = sphere(2.0), sphere(2.0)
    pair = aligned(a, b)
    assert pair.a is a.array
    assert pair.b is b.array
    assert (pair.overlap, pair.inside) == (1, None)


@pytest.mark.parametrize(
    "other",
    [
        sphere(1.0, size=48),
        sphere(2.0, (-6.5, 3.25, 10), size=30),
        sphere(2.0, (46, 46, 0), axes=(-1, -1, 1)),  # stored from right to left and from front to back
    ],
)
def test_a_volume_is_resampled_to_where_it_lies(other):
    a = sphere(2.0)
    pair = aligned(a, other)
    inside = np.ones(pair.a.shape[1:], bool) if pair.inside is None else pair.inside
    difference = np.abs(pair.a[0] - pair.b[0])[inside]
    # Linear interpolation errs at the bends of the profile alone.
    assert np.median(difference) < 3  # of a range of 1200
    assert difference.max() < 80
    assert 0.4 < pair.overlap <= 1


def test_the_overlap_is_counted():
    pair = aligned(sphere(2.0), sphere(2.0, (24, 0, 0)))
    assert pair.overlap == pytest.approx(0.5)
    assert pair.a.shape == (1, 12, 24, 24)
    assert "50.0%" in pair.grid


def test_a_turned_volume_has_an_overlap_that_is_no_box():
    a, b = sphere(2.0), sphere(2.0)
    turn = np.eye(4)
    angle = np.radians(30)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pair = aligned(a, Volume(b.array, turn @ b.affine))
    assert pair.inside is not None
    assert 0.2 < pair.inside.mean() < 1


def test_a_picture_of_another_size_is_resized_with_a_warning():
    large = picture((80, 120))
    small = Volume(large.array.reshape(1, 40, 2, 60, 2).mean(axis=(2, 4)))
    found = compare_images(small, large)
    assert "resized from 120 x 80 px to 60 x 40 px" in found.warnings[0]
    assert found.measures["normalised_cross_correlation"]["value"] > 0.8


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (picture((40, 60)), picture((60, 40)), "the same aspect ratio"),
        (picture((40, 60)), sphere(2.0), "a picture and a volume"),
        (picture((40, 60)), Volume(np.zeros((3, 40, 60), np.uint8)), "the same number of channels"),
        (sphere(2.0), sphere(2.0, (500, 0, 0)), "volumes that overlap"),
        (
            sphere(2.0),
            Volume(np.full((1, 24, 24, 24), np.nan), sphere(2.0).affine),
            "numbers in the same places",
        ),
    ],
)
def test_what_can_not_be_compared(a, b, message):
    with pytest.raises(UnsuitableError, match=message):
        aligned(a, b)


def test_voxels_without_a_number_are_left_out():
    a, b = sphere(2.0), sphere(2.0)
    b.array[0, :5] = np.nan
    found = compare_images(a, b)
    assert "left out" in found.warnings[0]
    assert found.measures["ssim"]["value"] == pytest.approx(1)
    assert found.measures["normalised_cross_correlation"]["value"] == pytest.approx(1)
