"""The overlay leaves the photograph judgeable; the page and the record say all there is, safely."""

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from medseg.errors import MedsegError, UnsuitableError
from medseg.reports import draw_overlay, write_page, write_record
from medseg.reports.picture_overlay import (
    AGREED,
    COLOURS,
    FALSE_ALARM,
    FIELD_COLOUR,
    MISSED,
    colour_of,
    draw_errors,
    grow,
    to_display,
)
from medseg.volume import Mask

ROWS, COLUMNS = 60, 80


LABELS = {0: "background", 1: "vessel", 2: "optic_disc"}


@pytest.fixture
def photograph():
    return np.random.default_rng(1).integers(20, 120, (3, ROWS, COLUMNS), dtype=np.uint8)


@pytest.fixture
def mask():
    array = np.zeros((ROWS, COLUMNS), np.uint8)
    array[30, 10:40] = 1  # a vessel of one pixel
    array[10:20, 50:70] = 2
    return Mask(array, LABELS, source="/patients/Erika Mustermann/scan.png")


@pytest.fixture
def case(photograph, mask):
    """The arguments of write_page."""
    return {
        "image": photograph,
        "mask": mask,
        "measurements": {
            "vessel_density": {"value": np.float32(0.125), "unit": "1"},
            "vessel_area_px2": {"value": np.int64(123456), "unit": "px2"},
            "calibre_mm": {"value": None, "unit": "mm", "reason": "the pixel size is not known"},
            "calibre_histogram": {"value": {"edges": [0, 1, 2, 3], "counts": [4, 8, 2]}, "unit": "px"},
            "tortuosity": {"value": [1.0, 1.1, 1.2, 1.1, 1.4, 1.2], "unit": "1"},
            "area_by_side": {"value": {"left": 2.5, "right": None}, "unit": "percent"},
        },
        "quality": {"verdict": "warn", "sharpness": 12.5},
        "warnings": ["the photograph is blurred", "a < b & c"],
        "provenance": {
            "task": "retinal_vessel",
            "input": "<script>alert(1)</script>.png",
            "weights_sha256": "ab12" * 16,
            "versions": {"medseg": "0.1.0", "torch": "2.6.0"},
        },
    }


@pytest.fixture
def record(case):
    """The arguments of write_record."""
    return {"task": "retinal_vessel", "labels": LABELS} | {
        key: case[key] for key in ("measurements", "quality", "warnings", "provenance")
    }


def _page(tmp_path, **case):
    write_page(tmp_path / "report.html", **case)
    return (tmp_path / "report.html").read_text("utf-8")


class TestOverlay:
    def test_structure_keeps_its_pixels_and_its_neighbours_carry_the_line(self, photograph, mask):
        overlay = draw_overlay(photograph, mask)
        plain = photograph.transpose(1, 2, 0)
        line = np.zeros((ROWS, COLUMNS), bool)
        line[29:32, 9:41] = line[9:21, 49:71] = True
        line[mask.array > 0] = False
        assert overlay.dtype == np.uint8
        np.testing.assert_array_equal(overlay[~line], plain[~line])
        assert (overlay[29, 20] == COLOURS[0]).all()
        assert (overlay[9, 60] == COLOURS[1]).all()
        assert np.isin(overlay[line], COLOURS[:2]).all()

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
    def test_labels_grow_as_by_a_maximum_filter(self, dtype):
        random = np.random.default_rng(0)
        for shape in ((1, 1), (1, 5), (7, 2), (40, 53)):
            labels = (random.integers(0, 60, shape) * (random.random(shape) < 0.05)).astype(dtype)
            for width in (1, 2, 3):
                np.testing.assert_array_equal(grow(labels, width), maximum_filter(labels, 2 * width + 1))

    def test_touching_labels_are_parted_by_a_line(self, photograph):
        array = np.ones((ROWS, COLUMNS), np.uint16)
        array[:, 40:] = 2
        overlay = draw_overlay(photograph, Mask(array))
        assert (overlay[:, 39] == COLOURS[1]).all()
        np.testing.assert_array_equal(overlay[:, 40:], photograph.transpose(1, 2, 0)[:, 40:])

    def test_empty_mask_gives_the_photograph_and_leaves_the_input_alone(self, photograph):
        before = photograph.copy()
        overlay = draw_overlay(photograph, Mask(np.zeros((ROWS, COLUMNS), np.uint8)))
        np.testing.assert_array_equal(overlay, photograph.transpose(1, 2, 0))
        draw_overlay(photograph, Mask(np.eye(ROWS, COLUMNS, dtype=np.uint8)))
        np.testing.assert_array_equal(photograph, before)

    def test_field_border_is_dashed_and_outside_the_field(self, photograph):
        rows, columns = np.ogrid[:ROWS, :COLUMNS]
        field = (rows - 30) ** 2 + (columns - 40) ** 2 < 25**2
        overlay = draw_overlay(photograph, Mask(np.zeros((ROWS, COLUMNS), np.uint8)), field)
        plain = photograph.transpose(1, 2, 0)
        dashes = (overlay == FIELD_COLOUR).all(axis=-1)
        assert 20 < dashes.sum() < 120
        assert not (dashes & field).any()
        np.testing.assert_array_equal(overlay[~dashes], plain[~dashes])
        whole = draw_overlay(photograph, Mask(np.zeros((ROWS, COLUMNS), np.uint8)), np.ones_like(field))
        np.testing.assert_array_equal(whole, plain)

    def test_line_grows_with_the_picture(self):
        array = np.zeros((40, 3500), np.uint8)
        array[20, 1000:2000] = 1
        overlay = draw_overlay(np.zeros((1, 40, 3500), np.uint8), Mask(array))
        assert overlay[:, 1500].any(axis=-1).nonzero()[0].tolist() == [18, 19, 21, 22]

    @pytest.mark.parametrize(
        ("dtype", "top"),
        [(np.uint16, 4095), (np.int16, 900), (np.float32, 1.0), (np.float64, 3e4), (bool, 1)],
    )
    def test_any_type_fills_the_display_range(self, dtype, top):
        image = (np.linspace(0, 1, 10_000).reshape(1, 100, 100) * top).astype(dtype)
        shown = to_display(image)
        assert shown.shape == (100, 100, 3)
        assert shown.min() == 0
        assert shown.max() == 255

    def test_faint_float_stays_faint_and_nan_is_black(self):
        image = np.full((1, 4, 4), 0.2)
        image[0, 0, 0] = np.nan
        shown = to_display(image)
        assert shown[1, 1].tolist() == [51, 51, 51]
        assert shown[0, 0].tolist() == [0, 0, 0]

    def test_refuses_what_does_not_fit(self, photograph, mask):
        with pytest.raises(UnsuitableError, match=r"shape \(4, 5, 6\)"):
            draw_overlay(np.zeros((4, 5, 6), np.uint8), mask)
        with pytest.raises(MedsegError, match="a mask on the picture's grid"):
            draw_overlay(photograph[:, 1:], mask)
        with pytest.raises(MedsegError, match="a field of view on the picture's grid"):
            draw_overlay(photograph, mask, np.ones((2, 2), bool))

    def test_colours_are_css(self):
        assert colour_of(1) == "#00e6ff"
        assert colour_of(1 + len(COLOURS)) == colour_of(1)


class TestErrors:
    """Column by column: what the mask says, what the reference says, and the colour of that."""

    TRUTH = (0, 0, 0, 1, 1, 1, 2, 2, 2)
    PREDICTION = (0, 1, 2, 0, 1, 2, 0, 1, 2)
    COLOURS = (None, FALSE_ALARM, FALSE_ALARM, MISSED, AGREED, MISSED, MISSED, MISSED, AGREED)

    @pytest.fixture
    def labels(self):
        return [np.tile(np.array(row, np.uint8), (4, 1)) for row in (self.PREDICTION, self.TRUTH)]

    @pytest.fixture
    def picture(self):
        return np.random.default_rng(1).integers(20, 250, (3, 4, 9), dtype=np.uint8)

    def test_every_pair_of_labels_has_its_colour(self, picture, labels):
        errors = draw_errors(picture, *labels)
        assert errors.shape == (4, 9, 3)
        assert errors.dtype == np.uint8
        for column, colour in enumerate(self.COLOURS):
            expected = picture[:, :, column].T * 0.6 if colour is None else colour
            assert (errors[:, column] == np.floor(expected)).all(), column

    def test_colours_differ_from_each_other_and_from_the_darkened_picture(self):
        assert len({tuple(colour) for colour in (MISSED, AGREED, FALSE_ALARM)}) == 3
        brightest = draw_errors(np.full((1, 1, 1), 255, np.uint8), np.zeros((1, 1)), np.zeros((1, 1)))
        assert all(colour.max() > brightest.max() for colour in (MISSED, AGREED, FALSE_ALARM))

    def test_outside_the_field_nothing_is_compared(self, picture, labels):
        field = np.zeros((4, 9), bool)
        field[1:3] = True
        errors, whole = draw_errors(picture, *labels, field), draw_errors(picture, *labels)
        np.testing.assert_array_equal(errors[1:3], whole[1:3])
        plain = (picture.transpose(1, 2, 0) * 0.6).astype(np.uint8)
        np.testing.assert_array_equal(errors[[0, 3]], plain[[0, 3]])
        np.testing.assert_array_equal(draw_errors(picture, *labels, np.ones_like(field)), whole)

    @pytest.mark.parametrize("dtype", [bool, np.int64, np.uint16, np.float32])
    def test_labels_of_any_type(self, picture, labels, dtype):
        prediction, truth = (array.clip(0, 1) for array in labels)
        expected = draw_errors(picture, prediction, truth)
        np.testing.assert_array_equal(
            draw_errors(picture, prediction.astype(dtype), truth.astype(dtype)), expected
        )

    def test_a_grey_picture_of_16_bit(self, labels):
        image = np.linspace(0, 4095, 36).reshape(1, 4, 9).astype(np.uint16)
        errors = draw_errors(image, *labels)
        plain = (to_display(image) * 0.6).astype(np.uint8)
        np.testing.assert_array_equal(errors[:, 0], plain[:, 0])

    def test_the_input_is_left_alone(self, picture, labels):
        arrays = [picture, *labels, np.ones((4, 9), bool)]
        before = [array.copy() for array in arrays]
        draw_errors(*arrays)
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_refuses_what_does_not_fit(self, picture, labels):
        prediction, truth = labels
        with pytest.raises(MedsegError, match="a mask on the picture's grid"):
            draw_errors(picture, prediction[1:], truth)
        with pytest.raises(MedsegError, match="a reference on the picture's grid"):
            draw_errors(picture, prediction, truth.T)
        with pytest.raises(MedsegError, match="a field of view on the picture's grid"):
            draw_errors(picture, prediction, truth, np.ones((2, 2), bool))
        with pytest.raises(UnsuitableError, match="a picture of shape"):
            draw_errors(picture[:2], prediction, truth)


class TestPage:
    def test_says_every_value_warning_and_origin(self, tmp_path, case):
        html = _page(tmp_path, **case)
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
        for expected in (
            "Retinal vessel",
            "Vessel density 0.12",
            "Vessel area 123 456 px²",
            "Not known, because the pixel size is not known: calibre (mm).",
            "14 counted",
            "Tortuosity 1, 1.10, 1.20",
            "Left: 2.50%; Right: not known",
            "Review with care: 2 warnings",
            "the photograph is blurred",
            "a &lt; b &amp; c",
            "Optic disc",
            "ab12" * 16,
            "2.6.0",
            "research use only",
            "qualified person",
        ):
            assert expected in text, expected
        assert html.count("<rect x=") >= 3

    def test_a_list_of_things_is_a_table_with_a_column_each(self, tmp_path, case):
        lesions = [
            {"area_px": 120, "angle": None, "solidity": 0.91},
            {"area_px": 30, "angle": None, "solidity": None},
        ]
        case["measurements"]["lesions"] = {"value": lesions, "unit": "per lesion"}
        html = _page(tmp_path, **case)
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html[html.index('class="each"') :]))
        assert "Measurement 1 2 Area px 120 30 Solidity 0.91 \N{EN DASH} " in text
        assert "Angle" not in text

    def test_escapes_a_hostile_file_name(self, tmp_path, case):
        html = _page(tmp_path, **case)
        assert html.count("<script") == 1  # the page's own
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in html

    def test_loads_nothing_and_forbids_it(self, tmp_path, case):
        html = _page(tmp_path, **case)
        assert "default-src 'none'" in html
        own = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:;" in html
        assert not re.search(r"fetch|XMLHttp|import|WebSocket|http|eval|innerHTML", own)
        html = html.replace(own, "")
        sources = re.findall(r"(?:src|href|srcset|action|data)\s*=\s*[\"']?([^\"'> ]+)", html)
        assert len(sources) == 2
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        assert not re.search(r"url\(|@import|https?://|<(link|iframe|object)", html)

    def test_can_be_read_aloud(self, tmp_path, case):
        html = _page(tmp_path, **case)
        assert '<html lang="en">' in html
        assert all('alt="' in image for image in re.findall(r"<img [^>]+>", html))
        assert all("aria-" in svg for svg in re.findall(r"<svg[^>]+>", html))

    def test_does_not_name_the_source_path(self, tmp_path, case):
        assert "Mustermann" not in _page(tmp_path, **case)

    def test_nothing_odd_gives_the_green_banner(self, tmp_path, case):
        html = _page(tmp_path, **case | {"warnings": [], "quality": {"verdict": "pass"}})
        assert 'class="banner pass"' in html
        assert "checks found nothing unusual" in html
        assert "Review with care" not in html
        assert "Nothing was found" not in html

    def test_nothing_found_is_said(self, tmp_path, case):
        case["mask"] = dataclasses.replace(case["mask"], array=np.zeros_like(case["mask"].array))
        html = _page(tmp_path, **case | {"warnings": [], "quality": {"verdict": "pass"}})
        assert "Nothing was found, and there are no warnings" in html

    def test_does_not_claim_checks_that_were_not_made(self, tmp_path, case):
        html = _page(tmp_path, **case | {"warnings": [], "quality": {}})
        assert "No automatic quality check was made" in html

    def test_a_rejected_mask_is_red_and_says_what_is_expected(self, tmp_path, case):
        quality = {
            "verdict": "reject",
            "reasons": ["the predicted Dice of vessel is 0.41"],
            "predicted_dice": {"vessel": {"value": 0.4123, "interval": [0.155, 0.61]}},
            "novelty": {"distance": 12.3, "percentile": 96.5},
        }
        html = _page(tmp_path, **case | {"quality": quality})
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
        assert 'class="banner reject"' in html
        assert "Rejected by the automatic quality check" in text
        assert "the predicted Dice of vessel is 0.41" in text
        assert "Vessel 0.41 0.16 to 0.61" in text
        assert "farther from the training images than 97% of these" in text
        edit = {"decision": "edit", "reviewer": "Ada", "date": "2026-07-01T10:00:00+00:00", "comment": "apex"}
        case["provenance"]["review"] = [edit]
        html = _page(tmp_path, **case | {"quality": quality, "warnings": []})
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
        assert 'class="banner pass"' in html
        assert "Edited by Ada , 2026-07-01: apex" in text
        assert "of the automatic result before it was edited" in text

    def test_says_why_nothing_was_predicted(self, tmp_path, case):
        quality = {"verdict": "pass", "reasons": [], "predicted_dice_reason": "no predictor was fitted"}
        assert "was not predicted: no predictor was fitted." in _page(tmp_path, **case | {"quality": quality})

    def test_says_what_was_not_assessed(self, tmp_path, case):
        html = _page(tmp_path, **case, not_assessed=["drusen", "the <macula>"])
        assert "<strong>Not assessed:</strong> drusen; the &lt;macula&gt;." in html
        assert "Not assessed" not in _page(tmp_path, **case)

    def test_left_and_right_are_columns(self, tmp_path, case):
        case["measurements"] = {
            "left_kidney_volume_ml": {"value": 151.2, "unit": "ml"},
            "left_kidney_cut_at": {"value": [], "unit": "sides of the image"},
            "right_kidney_volume_ml": {"value": None, "unit": "ml", "reason": "it is cut"},
            "right_kidney_cut_at": {"value": ["left"], "unit": "sides of the image"},
            "kidneys_volume_ml": {"value": 300.0, "unit": "ml"},
            "left_right_ratio": {"value": 0.95, "unit": "ratio"},
        }
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", _page(tmp_path, **case)))
        assert "Measurement Left Right Both Kidney volume ml 151 \N{EN DASH} 300" in text
        assert "Kidney cut at sides of the image none left \N{EN DASH}" in text
        assert "Left right ratio 0.95" in text
        assert "Not known, because it is cut: right kidney volume (ml)." in text

    def test_diameters_are_drawn_on_the_object(self, tmp_path, case):
        case["mask"] = dataclasses.replace(case["mask"], pixel_spacing_mm=(0.2, 0.1))
        line = {"width_ends_px": [[10.0, 69.5], [10.0, 49.5]], "width_px": 20.0, "width_mm": 2.0}
        case["measurements"] = {"things": {"value": [line], "unit": "each"}}
        html = _page(tmp_path, **case)
        assert (
            '<line x1="50.0" y1="10.5" x2="70.0" y2="10.5">' not in html
        )  # the text would leave the picture
        assert '<line x1="70.0" y1="10.5" x2="50.0" y2="10.5">' in html
        assert ">2 mm</text>" in html
        assert 'data-across="0.1" data-down="0.2" data-unit="mm"' in html
        assert "ends px" not in html

    def test_px_are_left_out_where_mm_are_known(self, tmp_path, case):
        each = {"area_px": 200, "area_mm2": 2.0, "width_px": 20.0, "width_mm": None}
        case["measurements"] = {
            "area_px": {"value": 200, "unit": "px"},
            "area_mm2": {"value": 2.0, "unit": "mm²"},
            "width_px": {"value": 20, "unit": "px"},
            "width_mm": {"value": None, "unit": "mm", "reason": "unknown"},
            "things": {"value": [each, each], "unit": "each"},
        }
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", _page(tmp_path, **case)))
        assert "Measurement Value Area 2 mm² Width 20 px Things" in text
        assert "Measurement 1 2 Area mm2 2 2 Width px 20 20" in text

    def test_the_date_of_the_study(self, tmp_path, case):
        """A date alone: what else stands in that element may be anything."""
        for told, shown in (("20260131", "Study of 2026-01-31"), ("Erika", ""), ("", ""), (None, "")):
            case["mask"] = dataclasses.replace(case["mask"], headers=(SimpleNamespace(StudyDate=told),))
            html = _page(tmp_path, **case)
            assert shown in html
            assert ("Study of" in html) == bool(shown)
            assert "Erika" not in html

    def test_a_bad_verdict_alone_gives_the_amber_banner(self, tmp_path, case):
        html = _page(tmp_path, **case | {"warnings": []})
        assert 'class="banner warn"' in html
        assert "The quality check ended with: warn" in html

    def test_many_missing_values_are_counted_and_folded_away(self, tmp_path, case):
        missing = {f"size_{n}_mm": {"value": None, "unit": "mm", "reason": "no lesion"} for n in range(6)}
        text = re.sub(r"<[^>]+>", " ", _page(tmp_path, **case | {"measurements": missing}))
        assert "6 measurements are not known, because no lesion." in text
        assert "size 5 (mm)" in text
        assert "Not known, because" not in text
        del missing["size_0_mm"]
        text = re.sub(r"<[^>]+>", " ", _page(tmp_path, **case | {"measurements": missing}))
        assert "Not known, because no lesion: size 1 (mm), " in text

    @pytest.mark.parametrize(
        ("value", "shown"),
        [(9.92e-05, "&lt;0.001 prob"), (0.0, "0 prob"), (0.412, "0.41 prob"), (0.0674, "0.07 prob")],
    )
    def test_a_small_probability_has_no_exponent(self, tmp_path, case, value, shown):
        entry = {"value": value, "unit": "probability, no diagnosis"}
        assert shown in _page(tmp_path, **case | {"measurements": {"lesion_probability": entry}})

    def test_nan_is_shown_as_not_known(self, tmp_path, case):
        html = _page(tmp_path, **case | {"measurements": {"density": {"value": np.nan, "unit": "1"}}})
        assert "Not known, because the result is not a finite number" in html

    def test_says_that_a_label_was_not_found_and_bears_empty_parts(self, tmp_path, case, photograph):
        empty = Mask(np.zeros((ROWS, COLUMNS), np.uint8), LABELS)
        html = _page(tmp_path, **case | {"mask": empty, "measurements": {}, "quality": {}, "provenance": {}})
        assert "Vessel (none found)" in html
        assert "No measurements were made" in html

    def test_a_large_picture_is_reduced_and_said_so(self, tmp_path, case):
        image, mask = np.zeros((1, 100, 3200), np.uint8), Mask(np.zeros((100, 3200), np.uint8), LABELS)
        html = _page(tmp_path, **case | {"image": image, "mask": mask})
        assert "reduced from 3200 \N{MULTIPLICATION SIGN} 100 pixels" in html

    @pytest.mark.parametrize(
        "value",
        [
            [],
            {},
            "text",
            True,
            [1, 2],
            [None] * 6,
            {"edges": [], "counts": []},
            [[1, 2], [3, 4]],
            1e-9,
            [{"a": 1}],
        ],
    )
    def test_bears_odd_values(self, tmp_path, case, value):
        assert "Oddity" in _page(
            tmp_path, **case | {"measurements": {"oddity": {"value": value, "unit": "px"}}}
        )


class TestRecord:
    def test_round_trip(self, tmp_path, record):
        path = tmp_path / "measurements.json"
        write_record(path, **record)
        text = path.read_text("utf-8")
        read = json.loads(text, parse_constant=pytest.fail)
        assert list(read) == ["task", "labels", "measurements", "warnings", "quality", "provenance"]
        assert read["labels"] == {"0": "background", "1": "vessel", "2": "optic_disc"}
        assert list(read["measurements"]) == list(record["measurements"])
        assert read["measurements"]["vessel_area_px2"] == {"value": 123456, "unit": "px2"}
        assert read["warnings"] == record["warnings"]
        assert text.startswith('{\n  "task"')

    def test_nan_becomes_null_with_a_reason(self, tmp_path, record):
        odd = {
            "ratio": {"value": np.float32("nan"), "unit": "1"},
            "calibres": {"value": np.array([1.0, np.inf, 2.0]), "unit": "px"},
            "sides": {
                "value": {"left": float("-inf"), "right": 1.0},
                "unit": "px",
                "reason": "left was cut off",
            },
        }
        write_record(tmp_path / "m.json", **record | {"measurements": odd})
        read = json.loads((tmp_path / "m.json").read_text("utf-8"))["measurements"]
        assert read["ratio"] == {"value": None, "unit": "1", "reason": "the result is not a finite number"}
        assert read["calibres"]["value"] == [1.0, None, 2.0]
        assert read["calibres"]["reason"] == "1 of its numbers are not finite"
        assert read["sides"]["value"] == {"left": None, "right": 1.0}
        assert read["sides"]["reason"].startswith("left was cut off; ")

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("眼底", "眼底"),
            ("M\udcfcller", "M\N{REPLACEMENT CHARACTER}ller"),
            ("\udce7\udc9c\udcbc", "眼"),  # UTF-8 where the system expects ASCII
            ("\ud800", "?"),
        ],
    )
    def test_names_that_are_no_text(self, tmp_path, record, name, written):
        write_record(tmp_path / "m.json", **record | {"provenance": {"input": name, name: 1}})
        read = json.loads((tmp_path / "m.json").read_bytes().decode("utf-8"))
        assert read["provenance"] == {"input": written, written: 1}

    @pytest.mark.parametrize("odd", [float("nan"), object(), {1, 2}])
    def test_refuses_what_no_reason_can_explain(self, tmp_path, record, odd):
        with pytest.raises(MedsegError, match=r"quality\.sharpness"):
            write_record(tmp_path / "m.json", **record | {"quality": {"sharpness": odd}})
        assert not list(tmp_path.iterdir())


@pytest.mark.seconds
def test_import_is_light():
    code = (
        "import sys, medseg.reports; print({'torch', 'monai', 'jinja2', 'PIL', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
