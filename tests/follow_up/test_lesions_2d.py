"""Lesions of two ultrasound pictures, which nothing registers."""

from datetime import date

import numpy as np
import pytest

from medseg.follow_up import lesions_2d
from medseg.follow_up.change import Limit
from medseg.follow_up.lesions_2d import compare_lesions, matched_by_order
from medseg.follow_up.matching import Match
from medseg.follow_up.record import Visit
from medseg.volume import Mask, Volume

MM = (0.1, 0.1)


def visit(*lesions, spacing_mm=MM, shape=(200, 300)):
    """A picture with disks of (row, column, radius)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, np.uint8)
    for row, column, radius in lesions:
        mask[np.hypot(rows - row, columns - column) <= radius] = 1
    labels = Mask(mask, {0: "background", 1: "lesion"}, pixel_spacing_mm=spacing_mm)
    return Visit("breast", date(2024, 1, 1), labels, Volume(np.full((1, *shape), 80, np.uint8)), {}, {})


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    table = {f"largest_lesion_{name}": Limit("relative", 0.25, "a test") for name in ("area_mm2", "depth_mm")}
    monkeypatch.setattr(lesions_2d, "repeatability", lambda: table)


def test_one_at_each_time_is_compared_wherever_it_lies():
    found = compare_lesions(visit((60, 60, 20)), visit((130, 240, 25)))
    (lesion,) = found.objects
    assert (lesion.kind, lesion.earlier, lesion.later, lesion.unit) == ("grown", (1,), (1,), "mm2")
    assert lesion.later_size == pytest.approx(np.pi * 2.5**2, rel=0.02)
    verdicts = {change.measure: change.verdict for change in found.changes}
    assert verdicts["largest_lesion_area_mm2"] == "increased"
    assert verdicts["largest_lesion_depth_mm"] == "unchanged"  # 25% is not more than 25%
    assert found.warnings == [lesions_2d.PLANE]


def test_another_depth_is_no_growth():
    found = compare_lesions(visit((60, 60, 20)), visit((120, 120, 40), spacing_mm=(0.05, 0.05)))
    assert found.objects[0].kind == "unchanged"
    shown = found.pictures[0]
    assert shown.earlier.shape == shown.later.shape


@pytest.mark.parametrize(
    ("spacings", "reason"),
    [((None, None), lesions_2d.NO_SIZE_KNOWN), ((MM, None), lesions_2d.ONE_SIZE_KNOWN)],
    ids=["neither", "one"],
)
def test_pixels_are_shown_and_not_judged(spacings, reason):
    pair = [visit((60, 60, radius), spacing_mm=mm) for radius, mm in zip((20, 40), spacings, strict=True)]
    found = compare_lesions(*pair)
    assert (found.objects[0].kind, found.objects[0].reason, found.objects[0].unit) == (
        "not assessed",
        reason,
        "px2",
    )
    assert {change.verdict for change in found.changes} == {"not assessed"}


def test_several_go_from_left_to_right_if_their_sizes_agree():
    found = compare_lesions(visit((60, 60, 20), (60, 200, 30)), visit((90, 80, 21), (70, 220, 40)))
    assert [(each.kind, each.earlier, each.later) for each in found.objects] == [
        ("grown", (1,), (1,)),
        ("unchanged", (2,), (2,)),
    ]
    assert found.changes == []  # the largest of several may be another one


def test_what_is_unclear_is_not_assessed():
    for later in (visit((60, 60, 30), (60, 200, 20)), visit((60, 60, 20))):
        found = compare_lesions(visit((60, 60, 20), (60, 200, 30)), later)
        assert {(each.kind, each.reason) for each in found.objects} == {("not assessed", lesions_2d.UNCLEAR)}


def test_none_at_one_time():
    assert [each.kind for each in compare_lesions(visit((60, 60, 20)), visit()).objects] == ["gone"]
    assert [each.kind for each in compare_lesions(visit(), visit((60, 60, 20))).objects] == ["new"]
    assert compare_lesions(visit(), visit()).objects == []


def test_matches_by_order():
    assert matched_by_order([(0.7, 5.0), (0.2, 3.0)], [(0.1, 4.0), (0.9, 9.0)]) == [
        Match((0,), (1,)),
        Match((1,), (0,)),
    ]
    assert matched_by_order([], []) == []
