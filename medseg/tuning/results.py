"""What came of a study's trials: the best one, those that no other beats, and tables."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg import console
from medseg.io.atomic import atomic_path
from medseg.tuning.plan import SCORE, Plan
from medseg.tuning.study import DEFAULT, REASON, SECONDS

_SHOWN = 10


def finished(trials: Sequence[Any]) -> list[Any]:
    """The complete trials, which have a score and seconds_per_case."""
    return [trial for trial in trials if trial.state.name == "COMPLETE"]


def best(trials: Sequence[Any]) -> Any | None:
    """The complete trial with the best score, the first of equal ones; None if there is none."""
    return max(finished(trials), key=lambda trial: (trial.value, -trial.number), default=None)


def pareto_front(trials: Sequence[Any]) -> list[Any]:
    """The complete trials that no other one beats in score without taking longer, from the fastest on."""
    front: list[Any] = []
    for trial in sorted(finished(trials), key=lambda each: (each.user_attrs[SECONDS], -each.value)):
        if not front or trial.value > front[-1].value:
            front.append(trial)
    return front


def write_csv(trials: Sequence[Any], plan: Plan, path: Path) -> None:
    """Write a row for each trial: state, score, seconds, and the values of the parameters."""
    names = list(plan.space.parameters)
    front = {trial.number for trial in pareto_front(trials)}
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", SCORE, SECONDS, "pareto_front", "default", *names, REASON])
        for trial in trials:
            writer.writerow([
                trial.number,
                trial.state.name.lower(),
                "" if trial.value is None else trial.value,
                trial.user_attrs.get(SECONDS, ""),
                "yes" if trial.number in front else "no",
                "yes" if trial.user_attrs.get(DEFAULT) else "no",
                *(trial.params.get(name, "") for name in names),
                trial.user_attrs.get(REASON, ""),
            ])  # fmt: skip


def summary_text(trials: Sequence[Any], plan: Plan) -> str:
    """The best trials, the Pareto front and what failed, as text for a person."""
    width = console.terminal_width()
    return "\n".join(_lines(trials, plan, width))


def _lines(trials: Sequence[Any], plan: Plan, width: int | None) -> Iterator[str]:
    states = [trial.state.name.lower() for trial in trials]
    counts = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
    yield f"study {plan.study}: {counts or 'no trials'}"
    ranked = sorted(finished(trials), key=lambda trial: (-trial.value, trial.number))
    if not ranked:
        yield from _failures(trials)
        return
    names = list(plan.space.parameters)
    front = pareto_front(trials)
    header = ["trial", f"mean {SCORE}", "seconds per case", *names]
    yield ""
    yield "the best trials on the validation split, and the default:"
    shown = ranked[:_SHOWN] + [trial for trial in ranked[_SHOWN:] if trial.user_attrs.get(DEFAULT)]
    yield console.table([_row(trial, names) for trial in shown], header, header[:3], width)
    yield ""
    yield "the Pareto front: no other trial scores better without taking longer:"
    yield console.table([_row(trial, names) for trial in front], header, header[:3], width)
    yield from _failures(trials)


def _row(trial: Any, names: Sequence[str]) -> list[str]:
    about = " (default)" if trial.user_attrs.get(DEFAULT) else ""
    values = (trial.params.get(name, "") for name in names)
    texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return [f"{trial.number}{about}", f"{trial.value:.4f}", f"{trial.user_attrs[SECONDS]:.3g}", *texts]


def _failures(trials: Sequence[Any]) -> Iterator[str]:
    for trial in trials:
        if trial.state.name == "FAIL":
            reason = trial.user_attrs.get(REASON, "its process ended")
            yield f"trial {trial.number} failed: {reason}"
