"""How a task is scored: its score function, error picture, groups and image-level question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medseg.case import Case
from medseg.errors import BundleError
from medseg.evaluation.references import Reference

Scores = Mapping[str, Mapping[str, float | None]]
Score = Callable[[Case, Reference], Scores]
Draw = Callable[[Case, Reference], bytes]


@dataclass(frozen=True)
class Question:
    """A binary classification of the whole image besides the mask, such as benign or malignant.

    Attributes:
        name: the name of the property, such as malignancy; the score `<name>_probability` is its probability.
        entry: the entry of a manifest's items that holds the truth.
        positive, negative: the entry's values for the two classes; the score `is_<positive>` is 1, 0 or None.
        neither: the entry's value for images to which the question does not apply.
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
    """The `scoring` of a bundle.

    Args:
        score: a function of a case and its reference that returns label to score name to value. The label is
            "" if the task has only one; the label MEAN holds the mean over several.
        draw: a function of the same that returns a JPEG of agreement, misses and false alarms.
        groups: entries of a manifest's items by which scores are also summarised, such as device.
        question: the fields of a Question; None if the task has none.
    """

    def __init__(
        self, score: Score, draw: Draw, groups: Sequence[str] = (), question: Mapping[str, str] | None = None
    ) -> None:
        if isinstance(groups, str) or not isinstance(groups, Sequence):
            raise BundleError("a list of entries as `groups`", got=str(groups), advice="Correct train.yaml.")
        self.score, self.draw, self.groups = score, draw, tuple(groups)
        self.question = None if question is None else Question(**question)
