"""Which case is opened first."""

import pytest

from medseg.review.order import expected_error, lowest_predicted


def dice(value, low=None):
    return {"value": value, **({} if low is None else {"interval": [low, 1.0]})}


# As they are opened: each is before the next.
QUEUE = {
    "broken": ("broken", {}, 0),
    "rejected, unpredicted": ("reject", {}, 3),
    "rejected": ("reject", {"lesion": dice(0.4, 0.2)}, 1),
    "one bad label of two": ("pass", {"left": dice(0.95, 0.9), "right": dice(0.55, 0.5)}, 0),
    "the same, a narrower interval": ("pass", {"left": dice(0.55, 0.52)}, 0),
    "unpredicted, two warnings": ("warn", {}, 2),
    "unpredicted, one warning": ("warn", {}, 1),
    "good, with a warning": ("warn", {"lesion": dice(0.88, 0.8)}, 1),
    "unpredicted, pass": ("pass", {}, 0),
    "excellent": ("pass", {"lesion": dice(0.96, 0.93)}, 0),
}


def test_the_worst_first():
    order = sorted(QUEUE, key=lambda name: expected_error(*QUEUE[name]))
    assert order == list(QUEUE)


@pytest.mark.parametrize(
    ("predicted", "lowest"),
    [
        ({}, (None, None)),
        ({"a": {"value": None, "reason": "empty"}}, (None, None)),
        ({"a": dice(0.9, 0.7), "b": dice(0.8)}, (0.8, 0.7)),
        ({"a": 0.9, "b": {"value": True, "interval": "ab"}}, (None, None)),
        ({"a": {"value": 0.9, "interval": []}}, (0.9, None)),
    ],
    ids=["nothing", "not known", "two", "not as agreed", "no bounds"],
)
def test_lowest(predicted, lowest):
    assert lowest_predicted(predicted) == lowest


def test_an_unknown_verdict_is_a_warning():
    assert expected_error("odd", {}, 1) == expected_error("warn", {}, 1)
