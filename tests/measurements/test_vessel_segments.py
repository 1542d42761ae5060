"""Vessels cut at their branch points."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.measurements import vessel_segments
from medseg.volume import Mask

LABELS = {0: "background", 1: "vessel"}


def segments(vessel):
    found = vessel_segments(Case(Mask(vessel.astype(np.uint8), LABELS), np.zeros((3, *vessel.shape))))
    assert np.array_equal(found > 0, vessel), "every vessel pixel has a segment, and no other one"
    assert np.unique(found[vessel]).tolist() == list(range(1, int(found.max()) + 1))
    return found


def test_a_vessel_without_a_branch_is_one():
    vessel = np.zeros((40, 80), bool)
    vessel[18:23, 5:75] = True
    assert segments(vessel).max() == 1


def test_a_branch_makes_three():
    """A T: each arm is a segment, cut where the arms meet; numbered by size."""
    vessel = np.zeros((80, 100), bool)
    vessel[20:25, 0:100] = vessel[20:65, 38:43] = True
    found = segments(vessel)
    assert found.max() == 3
    assert [found[at] for at in ((22, 90), (60, 40), (22, 5))] == [1, 2, 3]
    assert (found[20:25, 50:] == 1).all()
    assert (found[35:65, 38:43] == 2).all()
    assert (found[20:25, :30] == 3).all()


def test_a_crossing_makes_four():
    vessel = np.zeros((101, 101), bool)
    vessel[48:53] = vessel[:, 48:53] = True
    found = segments(vessel)
    ends = {int(found[at]) for at in ((50, 3), (50, 97), (3, 50), (97, 50))}
    assert len(ends) == 4
    assert np.isin(found[found > 0], list(ends)).mean() > 0.98, "what is left is the crossing itself"


def test_the_nearest_line_across_a_gap_does_not_count():
    """The far end of a wide vessel is nearer to the line of a thin neighbour than to its own."""
    vessel = np.zeros((60, 120), bool)
    vessel[5:36, 5:115] = vessel[38:41, 5:115] = True
    found = segments(vessel)
    assert found.max() == 2
    assert (found[35, 40:80] == found[20, 60]).all()


def test_a_blot_is_a_segment():
    vessel = np.zeros((40, 80), bool)
    vessel[18:21, 5:75] = vessel[30:34, 30:34] = True
    found = segments(vessel)
    assert found[31, 31] == 2


def test_nothing():
    assert not segments(np.zeros((20, 30), bool)).any()


def test_a_volume_has_none():
    case = Case(Mask(np.zeros((4, 4, 4), np.uint8), LABELS, affine=np.eye(4)), np.zeros((1, 4, 4, 4)))
    with pytest.raises(UnsuitableError, match="a volume"):
        vessel_segments(case)
