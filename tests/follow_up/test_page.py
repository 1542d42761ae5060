"""The page says what changed, against what, and shows both times; without a network."""

import re
from datetime import date

import numpy as np

from medseg.follow_up.change import Limit, change_of
from medseg.follow_up.page import page_of, write_follow_up_page
from medseg.follow_up.record import Comparison, FollowUp, ObjectChange, Picture, Track, Visit
from medseg.volume import Mask, Volume

SOURCE = "Callister et al. <2015>"
QUARTER = Limit("relative", 0.25, SOURCE)


def visit(number):
    mask = Mask(np.zeros((4, 4, 4), np.uint8), {1: "left_lung"}, affine=np.eye(4))
    image = Volume(np.zeros((1, 4, 4, 4), np.int16), affine=np.eye(4))
    return Visit(f"case {number}", date(2024, number, 1), mask, image, {}, {"method": "classical"})


def picture():
    return Picture(
        "Grown: dense region 1", "An axial slice.", *(np.full((8, 8, 3), n, np.uint8) for n in (0, 99))
    )


def comparison(earlier, later, sizes=(1.0, 2.0), *, spoken="increased"):
    grown = change_of("dense_region_volume_ml", "ml", *sizes, QUARTER)
    kind = {"increased": "grown", "unchanged": "unchanged"}[grown.verdict]
    assert grown.verdict == spoken
    changes = [
        change_of("lungs_volume_ml", "ml", 5000.0, 5100.0, Limit("relative", 0.08, "measured")),
        change_of("lungs_laa_950_percent", "% of the lung", 2.0, 6.5, Limit("absolute", 3.0, "measured")),
        change_of("lungs_mass_g", "g", None, None, None, "the image cuts it"),
    ]
    growth = {"doubling_days": 60.0, "interval_days": [40.0, None], "percent_per_year": 1.0}
    objects = [ObjectChange(kind, "dense_region", (1,), (2,), *sizes, "ml", grown, growth)]
    return Comparison(
        earlier, later, {"turn": {"value": 1.5, "unit": "degrees"}}, changes, objects, [picture()]
    )


def follow_up(visits=2):
    steps = [comparison(n, n + 1) for n in range(visits - 1)]
    tracks = [Track("dense_region 1", tuple(float(n + 1) for n in range(visits)), "ml")]
    return FollowUp("lung_ct", [visit(n + 1) for n in range(visits)], steps, tracks)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_what_changed_stands_on_top_with_its_limit_and_source():
    text = text_of(page_of(follow_up()))
    assert "Changes beyond what two images of an unchanged patient may differ by" in text
    assert "2024-02-01 against 2024-01-01: 2 changes" in text
    assert "Dense region 1 → 2: grown, 1 ml → 2 ml" in text
    assert "Lungs LAA 950: increased, 2% → 6.5%, +4.5 points" in text
    assert "+25% or -20%" in text
    assert "doubles in 60 days (40 to no bound)" in text
    assert "Callister et al. &lt;2015&gt;" in text
    assert "Not assessed, because the image cuts it: Lungs mass." in text
    assert "Lungs volume unchanged 5000 ml 5100 ml +2.0%" in text


def test_no_change_is_no_all_clear():
    quiet = comparison(0, 1, (1.0, 1.1), spoken="unchanged")
    quiet = Comparison(0, 1, {}, quiet.changes[:1], quiet.objects)
    html = page_of(FollowUp("lung_ct", [visit(1), visit(2)], [quiet]))
    assert "No change beyond what two images" in html
    assert "The pictures still need to be looked at." in html


def test_nothing_assessed_is_said():
    unknown = Comparison(0, 1, {}, [change_of("lungs_mass_g", "g", 1.0, 2.0, None)])
    assert "Nothing could be assessed" in page_of(FollowUp("lung_ct", [visit(1), visit(2)], [unknown]))


def test_a_curve_needs_three_visits():
    assert "<polyline" not in page_of(follow_up(2))
    html = page_of(follow_up(3))
    assert "<polyline" in html
    assert "2024-03-01: 3 ml" in html


def test_the_page_is_whole_and_needs_no_network(tmp_path):
    write_follow_up_page(tmp_path / "report.html", follow_up(3))
    html = (tmp_path / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert "http" not in html.replace("http-equiv", "")
    assert html.count('class="pair"') == 2
    assert "script-src 'sha256-" in html
