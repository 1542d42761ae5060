"""Networks that were trained with different losses: means with intervals, and tests against one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg import console
from medseg.evaluation.comparison_text import interval_text
from medseg.evaluation.ladder_table import SCORE, number, p_text, signed
from medseg.evaluation.past_runs import CaseRow
from medseg.metrics.overlap import summarise
from medseg.metrics.significance import Paired, compare_paired, direction, fewest_subjects, holm, verdict

# Further scores that the table shows where the task has them. The first two need no threshold.
_SHOWN = ("average_precision", "roc_auc", "cl_dice", "surface_dice", "hd95_mm", "hd95_px", "assd_mm")


@dataclass(frozen=True)
class Scored:
    """The scores of one loss.

    Attributes:
        loss: its name.
        rows: the cases, scored at the bundle's threshold.
        threshold: the one that is best on training cases; None for a task whose masks have none.
        own_rows: the cases, scored at that threshold; `rows` without one.
    """

    loss: str
    rows: Sequence[CaseRow]
    threshold: float | None
    own_rows: Sequence[CaseRow]


@dataclass(frozen=True)
class LossTest:
    """A loss against the reference by Dice, each at its own threshold; differences are loss - reference.

    `p` is corrected for all tests (Holm), `paired.p` is not.
    """

    loss: str
    paired: Paired
    p: float | None
    verdict: str


@dataclass(frozen=True)
class LossTable:
    """What a comparison of losses found.

    Attributes:
        title: task, data and split.
        reference: the loss that the others are tested against, if it has scores.
        scored: the losses that have scores, in the order in which they were named.
        tests: of each loss against the reference.
        failures: loss to why it has no scores.
        warnings: sentences.
    """

    title: str
    reference: str
    scored: tuple[Scored, ...]
    tests: tuple[LossTest, ...]
    failures: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def counts(self) -> str:
        rows = self.scored[0].rows
        subjects = len({row.subject for row in rows})
        return f"{len(rows)} case{'s'[: len(rows) != 1]}, {subjects} subject{'s'[: subjects != 1]}"

    @property
    def dice(self) -> dict[str, float]:
        """Loss to its mean Dice at its own threshold."""
        return {each.loss: float(own_dice(each)["mean"] or 0.0) for each in self.scored}

    @property
    def best(self) -> str:
        """The loss with the highest mean Dice at its own threshold."""
        return max(self.dice, key=self.dice.__getitem__)

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.counts}", "", console.table(**losses_table(self))]
        if self.tests:
            lines += ["", console.table(**tests_table(self))]
        if self.warnings:
            lines += ["", *(f"warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines)


def table_of(
    title: str,
    reference: str,
    scored: Sequence[Scored],
    failures: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> LossTable:
    """Compare losses that were scored on the same cases.

    Args:
        title: task, data and split.
        reference: the loss that the others are tested against; without scores there are no tests.
        scored: at least one, with the same cases in the same order.
        failures: loss to the reason.
        warnings: further sentences.
    """
    tests = _tests(reference, scored)
    reasons = [f"{loss} failed: {reason}" for loss, reason in failures.items()]
    subjects = len({row.subject for row in scored[0].rows})
    told = (*reasons, *warnings, *_few(subjects, len(tests)))
    return LossTable(title, reference, tuple(scored), tuple(tests), dict(failures), told)


def _tests(reference: str, scored: Sequence[Scored]) -> list[LossTest]:
    by_name = {each.loss: each for each in scored}
    if reference not in by_name:
        return []
    others = [each for each in scored if each.loss != reference]
    base = by_name[reference].own_rows
    found = [
        compare_paired(
            [row.scores[SCORE] for row in base],
            [row.scores[SCORE] for row in each.own_rows],
            [row.subject for row in base],
        )
        for each in others
    ]
    defined = [index for index, paired in enumerate(found) if paired.p is not None]
    p = dict(zip(defined, holm([float(found[index].p or 0) for index in defined]), strict=True))
    return [
        LossTest(
            each.loss,
            paired,
            p.get(index),
            verdict(dataclasses.replace(paired, p=p.get(index)), direction(SCORE) or 1),
        )
        for index, (each, paired) in enumerate(zip(others, found, strict=True))
    ]


def _few(subjects: int, tests: int) -> list[str]:
    needed = fewest_subjects(tests) if tests else 0
    if subjects >= needed:
        return []
    return [
        f"with {subjects} subject{'s'[: subjects != 1]} no difference can be shown, however large it is: "
        f"{tests} test{'s'[: tests != 1]} need{'s'[: tests == 1]} at least {needed}"
    ]


def own_dice(scored: Scored) -> dict[str, float | int | None]:
    """Mean, interval and counts of Dice at the loss's own threshold."""
    return means_of(scored.own_rows)[SCORE]


def means_of(rows: Sequence[CaseRow]) -> dict[str, dict[str, float | int | None]]:
    names = dict.fromkeys(name for row in rows for name in row.scores)
    cases = [{name: row.scores.get(name) for name in names} for row in rows]
    return summarise(cases, [row.subject for row in rows])


def losses_table(found: LossTable) -> dict[str, Any]:
    """The table of the losses, as the arguments of medseg.console.table.

    Where masks have a threshold: Dice at the bundle's, then at the loss's own with its interval.
    """
    means = {each.loss: means_of(each.rows) for each in found.scored}
    shown = [name for name in _SHOWN if any(name in scores for scores in means.values())]
    has_threshold = any(each.threshold is not None for each in found.scored)
    own = ("own threshold", "dice at it") if has_threshold else ()
    header = ("loss", SCORE, *own, "95% interval", *shown)
    rows = []
    for each in found.scored:
        dice = own_dice(each)
        threshold = (number(each.threshold), number(dice["mean"])) if has_threshold else ()
        interval = interval_text(dice["low"], dice["high"], int(dice["subjects"] or 0), number)
        further = [number(means[each.loss].get(name, {}).get("mean")) for name in shown]
        mean = number(means[each.loss][SCORE]["mean"])
        rows.append((each.loss, mean, *threshold, interval, *further))
    rows += [(loss, "failed", *[""] * (len(header) - 2)) for loss in found.failures]
    return {"header": header, "rows": rows, "right": (SCORE, *own, *shown)}


def tests_table(found: LossTable) -> dict[str, Any]:
    """The table of the tests, as the arguments of medseg.console.table."""
    return {
        "header": ("loss", "against", "difference of Dice", "95% interval", "p (Holm)", "result"),
        "rows": [_cells(found.reference, test) for test in found.tests],
        "right": ("difference of Dice", "p (Holm)"),
    }


def _cells(reference: str, test: LossTest) -> tuple[str, ...]:
    paired = test.paired
    interval = interval_text(paired.low, paired.high, paired.subjects, signed)
    return (test.loss, reference, signed(paired.difference), interval, p_text(test.p), test.verdict)
