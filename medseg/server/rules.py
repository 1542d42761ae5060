"""Which rule of a node.yaml a series falls under: texts are compared with patterns, nothing is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from medseg.server.config import Rule, When


@dataclass(frozen=True)
class Facts:
    """What a rule may ask of a series; an attribute that the images lack is an empty text.

    Attributes:
        modality, body_part: Modality and BodyPartExamined.
        descriptions: of the series and of the study.
        calling_ae_title: of the sender.
    """

    modality: str = ""
    body_part: str = ""
    descriptions: tuple[str, ...] = ()
    calling_ae_title: str = ""


def first_match(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The first rule that a series falls under; None where there is none."""
    return next((rule for rule in rules if matches(rule.when, facts)), None)


def matches(when: When, facts: Facts) -> bool:
    """Whether every key that is given matches; a missing key matches all."""
    return all(
        not patterns or any(_like(text, pattern) for text in texts for pattern in patterns)
        for patterns, texts in (
            (when.modality, (facts.modality,)),
            (when.body_part, (facts.body_part,)),
            (when.description, facts.descriptions),
            (when.calling_ae_title, (facts.calling_ae_title,)),
        )
    )


def _like(text: str, pattern: str) -> bool:
    return fnmatchcase(text.strip().casefold(), pattern.strip().casefold())
