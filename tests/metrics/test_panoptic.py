"""Panoptic quality: worked by hand, and against panoptica."""

import json
from pathlib import Path

import numpy as np
import pytest
from instance_maps import SEEDS, instance_maps

from medseg.errors import DataError
from medseg.metrics.panoptic import PanopticScore, mean_quality, panoptic_scores
from medseg.volume import Mask, Segments

PANOPTICA = json.loads(Path(__file__).with_name("panoptica.json").read_text())
KINDS = {"lesion": True, "tissue": False}


def instance_mask(array):
    values = [value for value in np.unique(array).tolist() if value]
    segments = Segments(dict.fromkeys(values, "lesion"), {"lesion": True})
    return Mask(array, {value: f"lesion_{value}" for value in values}, segments=segments)


def row(categories, *runs):
    """A mask of one row of 60 px: (value, first, end) for each segment."""
    array = np.zeros((1, 60), np.uint8)
    for value, first, end in runs:
        array[0, first:end] = value
    return Mask(array, {}, segments=Segments(categories, KINDS))


@pytest.fixture
def by_hand():
    """Lesions at 0-10 (found at 2-12: 8 shared of 12) and 14-18 (missed); one found at 50-53 is none.

    Tissue at 20-40, found at 25-45: 15 shared of 25.
    """
    reference = row({1: "lesion", 2: "lesion", 3: "tissue"}, (1, 0, 10), (2, 14, 18), (3, 20, 40))
    prediction = row({7: "lesion", 8: "lesion", 9: "tissue"}, (7, 2, 12), (8, 50, 53), (9, 25, 45))
    return prediction, reference


class TestByHand:
    def test_things(self, by_hand):
        """SQ = 8/12; RQ = 1 / (1 + 1/2 + 1/2) = 1/2; PQ = 1/3."""
        score = panoptic_scores(*by_hand)["lesion"]
        assert (score.true_positives, score.false_positives, score.false_negatives) == (1, 1, 1)
        assert score.segmentation_quality == pytest.approx(2 / 3)
        assert score.recognition_quality == pytest.approx(1 / 2)
        assert score.panoptic_quality == pytest.approx(1 / 3)

    def test_stuff(self, by_hand):
        """SQ = 15/25 and RQ = 1, so PQ = 3/5."""
        score = panoptic_scores(*by_hand)["tissue"]
        assert score == PanopticScore(1, 0, 0, 0.6)
        assert score.panoptic_quality == pytest.approx(0.6)

    def test_means(self, by_hand):
        """Over the two categories: (1/3 + 3/5) / 2 = 7/15, (2/3 + 3/5) / 2 = 19/30, (1/2 + 1) / 2 = 3/4."""
        found = mean_quality(panoptic_scores(*by_hand).values())
        assert found == pytest.approx({"pq": 7 / 15, "sq": 19 / 30, "rq": 3 / 4})

    def test_two_images_add_up(self, by_hand):
        """A second image in which both lesions are exact: SQ = (2/3 + 2) / 3 and RQ = 3/4."""
        _, reference = by_hand
        both = panoptic_scores(*by_hand)["lesion"] + panoptic_scores(reference, reference)["lesion"]
        assert both.segmentation_quality == pytest.approx(8 / 9)
        assert both.recognition_quality == pytest.approx(3 / 4)
        assert both.panoptic_quality == pytest.approx(2 / 3)

    def test_where_it_is_not_compared(self, by_hand):
        """Without 0-2 and 50 on, the first lesion has 8 px and 8 of 10 are shared; the last is gone."""
        seen = np.ones((1, 60), bool)
        seen[0, :2] = seen[0, 50:] = False
        assert panoptic_scores(*by_hand, seen)["lesion"] == PanopticScore(1, 0, 1, 0.8)


@pytest.mark.parametrize(("shared", "pairs"), [(6, 0), (7, 1)])
def test_half_is_no_match(shared, pairs):
    """Two of 9 px: 6 shared of 12 are exactly one half; 7 of 11 are more."""
    prediction = row({1: "lesion"}, (1, 9 - shared, 18 - shared))
    assert panoptic_scores(prediction, row({1: "lesion"}, (1, 0, 9)))["lesion"].true_positives == pairs


def test_another_category_never_matches():
    found = panoptic_scores(row({1: "tissue"}, (1, 0, 9)), row({1: "lesion"}, (1, 0, 9)))
    assert found == {"lesion": PanopticScore(0, 0, 1), "tissue": PanopticScore(0, 1, 0)}


def test_nothing_in_either_is_no_quality():
    scores = panoptic_scores(row({}), row({}))
    assert scores == {"lesion": PanopticScore(), "tissue": PanopticScore()}
    assert scores["lesion"].panoptic_quality is None
    assert mean_quality(scores.values()) == {"pq": None, "sq": None, "rq": None}


def test_nothing_found_is_zero():
    score = panoptic_scores(row({}), row({1: "lesion"}, (1, 0, 9)))["lesion"]
    assert (score.panoptic_quality, score.recognition_quality, score.segmentation_quality) == (0, 0, None)


@pytest.mark.parametrize("figures", PANOPTICA["maps"], ids=lambda figures: figures["seed"])
def test_as_panoptica(figures):
    """Made by tests/benchmarks/panoptica_figures.py, with panoptica 2.1.7."""
    prediction, reference = instance_maps(figures["seed"])
    assert int(prediction.sum()) + 7 * int(reference.sum()) == figures["sum"], "other maps than panoptica's"
    score = panoptic_scores(instance_mask(prediction), instance_mask(reference))["lesion"]
    counts = score.true_positives, score.false_positives, score.false_negatives
    assert counts == (figures["tp"], figures["fp"], figures["fn"])
    assert score.panoptic_quality == pytest.approx(figures["pq"], abs=1e-12)
    assert score.recognition_quality == pytest.approx(figures["rq"], abs=1e-12)
    assert (score.segmentation_quality or 0.0) == pytest.approx(figures["sq"], abs=1e-12)


def test_the_figures_say_something():
    """All maps are there, and most have pairs, false positives and false negatives at once."""
    maps = PANOPTICA["maps"]
    assert [figures["seed"] for figures in maps] == list(SEEDS)
    assert sum(all(figures[name] for name in ("tp", "fp", "fn")) for figures in maps) > 10


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (Mask(np.zeros((1, 60), np.uint8)), row({}), "values are segments; got labels"),
        (row({}), row({}, (3, 0, 5)), r"a category for each segment; got none for \[3\]"),
        (instance_mask(np.zeros((3, 3), np.uint8)), row({}), "masks of one shape"),
    ],
)
def test_masks_that_cannot_be_compared(prediction, reference, message):
    with pytest.raises(DataError, match=message):
        panoptic_scores(prediction, reference)
