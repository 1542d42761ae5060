"""The chest phantom is what it says: lungs, airways and disease are where its labels put them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from medseg.phantoms import Chest, Scan, chest, scanner
from medseg.phantoms.canvas import Canvas, Grid, Noise
from medseg.phantoms.thorax import TISSUES
from medseg.phantoms.trees import grow

pytestmark = pytest.mark.seconds

QUIET = Scan(shape=(76, 76, 68), spacing_mm=(5.0, 5.0, 5.0), noise_hu=0)
LEFT, RIGHT, AIRWAY = 1, 2, 3


@functools.cache
def built(seed=0, disease=(), scan=QUIET, **settings):
    return chest(Chest(seed=seed, disease=dict(disease), scan=scan, contrast_hu=0, **settings))


def centre_mm(phantom, mask):
    return phantom.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + phantom.affine[:3, 3]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def ball_grid(spacing_mm=2.0, side=40):
    affine = np.diag([spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (-39.3, 39.1, -39.7)
    return Grid((side, side, side), affine)


def test_arrays_share_one_grid_and_its_types():
    phantom = built()
    assert (phantom.array.shape, phantom.array.dtype) == (QUIET.shape, np.int16)
    assert (phantom.labels.shape, phantom.labels.dtype) == (QUIET.shape, np.uint8)
    assert phantom.tissue.shape == QUIET.shape
    assert set(np.unique(phantom.labels)) == {0, 1, 2, 3}
    assert np.allclose(np.linalg.norm(phantom.affine[:3, :3], axis=0), 5)


def test_organs_lie_where_they_do_in_people():
    """x grows to the right, y to the front, z to the head (RAS+)."""
    phantom = built()
    right, left = (centre_mm(phantom, phantom.labels == label) for label in (RIGHT, LEFT))
    heart, liver, spine = (centre_mm(phantom, phantom.mask(name)) for name in ("heart", "liver", "canal"))
    trachea = centre_mm(phantom, phantom.labels == AIRWAY)
    assert right[0] > heart[0] + 30 > left[0] + 30
    assert liver[0] > heart[0]
    assert liver[2] < heart[2] < trachea[2]
    assert spine[1] < min(right[1], left[1], heart[1])


@pytest.mark.parametrize("seed", range(3))
def test_each_lung_and_the_airway_are_of_one_piece(seed):
    from scipy.ndimage import label

    phantom = built(seed)
    for value, share in ((LEFT, 0.985), (RIGHT, 0.985), (AIRWAY, 0.9)):
        pieces, count = label(phantom.labels == value, np.ones((3, 3, 3)))
        assert np.bincount(pieces.ravel())[1:].max() > share * (pieces > 0).sum(), (value, count)


@pytest.mark.parametrize("seed", range(3))
def test_volumes_and_attenuation_are_those_of_people(seed):
    phantom = built(seed)
    assert 900 < phantom.volumes_ml["left_lung"] < 5000
    assert 0.8 < phantom.volumes_ml["right_lung"] / phantom.volumes_ml["left_lung"] < 1.7
    assert 15 < phantom.volumes_ml["airway"] < 150
    medians = {
        name: np.median(phantom.array[phantom.mask(name)]) for name in ("lung", "heart", "fat", "liver")
    }
    assert -930 < medians["lung"] < -650
    assert 20 < medians["heart"] < 80
    assert -120 < medians["fat"] < -80
    assert 30 < medians["liver"] < 80
    assert np.percentile(phantom.array[phantom.labels == AIRWAY], 25) < -850
    assert np.percentile(phantom.array[phantom.mask("bone")], 75) > 250
    assert phantom.array[~phantom.mask("body", "table", "clothes")].max() < 200


def test_seed_alone_decides():
    again = chest(Chest(seed=0, disease={}, scan=QUIET, contrast_hu=0))
    assert np.array_equal(again.array, built().array)
    assert np.array_equal(again.labels, built().labels)
    assert dice(built(1).labels > 0, built().labels > 0) < 0.97


def test_what_is_not_said_is_drawn():
    phantoms = [chest(seed=seed, shape=(40, 40, 30)) for seed in range(3)]
    assert len({p.settings["scan"].kernel for p in phantoms}) > 1
    assert len({tuple(lesion["name"] for lesion in p.settings["lesions"]) for p in phantoms}) > 1
    assert all(p.array.shape == (40, 40, 30) for p in phantoms)


def test_a_finer_grid_shows_the_same_person():
    fine = built(scan=dataclasses.replace(QUIET, shape=(114, 114, 102), spacing_mm=(10 / 3,) * 3))
    for name in ("left_lung", "right_lung"):
        assert fine.volumes_ml[name] == pytest.approx(built().volumes_ml[name], rel=0.02)


def test_tilted_and_oblique_slices_show_the_same_place():
    """Each label of the other grid, looked up through both affines."""
    straight = built()
    for scan in (
        dataclasses.replace(QUIET, tilt_deg=20.0, offset_mm=(5, 7, 9)),
        dataclasses.replace(QUIET, turn_deg=(15, -10, 20), oblique=True, offset_mm=(5, 7, 9)),
    ):
        other = built(scan=scan)
        shift = np.eye(4)
        shift[:3, 3] = (5, 7, 9)
        to_straight = np.linalg.inv(straight.affine) @ np.linalg.inv(shift) @ other.affine
        index = np.argwhere(np.ones(QUIET.shape, bool))
        there = np.rint(index @ to_straight[:3, :3].T + to_straight[:3, 3]).astype(int)
        inside = ((there >= 0) & (there < QUIET.shape)).all(axis=1)
        seen = np.zeros(QUIET.shape, np.uint8)
        seen[tuple(index[inside].T)] = straight.labels[tuple(there[inside].T)]
        covered = np.zeros(QUIET.shape, bool)
        covered[tuple(index[inside].T)] = True
        for label in (LEFT, RIGHT):
            assert dice(seen == label, (other.labels == label) & covered) > 0.95


def test_tilt_shears_the_grid():
    affine = built(scan=dataclasses.replace(QUIET, tilt_deg=20.0, offset_mm=(5, 7, 9))).affine
    row, column, step = affine[:3, :3].T
    assert np.allclose(step, (0, 0, 5))
    assert np.degrees(np.arccos(np.cross(row, column) @ step / 125)) == pytest.approx(20)


def test_effusion_takes_room_in_the_cavity_where_gravity_pulls():
    healthy = built()
    for position, front in (("supine", -1), ("prone", 1)):
        wet = built(disease=(("effusion", 0.6),), position=position)
        fluid = wet.mask("effusion")
        assert wet.volumes_ml["effusion"] > 200
        for side in ("left_lung", "right_lung"):
            assert wet.volumes_ml[side] == pytest.approx(healthy.volumes_ml[side], rel=0.02)
        assert np.isin(wet.labels[fluid], (LEFT, RIGHT)).mean() > 0.98
        assert -10 < np.median(wet.array[fluid]) < 40
        ahead = centre_mm(wet, fluid)[1] - centre_mm(wet, (wet.labels > 0) & (wet.labels < 3) & ~fluid)[1]
        assert front * ahead > 20


def test_pneumothorax_is_air_in_the_cavity():
    phantom = built(disease=(("pneumothorax", 0.7),))
    air = phantom.mask("pneumothorax")
    assert air.sum() * 0.125 > 100
    assert np.isin(phantom.labels[air], (LEFT, RIGHT)).mean() > 0.98
    assert np.median(phantom.array[air]) < -980


@pytest.mark.parametrize(
    ("name", "low_hu", "high_hu"),
    [
        ("consolidation", -150, 100),
        ("ground_glass", -750, -300),
        ("fibrosis", -950, 0),
        ("emphysema", -1000, -880),
        ("atelectasis", -700, 100),
        ("nodule", -700, 100),
    ],
)
def test_diseased_tissue_is_lung(name, low_hu, high_hu):
    healthy, ill = built(3), built(3, ((name, 0.8),))
    where = ill.mask(name)
    assert where.any()
    assert set(np.unique(ill.labels[where])) <= {LEFT, RIGHT}
    assert low_hu < np.median(ill.array[where]) < high_hu
    # The labels are those of the healthy lung: disease of the tissue changes its look, not its border.
    assert dice(ill.labels == LEFT, healthy.labels == LEFT) > 0.99
    assert any(lesion["name"] == name for lesion in ill.settings["lesions"])


def test_contrast_medium_brightens_blood():
    bright = chest(Chest(seed=0, disease={}, scan=QUIET, contrast_hu=250))
    assert np.percentile(bright.array[bright.mask("heart")], 80) > 180
    assert abs(np.median(bright.array[bright.mask("fat")]) + 100) < 15


def test_thick_slices_average_what_thin_ones_show():
    thin = built(scan=dataclasses.replace(QUIET, shape=(76, 76, 112), spacing_mm=(5, 5, 3)))
    thick = built(scan=dataclasses.replace(QUIET, shape=(76, 76, 56), spacing_mm=(5, 5, 6)))
    assert thick.volumes_ml["left_lung"] == pytest.approx(thin.volumes_ml["left_lung"], rel=0.03)
    edge = np.abs(np.diff(thick.array.astype(float), axis=2)).max()
    assert edge < np.abs(np.diff(thin.array.astype(float), axis=2)).max() * 1.05
    # Two thin slices make a thick one, but for noise of the tissue and the rounding.
    pairs = thin.array.reshape(76, 76, 56, 2).mean(axis=3)
    assert np.median(np.abs(pairs - thick.array)[thin.labels[..., ::2] == 0]) < 40


@pytest.mark.parametrize(
    ("step_mm", "thickness_mm", "weights"),
    [
        (3, 3, [1]),
        (6, 6, [1 / 3] * 3),
        (6, 2, [1]),
        (3, 6, [0.25, 0.5, 0.25]),
        (3, 4.2, [1 / 7, 5 / 7, 1 / 7]),
    ],
)
def test_a_slice_has_a_box_profile_of_its_thickness(step_mm, thickness_mm, weights):
    scan = Scan(
        shape=(4, 4, 5), spacing_mm=(9, 9, step_mm), thickness_mm=thickness_mm, noise_hu=0, kernel="soft"
    )
    canvas = Canvas(scanner.grid(scan))
    z = canvas.grid.points(canvas.grid.everything)[2].ravel()
    at = int(np.argmin(np.abs(z - scan.centre_mm[2])))
    assert z[at] == pytest.approx(scan.centre_mm[2], abs=1e-4)
    canvas.hu[:] = 0
    middle = len(weights) // 2
    for place in range(len(weights)):
        canvas.hu[..., at + place - middle] = 1000 * 10**-place
    labels = np.zeros(canvas.hu.shape, np.uint8)
    labels[..., at] = 1
    array, found, _ = scanner.acquire(canvas, labels, scan, np.random.default_rng(0))
    expected = sum(w * 1000 * 10**-n for n, w in enumerate(weights))
    assert array[1, 1, 2] == pytest.approx(expected, abs=1)
    assert list(found[0, 0]) == [0, 0, 1, 0, 0]


def test_noise_and_padding_are_as_wished():
    plain = built()
    noisy = built(scan=dataclasses.replace(QUIET, noise_hu=30.0, padding_hu=-2000))
    assert (noisy.array[0, 0] == -2000).all()
    assert noisy.array[38, 38].min() > -2000
    middle = np.s_[24:52, 24:52, 24:40]
    assert 15 < np.std(noisy.array[middle].astype(int) - plain.array[middle]) < 80


def test_paint_keeps_the_volume_of_an_ellipsoid():
    from medseg.phantoms.canvas import ellipsoid

    canvas = Canvas(ball_grid())
    canvas.paint(lambda *p: ellipsoid(p, (1.0, -2.0, 0.5), (21.0, 14.0, 9.0)), 0, 5)
    expected_ml = 4 / 3 * np.pi * 21 * 14 * 9 / 1000
    assert (canvas.hu + 1000).sum() / 1000 * canvas.grid.voxel_ml == pytest.approx(expected_ml, rel=0.02)
    assert (canvas.tissue == 5).sum() * canvas.grid.voxel_ml == pytest.approx(expected_ml, rel=0.03)


@pytest.mark.parametrize("radius_mm", [0.5, 1.5, 5])
def test_tubes_keep_their_cross_section_even_below_a_voxel(radius_mm):
    canvas = Canvas(ball_grid())
    canvas.tubes(np.array([[-30.2, -20.1, 3.3, 30.4, 22.7, -5.2, radius_mm, radius_mm]]), 0, 5)
    length = np.linalg.norm([60.6, 42.8, -8.5])
    painted_mm3 = (canvas.hu + 1000).sum() / 1000 * canvas.grid.voxel_ml * 1000
    assert painted_mm3 == pytest.approx(np.pi * radius_mm**2 * length, rel=0.2, abs=5)
    assert bool((canvas.tissue == 5).any()) is (radius_mm > 1)


def test_smooth_noise_has_unit_deviation_and_no_seam_between_boxes():
    noise = Noise(ball_grid(1.0), np.random.default_rng(0))
    field = noise.smooth(4.0)
    whole = field((slice(0, 40), slice(0, 40), slice(0, 40)))
    assert whole.shape == (40, 40, 40)
    assert whole.std() == pytest.approx(1, rel=0.2)
    part = field((slice(7, 19), slice(3, 40), slice(11, 12)))
    assert np.allclose(part, whole[7:19, 3:40, 11:12], atol=1e-4)
    neighbours = np.corrcoef(whole[1:].ravel(), whole[:-1].ravel())[0, 1]
    assert neighbours > 0.9


def test_a_tree_reaches_every_target_and_thins():
    random = np.random.default_rng(0)
    targets = random.uniform(-40, 40, (60, 3))
    tubes, generations = grow(np.zeros(3), targets, 5.0, random, generation=2)
    assert generations.min() == 2
    nearest = np.linalg.norm(targets[:, None] - tubes[None, :, 3:6], axis=2).min(axis=1)
    assert nearest.max() < 1e-9
    assert tubes[0, 6] == 5.0
    assert tubes[:, 6].min() == pytest.approx(5 * 60 ** (-1 / 2.6))
    starts = np.linalg.norm(tubes[1:, None, :3] - tubes[None, :, 3:6], axis=2).min(axis=1)
    assert starts.max() < 1e-9


def test_mask_knows_tissues_and_labels():
    phantom = built()
    assert np.array_equal(phantom.mask("left_lung"), phantom.labels == LEFT)
    assert np.array_equal(
        phantom.mask("heart", "liver"), np.isin(phantom.tissue, [TISSUES["heart"], TISSUES["liver"]])
    )
    body = phantom.mask("body")
    assert body[phantom.labels > 0].all()
    assert not body[phantom.mask("table")].any()
