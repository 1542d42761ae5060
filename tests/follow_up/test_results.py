"""A follow-up as files: whole or not at all, and what the record holds."""

import json

import numpy as np
import pytest
from two_chests import visit

from medseg.errors import UsageError
from medseg.follow_up.change import Limit, change_of
from medseg.follow_up.record import Comparison, FollowUp, ObjectChange, Picture
from medseg.follow_up.results import save
from medseg.io import read_volume
from medseg.volume import Volume

VISITS = [visit(day, f"case-{day}", noise_hu=0) for day in ("2025-01-31", "2025-07-02")]
LIMIT = Limit("relative", 0.25, "a test")


def follow_up(visits=VISITS, **changed):
    grey = np.zeros((40, 40, 3), np.uint8)
    image = VISITS[1].image
    grown = change_of("dense_region_volume_ml", "ml", 1.0, 2.0, LIMIT)
    comparison = Comparison(
        *(0, 1, {"likeness": {"value": 0.9, "unit": "correlation"}}),
        [change_of("lungs_volume_ml", "ml", 4000.0, 4010.0, Limit("relative", 0.05, "a test"))],
        [ObjectChange("grown", "dense_region", (1,), (1,), 1.0, 2.0, "ml", grown)],
        [Picture("Grown", "A sentence.", grey, grey)],
        {"density_change_hu": Volume(image.array - image.array.min(), image.affine)},
        ["a warning <of & one>"],
    )
    return FollowUp("lung_ct", visits, changed.get("comparisons", [comparison]), (), ["whose?"], [])


def test_record_page_and_map(tmp_path):
    folder = save(follow_up(), tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        *("follow_up.json", "report.html", "density_change_hu.nii.gz")
    }
    record = json.loads((folder / "follow_up.json").read_text())
    assert [each["date"] for each in record["visits"]] == ["2025-01-31", "2025-07-02"]
    (found,) = record["comparisons"]
    assert found["days"] == 152
    assert found["objects"][0]["change"]["relative"] == 1.0
    assert found["changes"][0] == {
        **{"measure": "lungs_volume_ml", "unit": "ml", "earlier": 4000.0, "later": 4010.0},
        **{"verdict": "unchanged", "reason": "", "difference": 10.0, "relative": 0.0025},
        "limit": {"kind": "relative", "limit": 0.05, "source": "a test"},
    }
    assert read_volume(folder / found["maps"]["density_change_hu"]).array.shape == VISITS[1].image.array.shape
    page = (folder / "report.html").read_text()
    assert "a warning &lt;of &amp; one&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_an_earlier_follow_up_is_replaced_whole(tmp_path):
    save(follow_up(), tmp_path)
    (tmp_path / "mine.txt").write_text("x")
    twice = follow_up().comparisons * 2
    save(follow_up(comparisons=twice), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("follow_up.json", "report.html", "density_change_hu_1_2.nii.gz", "mine.txt"),
    }


def test_a_result_of_one_image_is_not_written_over(tmp_path):
    (tmp_path / "measurements.json").write_text("{}")
    with pytest.raises(UsageError, match="a folder of its own"):
        save(follow_up(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["measurements.json"]


def test_the_follow_up_of_other_visits_is_not_written_over(tmp_path):
    save(follow_up(), tmp_path)
    before = (tmp_path / "follow_up.json").read_bytes()
    with pytest.raises(UsageError, match="the follow-up of other visits"):
        save(follow_up([VISITS[0], visit("2025-07-02", seed=4)]), tmp_path)
    assert (tmp_path / "follow_up.json").read_bytes() == before
