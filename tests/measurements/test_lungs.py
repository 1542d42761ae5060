"""Lung measures on boxes and balls whose answers are known."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements import measure_lungs
from medseg.volume import Mask

SHAPE = (40, 30, 20)
AFFINE = np.diag([-2.0, -2.5, 4.0, 1.0])  # as CT in DICOM: to the left, to the back, to the head; 0.02 ml
LEFT, RIGHT, AIRWAY = np.s_[25:35, 5:25, 5:15], np.s_[5:15, 5:25, 5:15], np.s_[19:21, 10:12, 5:15]
VOXELS = 10 * 20 * 10


def scene(left_hu=-850.0, right_hu=-850.0, dtype=np.int16) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes of 2000 voxels and an airway of 40, with their HU in the order of the voxels."""
    labels, image_hu = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 40, dtype)
    for label, (box, hu) in enumerate(((LEFT, left_hu), (RIGHT, right_hu), (AIRWAY, -1000)), 1):
        labels[box] = label
        image_hu[box] = np.reshape(hu, labels[box].shape) if np.size(hu) > 1 else hu
    return labels, image_hu


def entries_of(mask, image_hu):
    return measure_lungs(Case(mask, image_hu[None]))


def measured(labels, image_hu, affine=AFFINE) -> dict:
    """Name to value."""
    return {n: e["value"] for n, e in entries_of(Mask(labels, affine=affine), image_hu).items()}


def test_boxes_have_their_volume_mass_and_ratio():
    labels, image_hu = scene(left_hu=-900, right_hu=-700)
    image_hu[RIGHT][:5] = -300  # a view: half of the right lung
    values = measured(labels, image_hu)
    assert values["left_lung_volume_ml"] == pytest.approx(VOXELS * 0.02)
    assert values["lungs_volume_ml"] == pytest.approx(2 * VOXELS * 0.02)
    assert values["airway_volume_ml"] == pytest.approx(40 * 0.02)
    assert values["left_lung_mass_g"] == pytest.approx(40 * 0.1)
    assert values["right_lung_mass_g"] == pytest.approx(20 * 0.3 + 20 * 0.7)
    assert values["lungs_mass_g"] == pytest.approx(24)
    assert values["right_lung_mean_hu"] == pytest.approx(-500)
    assert values["lungs_mean_hu"] == pytest.approx(-700)
    assert values["left_lung_dense_volume_ml"] == 0
    assert values["right_lung_dense_volume_ml"] == pytest.approx(20)
    assert values["left_right_volume_ratio"] == pytest.approx(1)


def test_ratio_is_left_over_right():
    labels, image_hu = scene()
    labels[LEFT][:5] = 0
    assert measured(labels, image_hu)["left_right_volume_ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (1.5, 2.0, 1.0)])
def test_ball_has_its_volume_on_a_sheared_grid_too(spacing_mm):
    radius_mm, size = 20.0, [int(50 / s) for s in spacing_mm]
    lean = np.tan(np.radians(20))  # a tilted gantry: slices shift to the front as they go up
    affine = np.diag([*spacing_mm, 1.0])
    affine[1, 2] = lean * spacing_mm[2]
    centre = affine[:3, :3] @ (np.array(size) - 1) / 2
    affine[:3, 3] = -centre
    voxels = np.stack(np.indices(size), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    labels = (np.linalg.norm(voxels, axis=-1) < radius_mm).astype(np.uint8)
    value = measured(labels, np.full(size, -800, np.int16), affine)["left_lung_volume_ml"]
    assert value == pytest.approx(4 / 3 * np.pi * radius_mm**3 / 1000, rel=0.01)


def test_percentiles_of_evenly_spread_hu():
    # Each HU from -1000 to -1 twice: the n-th percentile of the spread from -1000.5 to -0.5 is 10 n above it.
    values = measured(*scene(left_hu=np.repeat(np.arange(-1000, 0), 2)))
    assert values["left_lung_mean_hu"] == pytest.approx(-500.5)
    for rank in (5, 15, 50, 95):
        assert values[f"left_lung_percentile_{rank}_hu"] == pytest.approx(-1000.5 + 10 * rank)


def test_limits_of_low_and_high_attenuation():
    hu = np.repeat([-951, -950, -911, -910, -601, -600, -250, -249], VOXELS // 8)
    values = measured(*scene(left_hu=hu))
    assert values["left_lung_laa_950_percent"] == pytest.approx(12.5)
    assert values["left_lung_laa_910_percent"] == pytest.approx(37.5)
    assert values["left_lung_high_attenuation_percent"] == pytest.approx(25)
    assert values["lungs_laa_950_percent"] == pytest.approx(6.25)


def test_hu_beyond_the_bins_count_in_the_last_ones():
    labels, image_hu = scene(left_hu=np.repeat([-3024, 3071], VOXELS // 2), dtype=np.float32)
    values = measured(labels, image_hu)
    assert values["left_lung_laa_950_percent"] == pytest.approx(50)
    assert values["left_lung_mean_hu"] == pytest.approx((-1024 + 1023) / 2)


def test_order_in_memory_and_data_type_change_nothing():
    hu = np.random.default_rng(0).integers(-1000, 0, VOXELS)
    labels, image_hu = scene(left_hu=hu)
    before = measured(labels, image_hu)
    assert measured(np.asfortranarray(labels), image_hu.astype(np.float32)) == before
    assert measured(labels, np.asfortranarray(image_hu)) == before


@pytest.mark.parametrize(
    ("box", "side"),
    [
        (np.s_[30:40, 10:20, 5:15], "left"),
        (np.s_[:10, 10:20, 5:15], "right"),
        (np.s_[20:30, 20:, 5:15], "posterior"),
        (np.s_[20:30, :10, 5:15], "anterior"),
        (np.s_[20:30, 10:20, :10], "inferior"),
        (np.s_[20:30, 10:20, 10:], "superior"),
    ],
)
def test_lung_at_the_end_of_the_image_is_cut(box, side):
    labels, image_hu = scene()
    labels[LEFT] = 0
    labels[box] = 1
    entries = entries_of(Mask(labels, affine=AFFINE), image_hu)
    assert entries["left_lung_cut_at"]["value"] == [side]
    assert entries["right_lung_cut_at"]["value"] == []
    for name in ("left_lung_volume_ml", "left_lung_mass_g", "lungs_volume_ml", "left_right_volume_ratio"):
        assert entries[name]["value"] is None
        assert f"left lung: {side}" in entries[name]["reason"]
    assert entries["left_lung_mean_hu"]["value"] == pytest.approx(image_hu[box].mean(), abs=0.1)
    voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert entries["right_lung_volume_ml"]["value"] == pytest.approx((labels == 2).sum() * voxel_ml)


def test_contact_of_less_than_a_square_centimetre_is_no_cut():
    labels, image_hu = scene()
    labels[25:29, 10:14, 15:] = 1  # 16 faces of 5 mm²
    assert measured(labels, image_hu)["left_lung_cut_at"] == []
    labels[25:30, 10:14, 15:] = 1  # 20 faces
    assert measured(labels, image_hu)["left_lung_cut_at"] == ["superior"]


def test_padding_around_a_round_field_of_view_cuts():
    labels, image_hu = scene()
    image_hu[15:19, 5:25, 5:15] = -1024  # beside the right lung, but with tissue all around
    assert measured(labels, image_hu)["right_lung_cut_at"] == []
    image_hu[35:, :, :] = -1024  # left of the left lung, up to the corners
    assert measured(labels, image_hu)["left_lung_cut_at"] == ["left"]


def test_missing_lung_says_so():
    labels, image_hu = scene()
    labels[LEFT] = 0
    entries = entries_of(Mask(labels, affine=AFFINE), image_hu)
    gone = [name for name in entries if name.startswith(("left", "lungs"))]
    assert {entries[name]["reason"] for name in gone} == {"no left lung was found"}
    assert all(entries[name]["value"] is not None for name in entries if name not in gone)


def test_empty_mask_has_no_value_but_reasons():
    entries = entries_of(Mask(np.zeros(SHAPE, np.uint8), affine=AFFINE), np.zeros(SHAPE, np.int16))
    assert all(entry["value"] is None and entry["reason"] for entry in entries.values())


@pytest.mark.parametrize("affine", [None, np.diag([1.0, 1.0, 0.0, 1.0])])
def test_unknown_spacing_leaves_the_hu(affine):
    labels, image_hu = scene()
    entries = entries_of(Mask(labels, affine=affine), image_hu)
    for name, entry in entries.items():
        in_voxels = name.endswith(("_hu", "_percent"))
        assert (entry["value"] is not None) == in_voxels
        assert in_voxels or "voxel" in entry["reason"]


def test_every_entry_has_a_unit_and_can_be_written_as_json():
    entries = entries_of(Mask(scene()[0], affine=AFFINE), scene()[1])
    assert json.loads(json.dumps(entries)) == entries
    units = {"_ml": "ml", "_hu": "HU", "_percent": "% of the lung", "_g": "g"}
    for name, entry in entries.items():
        assert entry["unit"]
        assert all(entry["unit"] == unit for end, unit in units.items() if name.endswith(end))


def test_input_is_left_as_it_was():
    labels, image_hu = scene()
    before = labels.copy(), image_hu.copy()
    measured(labels, image_hu)
    assert np.array_equal(labels, before[0])
    assert np.array_equal(image_hu, before[1])


def test_picture_and_another_grid_are_refused():
    with pytest.raises(UnsuitableError, match=r"\(4, 5\)"):
        entries_of(Mask(np.zeros((4, 5), np.uint8)), np.zeros((4, 5)))
    with pytest.raises(UsageError, match=r"\(40, 30, 19\)"):
        entries_of(Mask(np.zeros(SHAPE, np.uint8), affine=AFFINE), np.zeros((40, 30, 19)))


@pytest.mark.seconds
def test_whole_ct_takes_seconds():
    # 512 x 512 x 300 in the order of DICOM; 1.5 s where this was written.
    labels = np.zeros((300, 512, 512), np.uint8).transpose(2, 1, 0)
    image_hu = np.full((300, 512, 512), -1024, np.int16).transpose(2, 1, 0)
    image_hu[20:490, 20:490] = -800
    labels[60:200, 100:400, 20:280], labels[260:400, 100:400, 20:280] = 2, 1
    start = time.process_time()
    values = measured(labels, image_hu, np.diag([-0.7, -0.7, 1.0, 1.0]))
    assert time.process_time() - start < 15
    assert values["left_lung_volume_ml"] == pytest.approx(140 * 300 * 260 * 0.49 / 1000)


def test_vessels_are_the_thin_part_of_what_is_dense():
    """A rod of 4 mm and a ball of 40 mm in a lung: the rod counts."""
    place = np.indices((90, 80, 70)) * np.array([0.8, 0.9, 1.5])[:, None, None, None]
    x, y, z = place - np.array([36.0, 36.0, 52.0])[:, None, None, None]
    ball, rod = x**2 + y**2 + (z + 20) ** 2 < 20**2, (x**2 + (z - 25) ** 2 < 2**2) & (abs(y) < 25)
    labels = np.ones(ball.shape, np.uint8)
    labels[[0, -1]] = labels[:, [0, -1]] = labels[:, :, [0, -1]] = 0
    hu = np.where(ball | rod, 40, -850).astype(np.int16)
    mask = Mask(labels, {1: "left_lung"}, affine=np.diag([-0.8, -0.9, 1.5, 1.0]))
    measures = entries_of(mask, hu)
    rod_ml = rod.sum() * 0.8 * 0.9 * 1.5 / 1000
    assert measures["left_lung_vessel_volume_ml"]["value"] == pytest.approx(rod_ml, abs=0.6)
    assert measures["left_lung_dense_volume_ml"]["value"] > 30
    hu[ball] = -850
    assert entries_of(mask, hu)["left_lung_vessel_volume_ml"]["value"] == pytest.approx(rod_ml)
