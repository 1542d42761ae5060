"""Masks that a follow-up is warned of."""

import pytest

from medseg.follow_up.doubts import doubts

REJECT = {"verdict": "reject", "reasons": ["nothing was found"]}


@pytest.mark.parametrize(
    ("quality", "review", "text"),
    [
        (REJECT, None, "rejected by its quality check (nothing was found)"),
        ({"verdict": "warn", "predicted_dice": {"left_lung": {"value": 0.61}}}, None, "low (left lung 0.61)"),
        ({"verdict": "pass", "reasons": []}, ["accept", "reject"], "a reviewer rejected the mask"),
    ],
    ids=["rejected", "low", "reviewer"],
)
def test_a_doubtful_mask_is_told(quality, review, text):
    reviews = [{"decision": decision} for decision in review or ()]
    (warning,) = doubts("old", quality, {"review": reviews})
    assert warning.startswith("old: ")
    assert text in warning


@pytest.mark.parametrize("quality", [None, {}, {"verdict": "pass", "predicted_dice": {"a": {"value": 0.9}}}])
def test_a_good_or_unknown_mask_is_not(quality):
    assert doubts("old", quality, {}) == []


def test_a_mask_that_a_person_accepted_is_not():
    assert doubts("old", REJECT, {"review": [{"decision": "reject"}, {"decision": "accept"}]}) == []
