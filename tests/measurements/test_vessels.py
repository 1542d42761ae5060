"""Every measure on a phantom whose answer is known; the tolerances are stated in each test."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest

from medseg import phantoms
from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements import measure_vessels, vessels
from medseg.volume import Mask

pytestmark = pytest.mark.seconds

WIDTHS_PX, ANGLES_DEG = (3, 4, 5, 6, 8, 9, 12, 15), (0, 15, 30, 45, 90)
SHIFTS_PX = tuple((0.1 + k / 6, 0.05) for k in range(6))  # over a pixel, evenly
FIXED = ("vessel_area_fraction", "field_area_px", "tortuosity", "fractal_dimension")
COUNTS = ("branch_points", "end_points")
LENGTHS = ("centreline_length", *(f"calibre_{name}" for name in vessels.CALIBRE))


def entries_of(mask, field=None):
    return measure_vessels(Case(mask, np.zeros((3, *mask.array.shape)), field))


def measured(vessel: np.ndarray, spacing_mm=None, field=None) -> dict:
    """Name to value."""
    mask = Mask(vessel.astype(np.uint8), pixel_spacing_mm=spacing_mm)
    return {name: entry["value"] for name, entry in entries_of(mask, field).items()}


def drawn(side_px: int, curves: list, width_px: float) -> np.ndarray:
    picture = np.zeros((side_px, side_px), dtype=bool)
    for curve in curves:
        phantoms.stroke(picture, np.asarray(curve, dtype=float), width_px)
    return picture


def sine(amplitude_px: float, period_px: float) -> np.ndarray:
    """Four periods or so, (n, 2), from column 20 to 420."""
    column = np.linspace(20, 420, 1601)
    return np.stack([220 + amplitude_px * np.sin(2 * np.pi * (column - 20) / period_px), column], axis=1)


def arc_length(curve: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_bar_calibre_length_and_tortuosity(width_px, angle_deg):
    # A 45 degree bar of 3 px is drawn 2.8 or 3.5 px wide, depending on where it lies: hence the mean.
    bars = [measured(phantoms.bar(220, 160, width_px, angle_deg, shift)) for shift in SHIFTS_PX]
    assert np.mean([b["calibre_mean_px"] for b in bars]) == pytest.approx(width_px, abs=0.3)
    assert np.mean([b["calibre_median_px"] for b in bars]) == pytest.approx(width_px, abs=0.5)
    for b in bars:
        assert b["calibre_mean_px"] == pytest.approx(width_px, abs=0.75)
        assert b["centreline_length_px"] == pytest.approx(160, rel=0.03)
        assert 1.0 <= b["tortuosity"] <= 1.01
        assert (b["branch_points"], b["end_points"]) == (0, 2)


@pytest.mark.parametrize("width_px", [3, 4, 7, 8, 15])
def test_calibre_of_bars_along_an_axis_is_exact_for_even_widths_too(width_px):
    values = measured(phantoms.bar(220, 160, width_px, 0))
    assert values["calibre_median_px"] == pytest.approx(width_px, abs=1e-6)
    assert values["calibre_standard_deviation_px"] < 0.1


def test_calibre_spread_of_a_tapering_vessel():
    # From 4 to 14 px, evenly: mean 9, standard deviation 10 / sqrt(12), percentiles 4.5 and 13.5.
    picture = np.zeros((300, 520), dtype=bool)
    phantoms.stroke(picture, np.array([(140.0, 20.0), (180.0, 500.0)]), np.array([4.0, 14.0]))
    values = measured(picture)
    assert values["calibre_mean_px"] == pytest.approx(9, abs=0.2)
    assert values["calibre_median_px"] == pytest.approx(9, abs=0.3)
    assert values["calibre_standard_deviation_px"] == pytest.approx(10 / np.sqrt(12), abs=0.2)
    assert values["calibre_percentile_5_px"] == pytest.approx(4.5, abs=0.4)
    assert values["calibre_percentile_95_px"] == pytest.approx(13.5, abs=0.4)


def test_calibre_histogram_has_bins_of_one_pixel_and_all_centreline_pixels():
    picture = phantoms.bar(220, 160, 5, 0) | np.roll(phantoms.bar(220, 160, 9, 0), 50, axis=0)
    # The widths are whole numbers, bin edges, so the bins on both sides of each are taken.
    values = measured(picture)
    edges = values["calibre_histogram_px"]["edges"]
    counts = dict(zip(itertools.pairwise(edges), values["calibre_histogram_px"]["counts"], strict=True))
    thin = sum(count for (low, high), count in counts.items() if low >= 4 and high <= 6)
    wide = sum(count for (low, high), count in counts.items() if low >= 8 and high <= 10)
    assert thin == pytest.approx(158, abs=8)
    assert wide == pytest.approx(154, abs=8)
    assert thin + wide == sum(counts.values())


@pytest.mark.parametrize(
    "lines",
    [
        [[(100, 100), (20, 100.3)], [(100, 100), (170, 30)], [(100, 100), (165, 175)]],
        [[(20, 20), (180, 180)], [(20, 100), (180, 100)]],
    ],
)
def test_calibre_at_a_junction_is_not_counted(lines):
    # Across the middle of these junctions the mask is up to 17 px wide.
    values = measured(drawn(200, lines, 11))
    assert values["calibre_histogram_px"]["edges"][-1] <= 14
    assert values["calibre_mean_px"] == pytest.approx(11, abs=0.3)


@pytest.mark.parametrize(("amplitude_px", "period_px"), [(10, 100), (20, 100), (30, 100), (30, 200)])
@pytest.mark.parametrize("width_px", [3, 6])
def test_sine_tortuosity_and_length_within_2_percent(amplitude_px, period_px, width_px):
    curve = sine(amplitude_px, period_px)
    values = measured(drawn(440, [curve], width_px))
    assert values["tortuosity"] == pytest.approx(arc_length(curve) / 400, rel=0.02)
    # A stroke has round ends, half a width long each.
    assert values["centreline_length_px"] == pytest.approx(arc_length(curve) + width_px, rel=0.02)
    assert values["calibre_mean_px"] == pytest.approx(width_px, abs=0.3)


@pytest.mark.parametrize("radius_px", [20, 50, 100])
def test_half_circle_has_the_tortuosity_half_pi(radius_px):
    angle = np.linspace(0, np.pi, 500)
    curve = np.stack([150 - radius_px * np.sin(angle), 150 + radius_px * np.cos(angle)], axis=1)
    assert measured(drawn(300, [curve], 5))["tortuosity"] == pytest.approx(np.pi / 2, rel=0.02)


def test_tortuosity_is_weighted_by_length():
    straight = [(430, 20), (430, 220)]
    curve = sine(30, 100)
    long = arc_length(curve)
    expected = (long * long / 400 + 200 * 1.0) / (long + 200)
    assert measured(drawn(460, [curve, straight], 4))["tortuosity"] == pytest.approx(expected, rel=0.02)


def test_closed_loop_has_a_length_but_no_tortuosity_and_no_ends():
    angle = np.linspace(0, 2 * np.pi, 800)
    ring = np.stack([150 + 60 * np.sin(angle), 150 + 60 * np.cos(angle)], axis=1)
    values = measured(drawn(300, [ring], 5))
    assert values["centreline_length_px"] == pytest.approx(2 * np.pi * 60, rel=0.01)
    assert values["tortuosity"] is None
    assert (values["branch_points"], values["end_points"]) == (0, 0)
    assert values["calibre_mean_px"] == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("width_px", [1, 3, 5, 8, 12])
def test_y_has_one_branch_point_and_three_ends(width_px):
    arms = [[(100, 100), end] for end in ((20, 100.3), (170, 30), (165, 175))]
    values = measured(drawn(200, arms, width_px))
    assert (values["branch_points"], values["end_points"]) == (1, 3)
    # Up to the far ends of three round caps; the arms overlap by about a width in the middle.
    expected = sum(arc_length(np.array(arm)) for arm in arms) + 1.5 * width_px
    assert values["centreline_length_px"] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("width_px", [3, 5, 9, 14])
@pytest.mark.parametrize("angle_deg", [90, 60, 45])
def test_crossing_counts_once(width_px, angle_deg):
    half = 120 * np.array([np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))])
    values = measured(drawn(301, [[(150, 20), (150, 280)], [150 - half, 150 + half]], width_px))
    assert (values["branch_points"], values["end_points"]) == (1, 4)


def test_two_forks_farther_apart_than_one_crossing_count_twice():
    lines = [[(150, 20), (150, 280)], [(150, 120), (60, 90)], [(150, 160), (60, 200)]]
    assert measured(drawn(301, lines, 5))["branch_points"] == 2


@pytest.mark.parametrize("width_px", [3, 6, 10])
def test_grid_of_four_by_four_lines(width_px):
    at = (50, 100, 150, 200)
    lines = [[(k, 10), (k, 250)] for k in at] + [[(10, k), (250, k)] for k in at]
    values = measured(drawn(260, lines, width_px))
    assert (values["branch_points"], values["end_points"]) == (16, 16)
    assert values["centreline_length_px"] == pytest.approx(8 * (240 + width_px), rel=0.02)


@pytest.mark.parametrize("width_px", [5, 9, 15])
def test_rough_borders_make_no_branches(width_px):
    from scipy.ndimage import distance_transform_edt

    bar = phantoms.bar(300, 240, width_px, 20)
    depth_px = distance_transform_edt(~bar) - distance_transform_edt(bar)
    seeds = [np.random.default_rng(seed) for seed in range(10)]
    rough = [depth_px + random.normal(0, 0.8, bar.shape) < 0 for random in seeds]
    values = [measured(picture) for picture in rough]
    # One false branch in ten bars is allowed, so that the rule needn't eat true ones.
    assert sum(v["branch_points"] for v in values) <= 1
    assert np.mean([v["centreline_length_px"] for v in values]) == pytest.approx(240, rel=0.03)
    assert np.mean([v["calibre_mean_px"] for v in values]) == pytest.approx(width_px, abs=0.3)


def test_specks_and_pinholes_change_nothing_but_the_area():
    clean = drawn(301, [[(150, 20), (150, 280)], [(150, 150), (40, 200)]], 9)
    noisy = clean.copy()
    noisy[150, 60], noisy[151, 220], noisy[250, 50:53], noisy[20, 20] = False, False, True, True
    before, after = measured(clean), measured(noisy)
    # Two pixels less in the vessel, four more outside.
    assert after.pop("vessel_area_fraction") - before.pop("vessel_area_fraction") == pytest.approx(2 / 301**2)
    assert after.pop("calibre_histogram_px") == before.pop("calibre_histogram_px")
    for name, value in before.items():
        assert after[name] == (value if value is None else pytest.approx(value, rel=1e-9))


def test_box_dimension_of_sets_whose_dimension_is_known():
    square = np.argwhere(np.ones((256, 256)))
    line = np.argwhere(phantoms.bar(600, 512, 1, 30))
    triangle = np.argwhere(phantoms.sierpinski(8))
    assert vessels.box_dimension(square) == pytest.approx(2, abs=0.02)
    assert vessels.box_dimension(line) == pytest.approx(1, abs=0.06)
    assert vessels.box_dimension(triangle) == pytest.approx(np.log2(3), abs=0.02)
    assert vessels.box_dimension(triangle + np.array([3, 5])) == pytest.approx(np.log2(3), abs=0.02)


def test_fractal_dimension_is_that_of_the_centreline():
    # Drawn 15 px wide, the same line fills more boxes, yet its centreline doesn't.
    thin, wide = (measured(phantoms.bar(600, 512, w, 30))["fractal_dimension"] for w in (1, 15))
    assert thin == pytest.approx(1, abs=0.06)
    assert wide == pytest.approx(1, abs=0.06)


def test_area_fraction_and_field_area_count_the_field_only():
    vessel = np.zeros((100, 80), dtype=bool)
    vessel[40:50] = True
    field = np.zeros_like(vessel)
    field[:, :40] = True
    values = measured(vessel, (0.02, 0.01), field)
    assert values["vessel_area_fraction"] == pytest.approx(0.1)
    assert values["field_area_px"] == 4000
    assert values["field_area_mm2"] == pytest.approx(4000 * 0.0002)
    assert values["centreline_length_px"] == pytest.approx(40, abs=1)


def test_only_label_1_is_vessel():
    vessel = phantoms.bar(100, 60, 5, 0)
    other = np.roll(vessel, 30, axis=0)
    assert measured(vessel + 2 * other) == measured(vessel)


def test_square_pixels_scale_the_lengths_and_nothing_else():
    vessel = drawn(301, [[(150, 20), (150, 280)], [(150, 150), (40, 200)]], 7)
    values, without = measured(vessel, (0.01, 0.01)), measured(vessel)
    for name in LENGTHS[:-1]:
        assert values[f"{name}_mm"] == pytest.approx(0.01 * values[f"{name}_px"], rel=1e-6)
    for name in FIXED + COUNTS:
        assert values[name] == pytest.approx(without[name], rel=1e-9)
    counts = [values[f"calibre_histogram_{unit}"]["counts"] for unit in ("px", "mm")]
    assert sum(counts[0]) == sum(counts[1]) > 0
    assert values["calibre_histogram_mm"]["edges"][3:5] == pytest.approx([0.03, 0.04])


@pytest.mark.parametrize("angle_deg", [0, 30, 45, 60, 90])
def test_pixels_that_are_not_square_give_true_millimetres(angle_deg):
    # Every second row of a bar 12 px wide: pixels of 0.02 mm by 0.01 mm.
    values = measured(phantoms.bar(440, 320, 12, angle_deg)[::2], (0.02, 0.01))
    assert values["calibre_mean_mm"] == pytest.approx(0.12, abs=0.0025)
    assert values["centreline_length_mm"] == pytest.approx(3.20, rel=0.03)
    assert 1.0 <= values["tortuosity"] <= 1.02


def test_pixels_that_are_not_square_give_the_true_tortuosity():
    curve = sine(30, 100)
    values = measured(drawn(440, [curve], 8)[::2], (0.02, 0.01))
    assert values["tortuosity"] == pytest.approx(arc_length(curve) / 400, rel=0.03)


def test_without_a_spacing_every_millimetre_is_missing_and_says_why():
    entries = entries_of(Mask(phantoms.bar(100, 60, 5, 0).astype(np.uint8)))
    in_mm = {name: entry for name, entry in entries.items() if name.endswith(("_mm", "_mm2"))}
    assert len(in_mm) == len(LENGTHS) + 1
    for entry in in_mm.values():
        assert entry["value"] is None
        assert "--pixel-spacing-mm" in entry["reason"]
    assert all("reason" not in entry for name, entry in entries.items() if name not in in_mm)


def test_empty_mask_has_no_vessels_and_says_what_cannot_be_known():
    entries = entries_of(Mask(np.zeros((50, 60), np.uint8), pixel_spacing_mm=(0.01, 0.01)))
    zero = {"vessel_area_fraction", "centreline_length_px", "centreline_length_mm", *COUNTS}
    assert all(entries[name]["value"] == 0 for name in zero)
    assert entries["field_area_px"]["value"] == 3000
    unknown = set(entries) - zero - {"field_area_px", "field_area_mm2"}
    assert all(entries[name]["value"] is None and entries[name]["reason"] for name in unknown)


@pytest.mark.parametrize("vessel", [np.ones((1, 1)), np.ones((50, 50)), np.eye(3), np.ones((2, 3))])
def test_vessels_without_a_centreline_have_an_area_but_no_calibre(vessel):
    entries = entries_of(Mask(vessel.astype(np.uint8)))
    assert entries["vessel_area_fraction"]["value"] > 0
    assert entries["centreline_length_px"]["value"] == 0
    assert entries["calibre_mean_px"]["reason"] == vessels.NO_CENTRELINE


def test_empty_field_has_no_fraction():
    entry = entries_of(Mask(np.ones((9, 9), np.uint8)), np.zeros((9, 9), bool))["vessel_area_fraction"]
    assert entry == {
        "value": None,
        "unit": "fraction of the field of view",
        "reason": "the field of view has no pixels",
    }


def test_vessel_at_the_edge_of_the_picture_ends_there():
    vessel = np.zeros((60, 100), dtype=bool)
    vessel[:6] = True
    values = measured(vessel)
    assert values["centreline_length_px"] == pytest.approx(100, abs=2)
    assert values["calibre_median_px"] == pytest.approx(6, abs=1e-6)


def test_every_entry_has_a_unit_and_can_be_written_as_json():
    entries = entries_of(Mask(phantoms.bar(100, 60, 5, 30).astype(np.uint8), pixel_spacing_mm=(0.1, 0.1)))
    assert json.loads(json.dumps(entries)) == entries
    for name, entry in entries.items():
        assert entry["unit"]
        assert not name.endswith("_mm") or entry["unit"] == "mm"
        assert not name.endswith("_px") or entry["unit"] == "px"


def test_input_is_left_as_it_was():
    mask, field = Mask(phantoms.bar(100, 60, 5, 0).astype(np.uint8)), np.ones((100, 100), dtype=bool)
    before = mask.array.copy()
    entries_of(mask, field)
    assert np.array_equal(mask.array, before)
    assert field.all()


def test_volume_is_refused():
    with pytest.raises(UnsuitableError, match=r"\(2, 3, 4\)"):
        entries_of(Mask(np.zeros((2, 3, 4), np.uint8), affine=np.eye(4)))


def test_field_of_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"\(5, 4\)"):
        entries_of(Mask(np.zeros((4, 5), np.uint8)), np.ones((5, 4), bool))


@pytest.mark.parametrize("spacing_mm", [(0.0, 0.1), (0.1, -0.1), (np.nan, 0.1), (0.1, np.inf), (0.1,)])
def test_spacing_that_is_no_size_is_refused(spacing_mm):
    with pytest.raises(UsageError, match="positive"):
        entries_of(Mask(np.zeros((4, 5), np.uint8), pixel_spacing_mm=spacing_mm))


def test_fundus_measures_agree_with_how_it_was_drawn():
    _, mask, field = phantoms.fundus(700)
    tree = phantoms._tree(np.random.default_rng(0))
    radius_px = 0.46 * 700
    calibre_px = np.concatenate([v.calibre for v in tree]) * radius_px
    length_px = sum(arc_length(v.path[np.hypot(*v.path.T) < 1]) for v in tree) * radius_px
    values = measured(mask, field=field)
    assert values["vessel_area_fraction"] == mask[field].mean()
    # Vessels touch and overlap where they are dense, so the drawn length is more than can be seen.
    assert 0.85 * length_px < values["centreline_length_px"] < 1.02 * length_px
    assert values["calibre_percentile_95_px"] < calibre_px.max() * 1.1
    assert values["calibre_percentile_5_px"] > calibre_px.min() * 0.8


def test_mask_of_a_camera_photograph_takes_seconds():
    # 3500 by 2300 pixels, as fundus cameras give; 1 s where this was written.
    rows = [[(k, 100), (k + 60, 3400)] for k in range(100, 2200, 100)]
    picture = np.zeros((2300, 3500), dtype=bool)
    for row in rows:
        phantoms.stroke(picture, np.array(row, dtype=float), 12)
    start = time.process_time()
    values = measured(picture)
    assert time.process_time() - start < 10
    assert values["end_points"] == 2 * len(rows)
