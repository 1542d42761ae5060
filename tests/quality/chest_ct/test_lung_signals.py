"""What the shape of lungs says: of whole ones, and of lungs of which a part is left out."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.quality.chest_ct.lung_signals import lung_signals
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}


def case_of(cut=0, affine=None):
    """Two ellipsoids in a body, RAS at 3 mm; `cut` slices at the left one's base are dense and left out."""
    x, y, z = np.indices((120, 90, 80)) - np.array([60, 45, 40])[:, None, None, None]
    labels = np.zeros((120, 90, 80), dtype=np.uint8)
    for label, side in ((1, -22), (2, 22)):
        labels[((x - side) / 17) ** 2 + (y / 26) ** 2 + (z / 36) ** 2 < 1] = label
    hu = np.where((x / 52) ** 2 + (y / 38) ** 2 < 1, 40, -1000).astype(np.int16)
    hu[labels > 0] = -800
    if cut:
        lost = (labels == 1) & (z < -36 + cut)
        labels[lost], hu[lost] = 0, 35
    affine = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine
    return Case(Mask(labels, LABELS, affine=affine), hu[None])


def test_whole_lungs():
    found = lung_signals(case_of())
    left = found["left_lung"]
    assert left["hull"] > 0.95
    assert left["balance"] == pytest.approx(1, abs=0.05)
    assert left["sides"] > 0.9
    assert left["top"] < 0.1 > left["bottom"]
    assert 10 ** left["volume"] == pytest.approx((case_of().mask.array == 1).sum() * 27e-3, rel=0.1)
    assert left["density"] == pytest.approx(-8)
    assert found["airway"]["volume"] == -1


def test_a_lung_of_which_the_base_is_left_out():
    whole, cut = (lung_signals(case_of(number))["left_lung"] for number in (0, 40))
    assert cut["balance"] < 0.6 < whole["balance"]
    assert cut["sides"] < 0.75 < whole["sides"]
    assert cut["height"] < 0.6 < whole["height"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_other_orientations(axis):
    """The same body, stored along flipped axes."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[axis, axis] = -3
    case = case_of(40)
    flipped = Case(Mask(np.flip(case.mask.array, axis), LABELS, affine=affine), np.flip(case.image, axis + 1))
    here, there = lung_signals(case)["left_lung"], lung_signals(flipped)["left_lung"]
    for name in ("balance", "height", "hull", "rim", "sides"):
        assert there[name] == pytest.approx(here[name], abs=0.08), name


def test_no_lung_at_all():
    case = case_of()
    empty = Case(Mask(np.zeros_like(case.mask.array), LABELS, affine=case.mask.affine), case.image)
    found = lung_signals(empty)["left_lung"]
    assert found["reach"] == 0
    assert "balance" not in found
