"""cohort.html of a ledger: counts, failures, outliers, the order of a review."""

import re
from pathlib import Path

import numpy as np
from cohort_results import done, ledger_of
from drift_records import record, write_case
from PIL import Image

from medseg.cohort.ledger import CaseRow
from medseg.cohort.page import write_page


def page_of(folder, rows, **settings):
    with ledger_of(folder, rows, **settings) as ledger:
        write_page(folder, ledger)
    return (folder / "cohort.html").read_text("utf-8")


def cells(html, heading):
    """The rows of the table below a heading, as texts."""
    part = html[html.index(f"<h2>{heading}</h2>") :]
    rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", part[: part.index("</section>")], re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def predicted(dice):
    found = {"verdict": "pass", "reasons": []}
    return found | {"predicted_dice": {"organ": {"value": dice, "interval": [dice - 0.1, dice + 0.1]}}}


def test_an_outlier_is_named_with_its_value_and_leads_to_its_report(tmp_path):
    areas = [*np.linspace(95, 105, 12), 400.0]
    for number, area in enumerate(areas):
        write_case(tmp_path, f"c {number:02d}", record(float(area)))
    (tmp_path / "c 12" / "report.html").touch()
    html = page_of(tmp_path, [done(f"c {n:02d}") for n in range(13)])
    (row,) = cells(html, "Outliers")
    assert row[0] == "c 12"
    assert re.fullmatch(r"Organ area 400 mm² \(z \d+\.\d\); Organ area 4 cm² \(z \d+\.\d\)", row[1])
    assert '<a href="./c%2012/report.html">c 12</a>' in html
    assert "13 of 13 cases done" in html
    assert '<div class="banner pass">' in html
    assert "The same in all cases: Organ count: 1; Seconds per case: 2 s." in html


def test_the_review_order_is_that_of_a_review(tmp_path):
    for name, dice in (("good", 0.95), ("poor", 0.4), ("fair", 0.8)):
        write_case(tmp_path, name, record(100.0, quality=predicted(dice)))
    write_case(tmp_path, "rejected", record(100.0, quality=predicted(0.9) | {"verdict": "reject"}))
    html = page_of(tmp_path, [done(name) for name in ("fair", "good", "poor", "rejected")])
    order = cells(html, "Review order")
    assert [row[:3] for row in order] == [
        ["rejected", "0.90", "reject"],
        ["poor", "0.40", "pass"],
        ["fair", "0.80", "pass"],
        ["good", "0.95", "pass"],
    ]


def test_without_a_prediction_there_is_no_review_order(tmp_path):
    write_case(tmp_path, "a", record(100.0))
    html = page_of(tmp_path, [done("a")])
    assert "Review order" not in html
    assert "1 of 1 case done" in html


def test_failures_are_counted_by_kind_and_alike_texts_together(tmp_path):
    def failed(case, state, kind, text):
        return CaseRow(case, (f"/images/{case}.png",), state=state, kind=kind, text=text, attempts=1)

    rows = [failed(f"e{n}", "refused", "UnreadableError", f"got e{n}.png, {n} bytes.") for n in range(3)]
    rows += [failed("big", "set_aside", "signal 9", "It ended."), CaseRow("later", ("/images/later.png",))]
    html = page_of(tmp_path, rows)
    assert "<h3>3 refused: UnreadableError</h3>" in html
    assert "Such as: got e0.png, 0 bytes." in html
    assert "3 cases: e0, e1, e2" in html
    assert "<h3>1 set aside: signal 9</h3>" in html
    assert "1 not tried yet: go on with --resume." in html
    assert '<div class="banner reject">' in html  # nothing is done
    assert "/images/" not in html


def test_pictures_are_those_of_done_cases_the_worst_first(tmp_path):
    for name, warnings in (("fine", ()), ("odd", ("It is odd.",))):
        write_case(tmp_path, name, record(100.0, warnings))
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / name / "overlay.png")
    html = page_of(tmp_path, [done("fine"), done("odd"), CaseRow("x", (str(Path("/x")),), state="failed")])
    assert re.findall(r'<img [^>]*alt="(\w+)"', html) == ["odd", "fine"]
    assert "2 of 2 cases with a picture" in html


def test_a_ledger_without_a_done_case(tmp_path):
    html = page_of(tmp_path, [CaseRow("a", ("/a",))])
    assert "0 of 1 case done" in html
    assert "<h2>Distributions</h2>" not in html
