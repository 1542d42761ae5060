"""Two chests compared: nodules of known fate, the lungs, and the map of the change."""

import numpy as np
import pytest
from two_chests import visit

from medseg.errors import UnsuitableError
from medseg.follow_up.chest import MAP, compare_chests, prepared, rules_of

pytest.importorskip("SimpleITK")
pytestmark = pytest.mark.seconds

STAYS, GROWS, GOES, COMES = (-70, 25, 30), (70, 25, -20), (62, -30, 35), (-60, -25, -35)


@pytest.fixture(scope="module")
def rules():
    return rules_of("lung_ct", None)


@pytest.fixture(scope="module")
def comparison(rules):
    earlier = visit("2025-01-31", nodules=[(STAYS, 10), (GROWS, 9), (GOES, 9)])
    nodules = [(STAYS, 10), (GROWS, 9 * 2 ** (1 / 3)), (COMES, 9)]
    later = visit("2025-07-30", nodules=nodules, shift_mm=(9, -6, 12), seed=1)
    return compare_chests(prepared(earlier, rules), prepared(later, rules), rules)


def test_each_nodule_has_its_fate(comparison):
    kinds = sorted(each.kind for each in comparison.objects)
    assert kinds == ["gone", "grown", "new", "unchanged"]
    (grown,) = (each for each in comparison.objects if each.kind == "grown")
    assert grown.later_size / grown.earlier_size == pytest.approx(2, rel=0.25)
    low, high = grown.growth["interval_days"]
    assert low < 180 < high


def test_the_registration_is_told(comparison):
    found = {name: entry["value"] for name, entry in comparison.registration.items()}
    assert found["lungs_on_each_other"] > 0.95
    assert found["likeness"] > 0.6
    assert found["folded"] == 0
    assert comparison.warnings == []


def test_the_map_is_dense_where_a_nodule_came(comparison):
    change, affine = comparison.maps[MAP].array[0], comparison.maps[MAP].affine
    at = np.linalg.inv(affine) @ [*np.add(COMES, (9, -6, 12)), 1]
    assert change[tuple(np.rint(at[:3]).astype(int))] > 300
    assert abs(np.median(change[change != 0])) < 15
    titles = [each.title for each in comparison.pictures]
    assert [title.split(":")[0] for title in titles[:2]] == ["Coronal slice", "Axial slice"]
    assert len(titles) == 5  # and one for each nodule that changed
    assert all(each.earlier.shape == each.later.shape for each in comparison.pictures)


def test_another_person_is_doubted(rules):
    one, other = visit("2025-01-31"), visit("2025-07-30", person=4, seed=2)
    found = compare_chests(prepared(one, rules), prepared(other, rules), rules)
    assert any("hardly alike" in text for text in found.warnings)


def test_a_deeper_breath_is_told_and_taken_out_of_the_map(rules):
    one, other = visit("2025-01-31"), visit("2025-07-30", zoom=1.3, seed=2)
    found = compare_chests(prepared(one, rules), prepared(other, rules), rules)
    assert any("more air in the later image" in text for text in found.warnings)


def test_lungs_that_do_not_fit_are_refused(rules):
    one, other = (prepared(visit(day), rules) for day in ("2025-01-31", "2025-07-30"))
    other.lungs.labels[:, :, ::2] = 0  # a mask in stripes
    with pytest.raises(UnsuitableError, match="lie on each other after the registration"):
        compare_chests(one, other, rules)
    other.lungs.shown[:] = False
    with pytest.raises(UnsuitableError, match="share at least"):
        compare_chests(one, other, rules)
