"""How a task is scored: what its bundle says of a case's scores, groups and second question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medseg.case import Case
from medseg.evaluation.references import Reference

Scores = Mapping[str, Mapping[str, float | None]]
Score = Callable[[Case, Reference], Scores]
Draw = Callable[[Case, Reference], bytes]


@dataclass(frozen=True)
class Question:
    """A question about a whole image that a method answers besides the mask, such as benign or malignant.

    Attributes:
        name: of what is asked for; the score `<name>_probability` holds its probability.
        entry: of a manifest's items, where the truth stands.
        positive, negative: the entry's two values that answer it; the score `is_<positive>` holds 1, 0, or
            None.
        neither: the value of images of which it can't be asked.
    """

    name: str
    entry: str
    positive: str
    negative: str
    neither: str | None = None

    @property
    def probability_key(self) -> str:
        return f"{self.name}_probability"

    @property
    def truth_key(self) -> str:
        return f"is_{self.positive}"


class Scoring:
    """What a bundle names as `scoring`.

    Args:
        score: a case and its reference to label to score name to value. The label is "" where a task has one
            label; of several, MEAN is their mean.
        draw: a case and its reference to a picture of agreement, misses and false alarms, a JPEG.
        groups: entries of a manifest's items by whose values scores are grouped too, such as device.
        question: the fields of a Question; None where the task has none.
    """

    def __init__(
        self, score: Score, draw: Draw, groups: Sequence[str] = (), question: Mapping[str, str] | None = None
    ) -> None:
        self.score, self.draw, self.groups = score, draw, tuple(groups)
        self.question = None if question is None else Question(**question)
