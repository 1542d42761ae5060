"""Figures of a prediction, by hand."""

import numpy as np
import pytest

from medseg.training.quality.figures import COLUMNS, aurc, auroc, figures, found_by_review, table

DICE = np.array([0.9, 0.8, 0.5, 0.2])


def test_aurc_by_hand():
    """Risks 0.1, 0.2, 0.5, 0.8 in this order: means 0.1, 0.15, 0.8 / 3, 0.4."""
    assert aurc(DICE, DICE) == pytest.approx((0.1 + 0.15 + 0.8 / 3 + 0.4) / 4)
    assert aurc(DICE, -DICE) == pytest.approx((0.8 + 0.65 + 1.5 / 3 + 0.4) / 4)


def test_auroc():
    assert auroc(DICE, DICE) == 1
    assert auroc(DICE, -DICE) == 0
    assert auroc(DICE, np.array([3, 1, 2, 0])) == 0.75
    assert auroc(np.array([0.9, 0.8]), np.array([1.0, 2.0])) is None


def test_found_by_review():
    assert found_by_review(DICE, DICE, 0.5) == 1
    assert found_by_review(DICE, DICE, 0.25) == 0.5
    assert found_by_review(DICE, -DICE, 0.5) == 0
    assert found_by_review(np.ones(3), np.ones(3)) is None


def test_error_and_coverage():
    predicted = np.array([[0.8, 0.7, 0.95], [0.8, 0.7, 0.9], [0.7, 0.6, 0.8], [0.2, 0.1, 0.3]])
    found = figures(DICE, predicted, simple=DICE)
    assert found["mean_absolute_error"] == pytest.approx((0.1 + 0 + 0.2 + 0) / 4)
    assert found["coverage"] == 0.75
    assert (found["cases"], found["bad"]) == (4, 2)
    assert found["aurc"]["simple"] == found["aurc"]["perfect"]
    assert [len(row) for row in table([{"name": "lesion", **found}])] == [len(COLUMNS)]
