"""drift.html: whole, offline, and with nothing of a record as markup."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from medseg.reports.drift import HEIGHT, WIDTH, Card, Point, curve, histogram, write_drift_page
from medseg.reports.histogram import edges_of, shares_of

MONTHS = [Point("2026-09", False, 1.0, 9), Point("2026-11", True, 2.0, 9), Point("2026-12", True, 3.0, 9)]


def write(path, **change):
    values = np.random.default_rng(0).normal(size=50)
    table = {"name": "t", "header": ("a", "b"), "right": ("b",), "rows": [("x", "1")], "best": None}
    cards = [
        Card("Area", "ml", ("<b>bold</b>",), True, values, values + 1, points=tuple(MONTHS)),
        Card("Warning", "", (), False, np.empty(0), np.empty(0), rates=(0.1, 0.5)),
    ]
    content = {
        **{"subject": "organ", "compared": "a with b", "summary": "drift in 1 of 2", "called": ["Area"]},
        **{"table": table, "cards": cards, "months": table, "untested": [("m", "always 1")], "how": ["so"]},
        **{"notes": ["<script>alert(1)</script>"], "broken": ['"><img src=x>']},
    }
    write_drift_page(path, **(content | change))
    return path.read_text("utf-8")


def test_the_page_is_offline_and_escapes_what_records_say(tmp_path):
    html = write(tmp_path / "drift.html")
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert not re.search(r"<[^>]*\b(src|href)=|https?://", html)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)
    assert 'aria-label="Area: distribution' in html
    assert '<div class="banner warn">' in html


def test_without_drift_the_banner_is_green(tmp_path):
    assert '<div class="banner pass">' in write(tmp_path / "drift.html", called=[])


@pytest.mark.parametrize(
    "values",
    [np.zeros(5), np.array([0.0, 1, 1, 2]), np.linspace(-1e9, 1e9, 50), np.array([1e-12, 2e-12])],
    ids=["constant", "counts", "large", "tiny"],
)
def test_a_histogram_stays_in_its_frame(values):
    found = histogram(values, values + 1)
    for side in ("reference", "now"):
        numbers = [float(text) for text in re.findall(r"-?[\d.]+", found[side])]
        assert min(numbers) >= 0
        assert max(numbers[::2]) <= WIDTH
        assert max(numbers[1::2]) <= HEIGHT


def test_the_ends_of_an_axis_of_counts_are_counts():
    found = histogram(np.array([0.0, 1, 1]), np.array([3.0, 1]))
    assert (found["low"], found["high"]) == ("0", "3")


def test_a_few_sizes_are_no_block():
    edges, _ = edges_of(np.array([1.2, 1.3, 1.35, 9.7]))
    assert len(np.unique(shares_of(np.array([1.2, 1.3, 1.35, 9.7]), edges))) > 1


def test_a_curve_shows_months_in_proportion_to_time():
    found = curve(np.arange(5.0), MONTHS)
    (first, *_), (second, *_), (third, *_) = found["dots"]
    assert (second - first) == pytest.approx(2 * (third - second), abs=0.2)
    assert found["line"].count("L") == 1  # the months of now alone
    assert curve(np.arange(5.0), MONTHS[:1]) is None
