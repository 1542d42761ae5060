"""Scores of several labels of a picture."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.evaluation.case_scores import score_picture_labels
from medseg.evaluation.references import Reference
from medseg.volume import Mask

LABELS = {0: "background", 1: "disc", 2: "cup"}


def masks(spacing_mm=None):
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    truth[8:12, 8:12] = 2
    found = truth.copy()
    found[8:12, 8:10] = 1
    case = Case(Mask(found, LABELS, pixel_spacing_mm=spacing_mm), found[None])
    return case, Reference(Mask(truth, LABELS))


def test_dice_of_each_label():
    found = score_picture_labels(*masks())
    assert found["cup"] == {"dice": pytest.approx(2 * 8 / (8 + 16))}
    assert found["disc"]["dice"] == pytest.approx(2 * 84 / (84 + 92))
    assert found["mean"]["dice"] == pytest.approx((found["cup"]["dice"] + found["disc"]["dice"]) / 2)


def test_distances_where_the_size_of_a_pixel_is_known():
    found = score_picture_labels(*masks((0.1, 0.1)))
    assert found["cup"]["hd95_mm"] == pytest.approx(0.2, abs=0.05)
