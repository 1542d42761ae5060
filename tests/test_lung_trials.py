"""What is known exactly of lungs that nobody has drawn."""

import numpy as np
import pytest
from lung_trials import PAINTS, agreement, lung_dice, painted, stray_ml


@pytest.fixture(scope="module")
def chest(chest_phantom):
    return np.maximum(chest_phantom.array, -1024).astype(np.int16), chest_phantom.labels, chest_phantom.affine


@pytest.mark.seconds
def test_known_lungs_are_no_stray_lung(chest):
    hu, known, affine = chest
    assert stray_ml(known, hu, known, affine) == 0
    assert stray_ml(np.zeros_like(known), hu, known, affine) == 0


@pytest.mark.seconds
def test_air_beside_the_body_is_stray_lung(chest):
    hu, known, affine = chest
    mask = known.copy()
    mask[:4, :8, 40:50] = 1
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    assert stray_ml(mask, hu, known, affine) == pytest.approx(4 * 8 * 10 * voxel_ml, rel=0.2)


@pytest.mark.seconds
def test_tissue_far_from_lung_is_stray_and_between_the_lungs_is_not(chest):
    hu, known, affine = chest
    below = ((0, 0), (0, 0), (25, 0))  # more of what the lowest slice shows: 80 mm of abdomen
    hu, known = np.pad(hu, below, mode="edge"), np.pad(known, below)
    hu[..., :25][hu[..., :25] < -100] = -1000
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    soft = (hu > 0) & (hu < 150) & (known == 0)
    lung = np.isin(known, (1, 2))
    far = soft.copy()
    far[..., 10:] = False
    mask = known.copy()
    mask[far] = 2
    assert far.any()
    assert stray_ml(mask, hu, known, affine) > 0.8 * far.sum() * voxel_ml
    # The heart lies in the hull of the lungs: what is wrong there can not be told from dense lung.
    middle = known.copy()
    slices = slice(70, 75)
    inner = soft[..., slices] & _hull(lung[..., slices])
    middle[..., slices][inner] = 1
    assert stray_ml(middle, hu, known, affine) < 0.02 * inner.sum() * voxel_ml


def _hull(lung):
    from skimage.morphology import convex_hull_image

    return np.stack([convex_hull_image(plane) for plane in np.moveaxis(lung, 2, 0)], axis=2)


@pytest.mark.parametrize("paint", PAINTS)
def test_paint_is_in_known_lung_alone(chest, paint):
    hu, known, affine = chest
    dense = painted(hu, known, affine, paint)
    changed = dense != hu
    assert np.isin(known[changed], (1, 2)).all()
    assert dense[changed].mean() == pytest.approx(35, abs=1)
    assert dense[changed].std() == pytest.approx(20, abs=1)
    share = changed.sum() / np.isin(known, (1, 2)).sum()
    assert 0.4 < share < 0.6
    assert np.array_equal(dense, painted(hu, known, affine, paint))


def test_the_lower_half_is_below_whatever_the_order_of_slices(chest):
    hu, known, affine = chest
    upside_down = affine @ np.diag([1, 1, -1, 1.0])
    upside_down[:3, 3] += affine[:3, 2] * (hu.shape[2] - 1)
    one = painted(hu, known, affine, "lower_half") != hu
    other = painted(hu[..., ::-1], known[..., ::-1], upside_down, "lower_half") != hu[..., ::-1]
    heights = [np.nonzero(changed)[2].mean() for changed in (one, other[..., ::-1])]
    assert heights[0] == pytest.approx(heights[1], abs=1)
    assert heights[0] < np.nonzero(np.isin(known, (1, 2)))[2].mean()


def test_scores():
    known = np.array([[[1, 1, 2, 2, 0, 3]]])
    mask = np.array([[[1, 0, 2, 2, 0, 3]]])
    assert lung_dice(mask, known) == {
        "left_lung": pytest.approx(2 / 3), "right_lung": 1, "lungs": pytest.approx(5 / 6)
    }  # fmt: skip
    assert agreement(mask, known, np.array([[[0, 1, 1, 0, 0, 0]]])) == {"corrected": 2, "right": 0.5}
