"""Dense regions in the lungs: what the rule takes, and what it leaves out."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements import DenseRegions
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
SPACING = np.array([1.0, 1.0, 1.5])
FIND = DenseRegions(["left_lung", "right_lung"], "airway", -300, 3.0, 15.0, 0.1)
PLACES = np.stack(np.indices((90, 60, 40)), axis=-1) * SPACING


def ball(centre, radius):
    return np.linalg.norm(PLACES - centre, axis=-1) <= radius


def tube(row, height, radius):
    """Along the first axis."""
    return np.linalg.norm(PLACES[..., 1:] - (row, height), axis=-1) <= radius


def regions(dense, airway=None, find=FIND):
    """The numbers found in a lung of -850 HU with 40 HU where `dense` is True."""
    labels = np.ones(PLACES.shape[:3], np.uint8)
    if airway is not None:
        labels[airway] = 3
    image = np.where(dense, 40, -850).astype(np.int16)
    return find(Case(Mask(labels, LABELS, affine=np.diag([*SPACING, 1])), image[None]))


def test_nodules_by_size():
    found = regions(ball((20, 30, 30), 5) | ball((60, 30, 30), 9))
    assert found.max() == 2
    assert [found[at] for at in ((60, 30, 20), (20, 30, 20))] == [1, 2]
    assert np.count_nonzero(found == 1) == pytest.approx(4 / 3 * np.pi * 9**3 / 1.5, rel=0.05)


@pytest.mark.parametrize(
    "dense", [tube(30, 30, 2.5), ball((40, 30, 30), 2.5)], ids=["vessel", "small nodule"]
)
def test_what_is_thin_is_left_out(dense):
    assert not regions(dense).any()


def test_a_nodule_on_a_vessel_is_found_without_the_vessel():
    found = regions(tube(30, 30, 2) | ball((40, 30, 30), 8))
    assert found.max() == 1
    assert not found[:28].any()
    assert not found[53:].any()


class TestBesideTheAirway:
    AIRWAY = tube(10, 30, 4)

    def test_what_is_as_thick_as_a_vessel_is_left_out(self):
        assert regions(tube(22, 30, 4.5)).max() == 1
        assert not regions(tube(22, 30, 4.5), self.AIRWAY).any()

    def test_what_is_thicker_is_found(self):
        assert regions(ball((40, 24, 30), 9), self.AIRWAY).max() == 1

    def test_what_is_far_is_found(self):
        assert regions(ball((40, 45, 30), 5), self.AIRWAY).max() == 1


def test_outside_the_lungs_is_nothing():
    labels = np.zeros(PLACES.shape[:3], np.uint8)
    image = np.full((1, *labels.shape), 40, np.int16)
    assert not FIND(Case(Mask(labels, LABELS, affine=np.eye(4)), image)).any()


def test_a_lung_without_air_is_one_region():
    found = regions(np.ones(PLACES.shape[:3], bool))
    assert (found == 1).mean() > 0.95


def test_a_picture_has_none():
    with pytest.raises(UnsuitableError, match="a picture"):
        FIND(Case(Mask(np.zeros((4, 4), np.uint8), LABELS), np.zeros((1, 4, 4))))


def test_a_misspelt_label():
    find = DenseRegions(["left_lung"], "airways", -300, 3.0, 15.0, 0.1)
    with pytest.raises(UsageError, match="got airways"):
        regions(ball((40, 30, 30), 8), find=find)
