"""What is said about an edited mask that is hardly the earlier one."""

import numpy as np
import pytest

from medseg.review.changes import change_of, odd_change
from medseg.volume import Mask

LABELS = {0: "background", 1: "left_lung", 2: "right_lung"}


def mask(array):
    return Mask(array.astype(np.uint8), LABELS, affine=np.eye(4))


@pytest.fixture
def pair():
    """Two lungs, nearly symmetric."""
    array = np.zeros((20, 10, 10))
    array[2:8, 2:8, 2:8], array[12:18, 2:8, 2:8] = 2, 1
    return array


def test_a_usual_edit_is_not_odd(pair):
    edited = pair.copy()
    edited[2:8, 2:4] = 0
    assert odd_change(mask(edited), mask(pair)) == ""
    assert change_of(mask(edited), mask(pair)) == {
        "left_lung": {"added": 0, "removed": 0},
        "right_lung": {"added": 0, "removed": 6 * 2 * 6},
    }


def test_left_and_right_exchanged(pair):
    assert "mirror image of the earlier one (Dice 1.00 mirrored" in odd_change(mask(pair[::-1]), mask(pair))


def test_a_mask_of_another_place(pair):
    moved = np.zeros_like(pair)
    moved[9:11] = 1
    assert "hardly anything in common" in odd_change(mask(moved), mask(pair))


def test_what_is_drawn_first_is_not_odd(pair):
    empty = mask(np.zeros_like(pair))
    assert odd_change(mask(pair), empty) == odd_change(empty, mask(pair)) == ""
