"""Vessels of a phantom eye at two times: the same, wider, and with one missing."""

from datetime import date

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from medseg.follow_up import vessels
from medseg.follow_up.change import Limit
from medseg.follow_up.record import Visit
from medseg.phantoms.retina import fundus
from medseg.volume import Mask, Volume

LIMITS = {name: Limit("relative", 0.1, "a test") for name in vessels.MEASURES} | {
    vessels.UNMATCHED: Limit("absolute", 0.08, "a test")
}


@pytest.fixture(scope="module")
def eye():
    picture, mask, field = fundus(480, seed=5)
    return np.moveaxis(picture, -1, 0), mask > 0, field


def visit(eye, mask, spacing_mm=None, day=1):
    picture, _, field = eye
    labels = Mask(mask.astype(np.uint8), {0: "background", 1: "vessel"}, pixel_spacing_mm=spacing_mm)
    return Visit("eye", date(2024, day, 1), labels, Volume(picture), {}, {}, field_of_view=field)


def verdicts(found):
    return {change.measure: change.verdict for change in found.changes}


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(vessels, "repeatability", lambda: LIMITS)


@pytest.mark.usefixtures("limits")
def test_the_same_photograph_has_not_changed(eye):
    found = vessels.compare_vessels(visit(eye, eye[1]), visit(eye, eye[1], day=2))
    assert set(verdicts(found).values()) == {"unchanged"}
    assert found.objects == []
    assert found.warnings == [vessels.UNKNOWN_MM]
    assert found.registration["shared_field"]["value"] == pytest.approx(100, abs=1)


@pytest.mark.usefixtures("limits")
def test_wider_vessels_and_their_mm(eye):
    wider = binary_dilation(eye[1]) & eye[2]
    found = vessels.compare_vessels(visit(eye, eye[1], (0.01, 0.01)), visit(eye, wider, (0.01, 0.01), 2))
    assert verdicts(found)["calibre_mean_px"] == "increased"
    assert verdicts(found)["vessel_area_fraction"] == "increased"
    by_name = {change.measure: change for change in found.changes}
    grown = by_name["calibre_mean_px"].difference
    assert grown == pytest.approx(2, abs=0.5)
    assert by_name["calibre_mean_mm"].difference == pytest.approx(grown * 0.01)
    assert found.warnings == []


@pytest.mark.usefixtures("limits")
def test_a_vessel_that_is_gone_is_found_and_drawn(eye):
    gone = eye[1].copy()
    gone[60:200, 120:300] = False
    found = vessels.compare_vessels(visit(eye, eye[1]), visit(eye, gone, day=2))
    assert found.objects
    assert {(each.kind, each.name) for each in found.objects} == {("gone", vessels.ONLY_EARLIER)}
    labels = found.maps["vessel_change"].array
    assert (labels[60:200, 120:300] == 2).any()
    assert not (labels[220:] == 2).any()
    assert found.pictures[0].earlier.shape == found.pictures[0].change.shape


def test_edges_that_differ_are_no_piece(eye):
    picture, mask, field = eye
    first = vessels.Photograph(picture, mask, field)
    gone, new = vessels.unmatched(first, binary_dilation(mask, iterations=2), field)
    assert not gone.any()
    assert not new.any()
    # What an erosion leaves nothing of are thin vessels: those are missing.
    gone, new = vessels.unmatched(first, binary_erosion(mask), field)
    assert not new.any()
    assert max(vessels.piece_lengths(gone, first.diameter_px)) > 0.2
