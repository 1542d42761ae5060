"""Rules: the first that matches, by patterns, and nothing of a sender is evaluated."""

import pytest

from medseg.server.config import Rule, When
from medseg.server.rules import Facts, first_match, matches

CHEST = Facts("CT", "CHEST", ("Thorax 1.0 B60", "Routine"), "PACS")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, True),
        ({"modality": "CT"}, True),
        ({"modality": "ct"}, True),
        ({"modality": "C"}, False),
        ({"modality": ["MR", "CT"]}, True),
        ({"modality": "CT", "body_part": "HEAD"}, False),
        ({"body_part": "*"}, True),
        ({"description": "*thorax*"}, True),
        ({"description": "routine"}, True),
        ({"description": "thorax"}, False),
        ({"calling_ae_title": "PA?S"}, True),
        ({"calling_ae_title": "ORTHANC"}, False),
    ],
    ids=str,
)
def test_patterns(when, expected):
    assert matches(When(**when), CHEST) is expected


def test_a_missing_attribute_matches_only_patterns_that_match_nothing():
    assert not matches(When(body_part="CHEST"), Facts("CT"))
    assert matches(When(body_part="*"), Facts("CT"))


def test_the_first_rule_that_matches_counts():
    rules = [
        Rule(name="heads", when=When(body_part="HEAD"), task="a"),
        Rule(name="chests", when=When(body_part="CHEST"), task="b"),
        Rule(name="all", task="c"),
    ]
    assert first_match(rules, CHEST).name == "chests"
    assert first_match(rules[:1], CHEST) is None


@pytest.mark.parametrize("text", ["{0.__class__}", "$(touch x)", "__import__('os')", "%s%n", "(a+)+$"])
def test_what_a_sender_writes_is_only_text(text):
    assert not matches(When(description="*thorax*"), Facts("CT", text, (text,), text))
    assert matches(When(description="*"), Facts("CT", text, (text,), text))
