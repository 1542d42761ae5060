"""Legends that fit, however many the labels."""

import re

import numpy as np
import pytest

from medseg.reports import draw_overlay, write_page
from medseg.reports.legend import in_text, largest_first, shortened
from medseg.volume import Mask


def mask_of(count, affine=None):
    """`count` rows (or boxes of one voxel in i); the last is the largest."""
    array = np.zeros((count, count + 1) if affine is None else (count, count + 1, 3), np.uint16)
    for value in range(1, count + 1):
        array[value - 1, :value] = value
    names = {0: "background"} | {value: f"region_{value}" for value in range(1, count + 1)}
    return Mask(array, names, affine=affine)


def image_of(mask):
    return np.full((1, *mask.array.shape), 100, np.uint8)


def test_the_largest_first():
    assert list(largest_first(mask_of(4))) == [4, 3, 2, 1]
    mask = Mask(np.array([[2, 0]], np.uint8), {0: "background", 1: "absent", 2: "present", 3: "absent, too"})
    assert list(largest_first(mask)) == [2, 1, 3]


def test_shortened():
    names = {4: "d", 3: "c", 2: "b", 1: "a"}
    assert shortened(names, 4) == ({1: "a", 2: "b", 3: "c", 4: "d"}, "")
    kept, more = shortened(names, 2)
    assert list(kept.items()) == [(3, "c"), (4, "d")]
    assert more == "and 2 more"


def test_in_text():
    assert in_text("abc") == "a, b, c"
    assert in_text("abcdefgh") == "a, b, c, d, e and 3 more"
    assert in_text([]) == ""


class TestOverlayOfAVolume:
    @pytest.mark.parametrize("count", [3, 300])
    def test_the_legend_stays_right_of_the_head(self, count):
        """The gap between what stands on the left and the legend is empty."""
        mask = mask_of(count, np.diag([1.0, 1.0, 1.0, 1.0]))
        head = draw_overlay(image_of(mask), mask)[10:40].max(axis=(0, 2)) > 0
        columns = np.flatnonzero(head)
        gaps = np.diff(columns)
        assert gaps.max() >= 24
        assert columns[0] == pytest.approx(32, abs=3)
        assert columns[-1] <= len(head) - 30

    def test_few_names_are_all_there(self):
        """A line of each colour, in the order of the values."""
        mask = mask_of(3, np.eye(4))
        row = draw_overlay(image_of(mask), mask)[27]
        lines = [tuple(map(int, colour)) for colour in row if len(set(map(int, colour))) > 1]
        assert list(dict.fromkeys(lines)) == [(0, 230, 255), (255, 255, 190), (190, 0, 255)]


class TestPage:
    def page(self, tmp_path, mask, measurements=None):
        about = {"measurements": measurements or {}, "quality": {}, "warnings": [], "provenance": {}}
        write_page(tmp_path / "report.html", image=image_of(mask), mask=mask, **about)
        return (tmp_path / "report.html").read_text("utf-8")

    def test_of_many_the_largest(self, tmp_path):
        page = self.page(tmp_path, mask_of(30))
        named = re.findall(r"</span>Region (\d+)", page)
        assert list(map(int, named)) == list(range(19, 31))
        assert "<li>and 18 more</li>" in page

    def test_of_few_all(self, tmp_path):
        page = self.page(tmp_path, mask_of(12))
        assert len(re.findall(r"</span>Region \d+", page)) == 12
        assert "more</li>" not in page

    def test_of_a_volume(self, tmp_path):
        page = self.page(tmp_path, mask_of(30, np.eye(4)))
        assert page.count("<li>and 18 more</li>") == 2, "above the film and below the views"
        assert re.search(r"Contours of: (region \d+, ){4}region \d+ and \d+ more\.", page)

    def test_a_table_of_many_objects(self, tmp_path):
        found = [{"area_px": n} for n in range(40, 10, -1)]
        page = self.page(tmp_path, mask_of(3), {"lesions": {"value": found, "unit": "per lesion"}})
        assert '<th scope="col">8</th></tr>' in page
        assert "These are the first 8 of 30; measurements.json has all." in page
