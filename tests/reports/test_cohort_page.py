"""The page of a cohort: whole, offline, with nothing of a ledger as markup, and small enough to open."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from medseg.reports import cohort
from medseg.reports.cohort import CaseLink, Failure, Measure, Picture, Row, write_cohort_page

EVIL = '<script>alert(1)</script>"><img src=x>'


def write(path, **change):
    values = np.random.default_rng(0).normal(size=50)
    content = {
        **{"subject": "organ, unet", "summary": "1 of 2 cases done", "colour": "warn", "concerns": [EVIL]},
        **{"counts": [("done", 1), ("refused", 1)], "constants": [EVIL], "outlier_rule": ["Far."]},
        "failures": [Failure("refused", EVIL, EVIL, (CaseLink(EVIL),)), Failure("refused", "B", "", ())],
        "measures": [Measure(EVIL, "ml", ("Median 3 ml.",), values, (float(values.max()),))],
        "outliers": [Row(CaseLink(EVIL, "./a/report.html"), (EVIL,))],
        "order": [Row(CaseLink("a"), ("0.61", "warn", EVIL))],
        **{"pictures": [], "origin": [("Method", EVIL)]},
    }
    write_cohort_page(path, **(content | change))
    return path.read_text("utf-8")


def pictures(folder, count, px=240):
    noise = np.random.default_rng(0).integers(0, 255, (px, px, 3), np.uint8)
    Image.fromarray(noise).save(folder / "overlay.png")
    return [Picture(CaseLink(f"case {n}"), folder / "overlay.png", "pass") for n in range(count)]


def test_the_page_is_offline_and_escapes_what_the_ledger_says(tmp_path):
    html = write(tmp_path / "cohort.html")
    assert "<script" not in html
    assert "<img" not in html
    assert set(re.findall(r'<[^>]*\b(?:src|href)="([^"]*)"', html)) == {"./a/report.html"}
    assert not re.search(r"https?://", html)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)
    assert '<div class="banner warn">' in html


def test_a_cohort_of_which_nothing_is_known_has_a_page(tmp_path):
    nothing = dict.fromkeys(("failures", "measures", "outliers", "order", "constants", "origin"), ())
    html = write(tmp_path / "cohort.html", counts=[("done", 0), ("pending", 3)], **nothing)
    assert "<h2>" not in html
    assert "<b>3</b>pending" in html


def test_failures_of_a_kind_stand_together_with_their_cases(tmp_path):
    cases = tuple(CaseLink(f"c{n}") for n in range(3))
    failures = [
        Failure("failed", "MemoryError", "one", cases[:2]),
        Failure("failed", "MemoryError", "two", cases[2:]),
    ]
    html = write(tmp_path / "cohort.html", failures=failures)
    assert "<h3>3 failed: MemoryError</h3>" in html
    assert "2 cases: c0, c1" in html
    assert "1 case: c2" in html


@pytest.mark.seconds
def test_small_pictures_are_bounded_in_number_and_size(tmp_path, monkeypatch):
    html = write(tmp_path / "cohort.html", pictures=pictures(tmp_path, 1000))
    shown = html.count("data:image/jpeg")
    assert 100 < shown <= cohort.MOST_THUMBS
    assert f"{shown} of 1000 cases with a picture" in html
    assert len(html) < 8e6
    first = re.search(r"data:image/jpeg;base64,([^\"]+)", html)[1]
    assert max(Image.open(io.BytesIO(base64.b64decode(first))).size) == cohort.THUMB_PX
    monkeypatch.setattr(cohort, "MOST_THUMBS", 7)
    assert write(tmp_path / "few.html", pictures=pictures(tmp_path, 9)).count("data:image/jpeg") == 7


def test_a_broken_picture_is_left_out(tmp_path):
    found = pictures(tmp_path, 2)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    broken = Picture(CaseLink("broken"), tmp_path / "broken.png", "pass")
    html = write(tmp_path / "cohort.html", pictures=[broken, *found])
    assert html.count("data:image/jpeg") == 2


def test_a_long_table_is_folded(tmp_path):
    rows = [Row(CaseLink(f"case {n}"), ("x",)) for n in range(30)]
    html = write(tmp_path / "cohort.html", outliers=rows)
    assert "<summary>10 more</summary>" in html
    assert html.count("case 29") == 1
