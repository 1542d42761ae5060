"""Lesions whose measures are known: rectangles exactly, discs and ellipses within the raster's error."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements import lesion_instances, lesions, measure_lesions
from medseg.volume import Mask

ANGLES_DEG, SPACINGS_MM = (0, 20, 45, 70, 90), ((0.1, 0.1), (0.05, 0.1), (0.2, 0.08))
CENTRE = (80.3, 90.6)


def entries_of(mask, malignancy=None):
    extras = {} if malignancy is None else {"malignancy": malignancy}
    return measure_lesions(Case(mask, np.zeros((1, *mask.array.shape)), extras=extras))


def measured(lesion, spacing_mm=None, malignancy=None) -> dict:
    """Name to value, without the prefix of the largest lesion."""
    mask = Mask(np.asarray(lesion, dtype=np.uint8), pixel_spacing_mm=spacing_mm)
    found = entries_of(mask, malignancy)
    return {name.removeprefix("largest_lesion_"): entry["value"] for name, entry in found.items()}


def ellipse(long, short, angle_deg=0.0, spacing=(1.0, 1.0), lobes=(0.0, 0)) -> np.ndarray:
    """Half axes in the unit of spacing, angle from the skin; lobes have a height and a number."""
    down, across = ((np.indices((161, 181)).T - CENTRE) * spacing).T
    angle = np.radians(angle_deg)
    first = (across * np.cos(angle) + down * np.sin(angle)) / long
    second = (down * np.cos(angle) - across * np.sin(angle)) / short
    height, number = lobes
    return np.hypot(first, second) <= 1 + height * np.cos(number * np.arctan2(second, first))


def rectangle(depth, width, top=10, left=20) -> np.ndarray:
    picture = np.zeros((100, 120), dtype=bool)
    picture[top : top + depth, left : left + width] = True
    return picture


@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
def test_ellipse_in_mm(angle_deg, spacing_mm):
    long, short, pixel_mm = 4.0, 2.5, max(spacing_mm)
    found = measured(ellipse(long, short, angle_deg, spacing_mm), spacing_mm)
    assert found["area_mm2"] == pytest.approx(np.pi * long * short, rel=0.01)
    assert -0.1 * pixel_mm <= found["longest_diameter_mm"] - 2 * long <= pixel_mm
    assert found["perpendicular_diameter_mm"] == pytest.approx(2 * short, abs=pixel_mm)
    sine, cosine = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    depth, width = 2 * np.hypot(long * sine, short * cosine), 2 * np.hypot(long * cosine, short * sine)
    assert found["depth_mm"] == pytest.approx(depth, abs=pixel_mm)
    assert found["width_mm"] == pytest.approx(width, abs=pixel_mm)
    assert found["depth_to_width_ratio"] == pytest.approx(depth / width, rel=0.05)
    assert found["orientation_angle"] == pytest.approx(angle_deg, abs=1)
    assert found["solidity"] > 0.999
    # Pixels that aren't square stretch what is left of their steps.
    assert found["margin_irregularity"] == pytest.approx(1, abs=0.002 if spacing_mm == (0.1, 0.1) else 0.008)
    perimeter = 2 * np.pi * np.sqrt((long**2 + short**2) / 2)  # 1% too long for this ellipse
    assert found["circularity"] == pytest.approx(4 * np.pi**2 * long * short / perimeter**2, rel=0.03)
    assert [found["centroid_row_px"], found["centroid_column_px"]] == pytest.approx(CENTRE, abs=0.1)


@pytest.mark.parametrize("radius_px", [5, 10, 33, 70])
def test_disc_is_round_in_every_measure(radius_px):
    found = measured(ellipse(radius_px, radius_px))
    assert found["area_px"] == pytest.approx(np.pi * radius_px**2, rel=0.02)
    assert 0 <= found["longest_diameter_px"] - 2 * radius_px <= 1
    assert abs(found["perpendicular_diameter_px"] - 2 * radius_px) <= 1
    assert found["orientation_angle"] is None
    assert found["solidity"] == 1
    assert found["margin_irregularity"] == pytest.approx(1, abs=0.001)
    assert found["circularity"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("depth", "width"), [(20, 40), (40, 20), (8, 60)])
def test_rectangle_is_exact(depth, width):
    found = measured(rectangle(depth, width), (0.5, 0.25))
    assert (found["area_px"], found["area_mm2"]) == (depth * width, depth * width / 8)
    assert (found["depth_px"], found["width_px"]) == (depth, width)
    assert (found["depth_mm"], found["width_mm"]) == (depth / 2, width / 4)
    assert found["depth_to_width_ratio"] == 2 * depth / width
    # Between the middles of pixel edges: one end of the diagonal is half a pixel inside each corner.
    in_px = max(np.hypot(depth - 1, width), np.hypot(depth, width - 1))
    in_mm = max(np.hypot((depth - 1) / 2, width / 4), np.hypot(depth / 2, (width - 1) / 4))
    assert found["longest_diameter_px"] == pytest.approx(in_px)
    assert found["longest_diameter_mm"] == pytest.approx(in_mm)
    assert found["solidity"] == 1
    assert (found["centroid_row_px"], found["centroid_column_px"]) == (
        10 + (depth - 1) / 2,
        20 + (width - 1) / 2,
    )


def test_perpendicular_diameter_of_a_rectangle_is_a_chord():
    # The line square to the diagonal, from one long side to the other: 20 / cos(atan(20 / 40)).
    found = measured(rectangle(20, 40))
    assert found["perpendicular_diameter_px"] == pytest.approx(20 * np.hypot(20, 40) / 40, abs=0.6)


@pytest.mark.parametrize(
    ("depth", "width", "word"), [(20, 40, "parallel"), (30, 30, "not parallel"), (40, 20, "not parallel")]
)
def test_orientation_word_follows_the_ratio(depth, width, word):
    assert measured(rectangle(depth, width))["orientation_descriptor"] == word
    # Pixels twice as deep as wide make a square of the wide rectangle, and the others taller than wide.
    assert measured(rectangle(depth, width), (0.2, 0.1))["orientation_descriptor"] == "not parallel"


def test_equal_on_paper_is_equal():
    assert 7 * 0.1 != 0.7
    assert measured(rectangle(7, 10), (0.1, 0.07))["depth_to_width_ratio"] == 1


def test_angle_is_that_of_mm():
    # A 20 px square of pixels three times as wide as deep lies along the skin.
    square = rectangle(20, 20)
    assert measured(square)["orientation_angle"] is None
    assert measured(square, (0.1, 0.3))["orientation_angle"] == pytest.approx(0, abs=1e-6)
    assert measured(square, (0.3, 0.1))["orientation_angle"] == pytest.approx(90, abs=1e-6)


@pytest.mark.parametrize(("height", "number"), [(0.1, 8), (0.2, 5)])
def test_irregularity_of_a_lobed_margin(height, number):
    angle = np.linspace(0, 2 * np.pi, 7200, endpoint=False)
    radius = 60 * (1 + height * np.cos(number * angle))
    outline = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    perimeter = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1).sum()
    hull = lesions._hull(outline)
    hull_perimeter = np.linalg.norm(hull - np.roll(hull, 1, axis=0), axis=1).sum()
    found = measured(ellipse(60, 60, lobes=(height, number)))
    assert found["margin_irregularity"] == pytest.approx(perimeter / hull_perimeter, abs=0.01)
    area = np.pi * 60**2 * (1 + height**2 / 2)
    assert found["circularity"] == pytest.approx(4 * np.pi * area / perimeter**2, rel=0.03)
    row, column = hull.T
    hull_area = abs(row @ np.roll(column, 1) - column @ np.roll(row, 1)) / 2
    assert found["solidity"] == pytest.approx(area / hull_area, abs=0.01)


def test_hole_lowers_area_and_solidity_but_is_no_margin():
    disc = ellipse(40, 40)
    ring = disc & ~ellipse(15, 15)
    whole, hollow = measured(disc), measured(ring)
    assert hollow["lesion_count"] == 1
    assert hollow["solidity"] == pytest.approx(ring.sum() / disc.sum())
    same = ("longest_diameter_px", "depth_px", "margin_irregularity", "circularity")
    assert [hollow[name] for name in same] == [whole[name] for name in same]


def test_two_lesions_largest_first():
    picture = rectangle(5, 6, top=2, left=3) | rectangle(30, 20, top=40, left=70)
    found = measured(picture, (0.1, 0.2))
    assert found["lesion_count"] == 2
    assert found["lesion_area_total_px"] == 630
    assert found["lesion_area_total_mm2"] == pytest.approx(630 * 0.02)
    assert [lesion["area_px"] for lesion in found["lesions"]] == [600, 30]
    assert found["lesions"][0] == {name: found[name] for name in found["lesions"][0]}
    assert found["lesions"][1]["centroid_column_px"] == 5.5
    numbers = lesion_instances(picture.astype(np.uint8))
    assert numbers.dtype == np.uint8
    assert (numbers[50, 80], numbers[4, 5], numbers[0, 0]) == (1, 2, 0)


def test_corners_connect_and_ties_go_from_the_top():
    mask = np.zeros((9, 9), np.uint8)
    mask[[1, 2], [1, 2]] = mask[[5, 6], [5, 4]] = mask[8, 8] = 1
    numbers = lesion_instances(mask)
    assert numbers[[1, 2, 5, 6, 8], [1, 2, 5, 4, 8]].tolist() == [1, 1, 2, 2, 3]
    mask[1, 1] = 2
    assert lesion_instances(mask)[1, 1] == 0, "other labels are no lesion"


def test_more_than_255_lesions_have_numbers_of_their_own():
    mask = np.zeros((60, 60), np.uint8)
    mask[::2, ::3] = 1
    numbers = lesion_instances(mask)
    assert numbers.dtype == np.uint16
    assert numbers.max() == 600


def test_no_lesion():
    entries = entries_of(Mask(np.zeros((20, 30), np.uint8), pixel_spacing_mm=(0.1, 0.1)), np.array([0.7]))
    assert entries.pop("lesion_count")["value"] == 0
    assert entries.pop("lesion_probability")["reason"] == lesions.NOT_ASKED
    assert {(entry["value"], entry["reason"]) for entry in entries.values()} == {(None, lesions.NO_LESION)}
    assert entries.keys() < entries_of(Mask(rectangle(3, 4).astype(np.uint8))).keys()


@pytest.mark.parametrize("shape", [(1, 1), (9, 9)])
def test_one_pixel(shape):
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 2, shape[1] // 2] = 1
    found = measured(mask, (0.2, 0.2))
    names = (
        "area_px",
        "longest_diameter_px",
        "perpendicular_diameter_px",
        "depth_px",
        "width_px",
        "solidity",
    )
    assert [found[name] for name in names] == pytest.approx([1] * 6)
    assert found["longest_diameter_mm"] == pytest.approx(0.2)
    assert found["orientation_angle"] is found["margin_irregularity"] is found["circularity"] is None


@pytest.mark.parametrize("line", [np.s_[4:5, 2:14], np.s_[2:14, 4:5]])
def test_line_of_pixels(line):
    mask = np.zeros((20, 20), np.uint8)
    mask[line] = 1
    found = measured(mask)
    assert (found["longest_diameter_px"], found["perpendicular_diameter_px"]) == pytest.approx((12, 1))
    assert found["solidity"] == 1


@pytest.mark.parametrize("spacing_mm", [None, (0.1, 0.3)])
def test_the_ends_of_the_diameters(spacing_mm):
    """They are as far apart as the diameters are long, at right angles, and at the lesion's border."""
    lesion = ellipse(20, 12, 30)
    found = measured(lesion, spacing_mm)
    unit = "mm" if spacing_mm else "px"
    lines = []
    for name in ("longest_diameter", "perpendicular_diameter"):
        ends = np.array(found[f"{name}_ends_px"])
        first, second = ends * (spacing_mm or 1.0)
        assert np.linalg.norm(second - first) == pytest.approx(found[f"{name}_{unit}"], abs=0.02)
        lines.append((second - first) / np.linalg.norm(second - first))
        places = np.argwhere(lesion)
        assert all(np.abs(places - end).max(axis=1).min() <= 1 for end in ends)
    assert lines[0] @ lines[1] == pytest.approx(0, abs=0.01)


def test_border_of_the_picture_changes_nothing():
    disc = ellipse(20, 12, 30)
    rows, columns = np.nonzero(disc)
    cut = disc[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    inside, at_border = measured(disc, (0.1, 0.2)), measured(cut, (0.1, 0.2))
    moved = {"centroid_row_px", "centroid_column_px", "lesions"}
    moved |= {"longest_diameter_ends_px", "perpendicular_diameter_ends_px"}
    assert {name: inside[name] for name in inside.keys() - moved} == pytest.approx(
        {name: at_border[name] for name in inside.keys() - moved}
    )
    assert at_border["centroid_row_px"] == pytest.approx(inside["centroid_row_px"] - rows.min())


def test_unknown_pixel_size():
    entries = entries_of(Mask(rectangle(20, 40).astype(np.uint8)))
    for name, entry in entries.items():
        in_mm = name.endswith(("_mm", "_mm2"))
        assert (entry["value"] is None) == (in_mm or name in ("malignancy_probability", "lesion_probability"))
        assert not in_mm or entry["reason"] == lesions.UNKNOWN_SPACING
    assert entries["largest_lesion_depth_to_width_ratio"]["unit"] == "ratio, pixels taken as square"
    assert entries["largest_lesion_orientation_angle"]["unit"] == "degrees, pixels taken as square"


def test_malignancy_is_passed_on_for_a_lesion_only():
    picture = rectangle(20, 40)
    for given in (np.array([0.25], np.float32), np.array(0.25), np.array([[0.25]])):
        assert measured(picture, None, given)["malignancy_probability"] == 0.25
    entry = entries_of(Mask(picture.astype(np.uint8)), None)["malignancy_probability"]
    assert entry == {"value": None, "unit": "probability, no diagnosis", "reason": lesions.NOT_ESTIMATED}


def test_every_entry_has_a_unit_and_can_be_written_as_json():
    for picture in (rectangle(20, 40), rectangle(0, 0), rectangle(1, 1)):
        entries = entries_of(Mask(picture.astype(np.uint8), pixel_spacing_mm=(0.1, 0.1)), np.array([0.5]))
        assert json.loads(json.dumps(entries, allow_nan=False)) == entries
        units = {"_px": "px", "_mm": "mm", "_mm2": "mm²"}
        for name, entry in entries.items():
            assert entry["unit"]
            assert all(entry["unit"] == unit for end, unit in units.items() if name.endswith(end))


def test_input_is_left_as_it_was():
    picture = rectangle(20, 40).astype(np.uint8)
    before = picture.copy()
    entries_of(Mask(picture))
    assert np.array_equal(picture, before)


@pytest.mark.seconds
def test_any_mask_is_measured():
    random = np.random.default_rng(0)
    for density in np.linspace(0.02, 0.98, 40):
        found = measured(random.random((24, 31)) < density, (0.1, 0.07))
        for lesion in found["lesions"]:
            longest = lesion["longest_diameter_px"] + 1e-9
            assert longest >= lesion["perpendicular_diameter_px"]
            assert longest >= max(lesion["depth_px"], lesion["width_px"])
            assert 0 < lesion["solidity"] <= 1
            irregularity, circularity = lesion["margin_irregularity"], lesion["circularity"]
            assert irregularity is None or irregularity >= 1 - 1e-9
            assert circularity is None or 0 < circularity <= 1


def test_volume_is_refused():
    with pytest.raises(UnsuitableError, match=r"\(4, 5, 6\)"):
        entries_of(Mask(np.zeros((4, 5, 6), np.uint8)))
    with pytest.raises(UnsuitableError, match=r"\(4,\)"):
        lesion_instances(np.zeros(4, np.uint8))


@pytest.mark.parametrize("spacing_mm", [(0.0, 1.0), (0.1, -0.1), (0.1, np.nan), (0.1,), (0.1, 0.1, 0.1)])
def test_impossible_spacing_is_refused(spacing_mm):
    with pytest.raises(UsageError, match="two positive numbers"):
        measured(rectangle(3, 4), spacing_mm)


@pytest.mark.parametrize("malignancy", [[0.1, 0.9], [], [1.2], [-0.1], [np.nan]])
def test_what_is_no_probability_is_refused(malignancy):
    with pytest.raises(UsageError, match="probability"):
        measured(rectangle(3, 4), None, np.array(malignancy))
