"""Classical lung segmentation on a torso of ellipsoids, on chest phantoms and on two labelled CTs."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from medseg.boxes import moved, placed, within
from medseg.methods.chest import ClassicalLungs
from medseg.methods.chest.lungs import found_lungs, lungs
from medseg.morphology import (
    big_components,
    closing_depth_mm,
    coarse,
    components,
    distance_mm,
    fine,
    holes,
    repeated,
)

SPACING_MM = 3.0
SHAPE = (110, 80, 80)
X, Y, Z = (SPACING_MM * (g - (n - 1) / 2) for g, n in zip(np.indices(SHAPE), SHAPE, strict=True))


def ellipsoid(centre_mm, radii_mm) -> np.ndarray:
    return sum(((g - c) / r) ** 2 for g, c, r in zip((X, Y, Z), centre_mm, radii_mm, strict=True)) < 1


def tube(centre_mm, radius_mm, from_mm, to_mm) -> np.ndarray:
    return (np.hypot(X - centre_mm[0], Y - centre_mm[1]) < radius_mm) & (from_mm <= Z) & (to_mm >= Z)


def torso() -> tuple[np.ndarray, np.ndarray]:
    """HU and labels: a body on a table, two lungs 10 mm apart, a trachea from the top to between them."""
    hu = np.full(SHAPE, -1000)
    hu[Y < -96] = -900  # foam, between two shells
    hu[(Y < -96) & (Y > -102)], hu[(Y < -114)] = -100, -100
    hu[(X / 150) ** 2 + (Y / 96) ** 2 < 1] = 40
    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipsoid((-65, 0, -10), (60, 70, 85))] = 1
    labels[ellipsoid((65, 0, -10), (60, 70, 85))] = 2
    labels[tube((0, 20, 0), 9, 10, 120)] = 3
    hu[labels > 0] = -860
    hu[labels == 3] = -1000
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    return np.round(hu + noise).astype(np.int16), labels


def segmented(hu) -> np.ndarray:
    return lungs(hu, (SPACING_MM,) * 3)


def dice(found, truth, label) -> float:
    a, b = found == label, truth == label
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_torso_has_its_lungs_and_trachea():
    hu, truth = torso()
    found = segmented(hu)
    for label in (1, 2, 3):
        assert dice(found, truth, label) > 0.97
    assert found.dtype == np.uint8


@pytest.mark.parametrize("gone", [1, 2])
@pytest.mark.parametrize("trachea", [True, False])
def test_only_lung_has_the_right_side(gone, trachea):
    hu, truth = torso()
    hu[(truth == gone) | ((truth == 3) & (not trachea))] = 40
    found = segmented(hu)
    assert dice(found, truth, 3 - gone) > 0.96
    assert not (found == gone).any()


@pytest.mark.seconds
@pytest.mark.parametrize("line", [102, 107, 110])
def test_lungs_that_touch_are_parted_at_the_bright_line(line):
    # At 1.5 mm they meet in front, 50 mm wide, with a pleura of one voxel between.
    hu = torso()[0].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    front = np.s_[93:127, 104:116, 54:106]
    hu[front] = -860
    hu[line, 104:116, 54:106] = -600
    found = lungs(hu, (1.5, 1.5, 1.5))[front]
    # To a voxel beside the line, as the noise at its rim may have it.
    assert set(np.unique(found[: line - 94])) == {1}
    assert set(np.unique(found[line - 91 :])) == {2}


def test_vessels_and_nodules_at_the_pleura_belong_to_the_lung():
    hu, truth = torso()
    inside = (truth == 2) & (tube((70, 0, 0), 5, -60, 40) | ellipsoid((119, 0, -10), (6, 6, 6)))
    mass = ellipsoid((60, 35, -20), (20, 20, 20))
    hu[inside | mass] = 50
    found = segmented(hu)
    assert (found[inside] == 2).mean() > 0.95
    assert (found[mass] == 2).all()


def test_gas_and_stool_are_no_lung():
    hu, truth = torso()
    gas, stool = ellipsoid((0, -76, 20), (40, 12, 30)), ellipsoid((70, 30, -112), (22, 22, 18)) & (Z < -98)
    hu[gas], hu[stool] = -1000, -600
    found = segmented(hu)
    assert not found[gas | (stool & (Z < -104))].any()
    assert dice(found, truth, 1) > 0.97
    assert dice(found, truth, 2) > 0.97


@pytest.mark.parametrize("padding_hu", [-2048, -1023.99994])
def test_round_field_of_view_that_cuts_a_lung_keeps_it(padding_hu):
    """A grid's interpolation turns -1024 into a little more in some slices."""
    hu, truth = torso()
    hu = hu.astype(np.float32)
    outside = np.hypot(X + 20, Y) > 122
    hu[outside], truth[outside] = padding_hu, 0
    assert (truth == 2).sum() < 0.95 * (torso()[1] == 2).sum()
    found = segmented(hu)
    assert dice(found, truth, 1) > 0.96
    assert dice(found, truth, 2) > 0.96
    assert not found[outside].any()


def test_padding_of_the_value_of_water():
    """A program that pads with 0 makes a dense frame around the air of the room."""
    hu, truth = torso()
    around = ((14, 14), (14, 14), (5, 5))
    found = segmented(np.pad(hu, around))
    inner = found[14:-14, 14:-14, 5:-5]
    assert found.sum() == inner.sum()
    assert dice(inner, truth, 1) > 0.96
    assert dice(inner, truth, 2) > 0.96


@pytest.mark.parametrize(("half", "label"), [(np.s_[:52], 1), (np.s_[58:], 2)])
def test_crop_with_one_lung_has_the_right_side(half, label):
    hu, truth = torso()
    found = segmented(hu[half])
    assert dice(found, truth[half], label) > 0.96
    assert not (found == 3 - label).any()


def test_airway_that_opens_into_the_lung_does_not_flood_it():
    hu, truth = torso()
    hu[(np.abs(Y - 20) < 7) & (np.abs(Z - 15) < 7) & (X > 0) & (X < 60)] = -1000  # a bronchus without an end
    hu[(truth == 2) & (hu < -700) & (X > 30)] -= 60  # emphysema: nearly as dark
    found = segmented(hu)
    assert (found == 3).sum() * 0.027 < 80
    assert dice(found, truth, 2) > 0.95


def test_flat_gas_in_the_middle_is_no_trachea():
    hu, truth = torso()
    hu[truth == 3] = 40
    hu[(np.abs(X) < 24) & (np.abs(Y - 84) < 4) & (Z > 20)] = -1000  # longer and as big in section
    assert not (segmented(hu) == 3).any()


def test_dense_lung_raises_the_threshold():
    hu, truth = torso()
    hu[(truth == 1) | (truth == 2)] += 440  # -420 HU
    hu[truth == 3] = 40  # nothing is darker
    assert dice(segmented(hu), truth, 1) > 0.95


@pytest.mark.parametrize(
    "hu",
    [
        np.full((40, 40, 30), 40),
        np.full((40, 40, 30), -1000),
        np.full((40, 40, 30), -1024),
        np.full((3, 3, 3), -850),
        np.full((1, 1, 1), 0),
        np.zeros((60, 1, 5)),
    ],
)
def test_no_lung_is_all_zero(hu):
    found = segmented(hu.astype(np.float32))
    assert found.shape == hu.shape
    assert not found.any()


def test_body_without_lungs_is_all_zero():
    hu, truth = torso()
    hu[truth > 0] = 40
    assert not segmented(hu).any()


def test_box_holds_all_labels():
    hu, _ = torso()
    hu[:, :, 74:] = -1000  # the air above the head
    labels, box = found_lungs(hu, (SPACING_MM,) * 3)
    whole = segmented(hu)
    assert np.array_equal(whole[box], labels)
    assert np.count_nonzero(whole) == np.count_nonzero(labels) > 0
    assert labels.size < 0.6 * whole.size
    tops = [np.flatnonzero((labels == value).any(axis=(0, 1)))[-1] for value in (1, 2, 3)]
    assert tops[2] > max(tops[:2]) + 6  # the margin around the lungs is 5


def test_box_is_empty_where_no_lung_is():
    labels, box = found_lungs(np.full((40, 40, 30), 40), (SPACING_MM,) * 3)
    assert labels.shape == (0, 0, 0)
    assert np.zeros((40, 40, 30))[box].shape == (0, 0, 0)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), SPACING_MM])
def test_more_air_around_the_body_changes_nothing(both, spacing_mm):
    hu, truth = torso()
    if not both:
        hu[truth != 1] = np.where(truth == 0, hu, 40)[truth != 1]
    hu[0] = hu[-1] = hu[:, 0] = hu[:, -1] = -1000
    more = ((4, 10), (6, 2), (0, 0))
    wide = np.pad(hu, more, constant_values=-1000)
    spacing_mm = np.broadcast_to(spacing_mm, 3)
    assert np.array_equal(lungs(wide, spacing_mm), np.pad(lungs(hu, spacing_mm), more))


@pytest.mark.seconds
def test_module_is_the_function_as_a_network():
    hu, _ = torso()
    pair = torch.from_numpy(np.stack([hu, hu[::-1]])[:, None].astype(np.float32))
    scores = ClassicalLungs(SPACING_MM)(pair)
    assert scores.shape == (2, 4, *SHAPE)
    assert scores.dtype == torch.float32
    # At the border of a lung the HU have the say, elsewhere the labels.
    for score, image in zip(scores, (hu, hu[::-1]), strict=True):
        assert (score.argmax(0).numpy() != segmented(image)).mean() < 1e-3


def test_input_is_left_as_it_was():
    hu, _ = torso()
    before = hu.copy()
    segmented(hu)
    assert np.array_equal(hu, before)


@pytest.mark.parametrize("disease", [{}, {"emphysema": 0.7}])
@pytest.mark.seconds
def test_chest_phantom(disease):
    from medseg.phantoms import Scan, chest

    phantom = chest(seed=1, disease=disease, scan=Scan(shape=(110, 110, 90), spacing_mm=(3.5, 3.5, 3.7)))
    # i of a phantom runs to the left, j to the back.
    found, truth = lungs(phantom.array[::-1, ::-1], (3.5, 3.5, 3.7)), phantom.labels[::-1, ::-1]
    for label, least in ((1, 0.97), (2, 0.97), (3, 0.8)):
        assert dice(found, truth, label) > least


@pytest.mark.seconds
def test_labelled_cts(data_root):
    from medseg.io import read_volume

    folder = data_root / "lung_ct"
    # Both are stored to the left, to the back, to the head.
    ct, truth, right_ct, right = (
        read_volume(folder / name).array[0, ::-1, ::-1]
        for name in (
            "cip_64/ct-64.nrrd",
            "cip_64/lm-64.nrrd",
            "elastix_right_lung/3DCT_lung.mha",
            "elastix_right_lung/3DCT_lung_baseline_mask.mha",
        )
    )
    found = lungs(ct, (4.17, 4.17, 3.99))
    # Thirds of the left lung are 9 to 11, of the right lung 12 to 14; the second byte is 2 in the airway.
    region, airway = truth & 255, truth >> 8 == 2
    assert dice(found, np.isin(region, (9, 10, 11)), 1) > 0.98
    assert dice(found, np.isin(region, (12, 13, 14)) * 2, 2) > 0.98
    assert dice(found, airway * 3, 3) > 0.75
    found = lungs(right_ct, (1.37, 1.37, 2.5))
    assert dice(found, right * 2, 2) > 0.975
    assert not (found == 1).any()


@pytest.mark.seconds
def test_adult_chest_at_network_spacing_takes_seconds():
    # 1.5 mm; half a second where this was written.
    hu = torso()[0].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    start = time.process_time()
    found = lungs(hu, (1.5, 1.5, 1.5))
    assert time.process_time() - start < 5
    assert set(np.unique(found)) == {0, 1, 2, 3}


@pytest.mark.parametrize("step", [(1, 1, 1), (2, 2, 2), (3, 1, 2)])
def test_coarse_and_fine_keep_a_ramp(step):
    # 13 and 7 voxels don't divide by 2 and 3: the last blocks repeat the last voxels.
    ramp = np.add.outer(np.add.outer(np.arange(12.0), np.arange(13.0)), np.arange(7.0))
    small = coarse(ramp, step)
    assert small.shape == tuple(-(-n // s) for n, s in zip(ramp.shape, step, strict=True))
    assert small[0, 0, 0] == pytest.approx(sum((s - 1) / 2 for s in step))
    inner = np.s_[3:-4, 3:-4, 2:-3]
    assert fine(small, step, ramp.shape)[inner] == pytest.approx(ramp[inner])
    assert repeated(small, step, ramp.shape)[3, 3, 3] == small[3 // step[0], 3 // step[1], 3 // step[2]]


def test_closing_fills_what_the_ball_cannot_reach():
    mask = np.ones((40, 40, 40), bool)
    mask[18:21, 18:21, 20:] = False  # a shaft 6 mm wide
    mask[5:15, 5:15, 20:] = False  # and one 20 mm wide
    mask[:, :, 30:] = False
    closed = closing_depth_mm(mask, 6.0, (2.0, 2.0, 2.0)) > 0
    assert closed[18:21, 18:21, 20:29].all()
    assert not closed[8:12, 8:12, 24:].any()
    assert not closed[:, :, 31:].any()
    assert closed[mask].all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_dilated_is_scipys(turns):
    from scipy.ndimage import binary_dilation, binary_erosion

    from medseg.morphology import dilated

    mask = np.random.default_rng(turns).random((9, 14, 11)) > 0.95
    assert np.array_equal(dilated(mask, turns), binary_dilation(mask, iterations=turns))
    eroded = binary_erosion(~mask, iterations=turns, border_value=1)
    assert np.array_equal(~dilated(mask, turns), eroded)


@pytest.mark.parametrize("in_plane", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_components_are_scipys(in_plane, share):
    from scipy.ndimage import find_objects, label

    mask = np.random.default_rng(1).random((17, 12, 15)) < share
    mask = mask[::-1, :, 1:]  # not contiguous
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[:, 1, 1] = structure[1, :, 1] = True
    structure[1, 1, :] = not in_plane
    structure[1, 1, 1] = True
    truth, _ = label(mask, structure)
    numbers, sizes = components(mask, in_plane=in_plane)
    assert np.array_equal(numbers, truth)
    assert np.array_equal(sizes, np.bincount(truth.ravel()))
    if not in_plane:
        big = [number for number in range(1, len(sizes)) if sizes[number] >= 3]
        found = big_components(mask, 3)
        assert [box for _, box in found] == [find_objects(truth)[number - 1] for number in big]
        for number, (piece, box) in zip(big, found, strict=True):
            assert np.array_equal(piece, truth[box] == number)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (3.5, 3.5, 3.7), (2.0, 5.0, 1.0)])
@pytest.mark.parametrize("most_mm", [3.0, 8.0, 13.2])
def test_short_distances_are_exact(spacing_mm, most_mm):
    mask = np.random.default_rng(2).random((20, 15, 25)) < 0.995
    exact, short = distance_mm(mask, spacing_mm), distance_mm(mask, spacing_mm, most_mm)
    near = exact <= most_mm
    assert short[near] == pytest.approx(exact[near], rel=1e-6)
    assert (short[~near] > most_mm).all()
    assert np.isinf(distance_mm(np.ones((3, 3, 3), bool), spacing_mm, most_mm)).all()


def test_holes_are_scipys():
    from scipy.ndimage import binary_fill_holes

    mask = np.random.default_rng(3).random((12, 14, 11)) < 0.75
    assert holes(mask).any()
    assert np.array_equal(holes(mask) | mask, binary_fill_holes(mask))


def test_watershed_from_the_seeds_at_the_front_is_the_whole_one():
    from skimage.segmentation import watershed

    from medseg.methods.chest.sides import _flooded

    rng = np.random.default_rng(4)
    hu = rng.permutation(20 * 18 * 16).reshape(20, 18, 16).astype(np.float32)  # no ties
    lungs = rng.random(hu.shape) < 0.9
    seeds = np.zeros(hu.shape, np.uint8)
    seeds[:7], seeds[13:] = 1, 2
    seeds *= lungs
    assert np.array_equal(_flooded(hu, lungs, seeds), watershed(hu, seeds.astype(int), mask=lungs))


def test_array_placed_in_another_box():
    outer, box, other = (
        tuple(slice(low, high) for low, high in places)
        for places in (((2, 9), (3, 9), (1, 8)), ((3, 7), (4, 8), (2, 5)), ((5, 9), (1, 6), (3, 4)))
    )
    image = np.random.default_rng(5).random((10, 10, 10))
    assert moved(within(box, outer), outer) == box
    assert np.array_equal(image[outer][within(box, outer)], image[box])
    known = np.zeros(image.shape)
    known[box] = image[box]
    assert np.array_equal(placed(image[box], box, other), known[other])
    apart = (slice(8, 9),) * 3
    assert not placed(image[box], box, apart).any()
