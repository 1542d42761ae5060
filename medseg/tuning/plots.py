"""Pictures of a study: its history, the importance of parameters, slices, and score against time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.io.atomic import atomic_path
from medseg.tuning.plan import SCORE, Plan
from medseg.tuning.results import best, finished, pareto_front
from medseg.tuning.study import DEFAULT, SECONDS

# Colours of Okabe & Ito (2008), which differ for all kinds of colour vision; the markers differ too.
_TRIAL, _BEST, _PRUNED = "#0072b2", "#d55e00", "#999999"
_LEAST_TRIALS = 2  # for a picture that compares
_COLUMNS = 4  # of the slices
_SCORE_LABEL = f"mean {SCORE.capitalize()} (validation)"


def draw_all(study: Any, plan: Plan) -> list[Path]:
    """Draw a study as PNGs in the plan's output_dir; fewer while there are few complete trials.

    Returns:
        The files: history.png, importances.png, slices.png and pareto_front.png.
    """
    trials = study.get_trials(deepcopy=False)
    if len(finished(trials)) < _LEAST_TRIALS:
        return []
    figures = {
        "history.png": _history(trials),
        "importances.png": _importances(study),
        "slices.png": _slices(trials, plan),
        "pareto_front.png": _pareto(trials),
    }
    files = []
    for name, figure in figures.items():
        if figure is not None:
            with atomic_path(plan.output_dir / name) as temporary:
                figure.savefig(temporary, format="png", dpi=120)
            files.append(plan.output_dir / name)
    return files


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _history(trials: Sequence[Any]) -> Any:
    """The score of each trial, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(7.5, 4.2)
    axes = figure.subplots()
    complete = finished(trials)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED" and trial.value is not None]
    axes.plot(*_points(complete), "o", color=_TRIAL, label="complete")
    if pruned:
        axes.plot(*_points(pruned), "x", color=_PRUNED, label="pruned (its last validation)")
    so_far = [max(other.value for other in complete[: index + 1]) for index in range(len(complete))]
    axes.step(_points(complete)[0], so_far, where="post", color=_BEST, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(_SCORE_LABEL)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _points(trials: Sequence[Any]) -> tuple[list[int], list[float]]:
    return [trial.number for trial in trials], [trial.value for trial in trials]


def _importances(study: Any) -> Any | None:
    """How much of the scores' variance each parameter explains; None where that can't be computed."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parameters that had one value alone
            shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError):  # such as equal scores of all trials
        return None
    names = list(shares)[::-1]
    figure = _figure(7.5, 1.4 + 0.35 * len(names))
    axes = figure.subplots()
    bars = axes.barh(names, [shares[name] for name in names], color=_TRIAL)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, max(1e-6, max(shares.values())) * 1.15)
    axes.set_xlabel(f"share of the variance of the {SCORE.capitalize()} (fANOVA)")
    return figure


def _slices(trials: Sequence[Any], plan: Plan) -> Any:
    """The score against each parameter."""
    complete, parameters = finished(trials), list(plan.space.parameters.values())
    columns = min(_COLUMNS, len(parameters))
    lines = -(-len(parameters) // columns)
    figure = _figure(2.9 * columns + 0.6, 2.7 * lines)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    winner = best(trials)
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        for trial in complete:
            value = trial.params[parameter.name]
            marks = (
                {"color": _BEST, "marker": "*", "s": 110} if trial is winner else {"color": _TRIAL, "s": 24}
            )
            where = parameter.choices.index(value) if parameter.choices else value
            axes.scatter(where, trial.value, **marks)
        if parameter.choices:
            axes.set_xticks(range(len(parameter.choices)), [str(choice) for choice in parameter.choices])
            axes.tick_params(axis="x", rotation=0 if parameter.is_numeric else 30)
            axes.set_xlim(-0.5, len(parameter.choices) - 0.5)
        elif parameter.log:
            axes.set_xscale("log")
        axes.set_xlabel(parameter.name)
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(parameters) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(_SCORE_LABEL)
    return figure


def _pareto(trials: Sequence[Any]) -> Any:
    """The score against the seconds that a case takes; the Pareto front as a line."""
    figure = _figure(7.5, 4.6)
    axes = figure.subplots()
    front = pareto_front(trials)
    rest = [trial for trial in finished(trials) if trial not in front]
    axes.plot(*_costs(rest), "o", color=_TRIAL, label="other trials")
    axes.step(*_costs(front), "-", where="post", color=_BEST, marker="D", label="Pareto front")
    for trial in finished(trials):
        name = f"{trial.number}{' (default)' if trial.user_attrs.get(DEFAULT) else ''}"
        if trial in front or trial.user_attrs.get(DEFAULT):
            point = trial.user_attrs[SECONDS], trial.value
            axes.annotate(name, point, xytext=(6, -11), textcoords="offset points", fontsize=9)
    axes.set_xlabel("seconds per case (median)")
    axes.set_ylabel(_SCORE_LABEL)
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _costs(trials: Sequence[Any]) -> tuple[list[float], list[float]]:
    return [trial.user_attrs[SECONDS] for trial in trials], [trial.value for trial in trials]
