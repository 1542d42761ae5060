"""Pictures of a study: its history, the importance of parameters, slices, and score against time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.io.atomic import atomic_path
from medseg.tuning.plan import SCORE, Plan
from medseg.tuning.results import finished, pareto_front
from medseg.tuning.search_space import Parameter
from medseg.tuning.study import DEFAULT, SECONDS

# Colours of Okabe & Ito (2008), which differ for all kinds of colour vision; the markers differ too.
_TRIAL, _BEST, _PRUNED = "#0072b2", "#d55e00", "#999999"
_COMPLETE_MARK: dict[str, Any] = {"color": _TRIAL, "marker": "o", "label": "complete"}
_PRUNED_MARK: dict[str, Any] = {"color": _PRUNED, "marker": "x", "label": "pruned (its last validation)"}
_BEST_MARK: dict[str, Any] = {"color": _BEST, "marker": "*", "label": "best"}
_LEAST_TRIALS = 2  # for a picture that compares
_COLUMNS = 4  # of the slices
_LEGEND_INCHES = 5.5
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
    complete, pruned = finished(trials), _pruned(trials)
    axes.plot(*_points(complete), linestyle="", **_COMPLETE_MARK)
    if pruned:
        axes.plot(*_points(pruned), linestyle="", **_PRUNED_MARK)
    so_far = [max(other.value for other in complete[: index + 1]) for index in range(len(complete))]
    axes.step(_points(complete)[0], so_far, where="post", color=_BEST, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(_SCORE_LABEL)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _pruned(trials: Sequence[Any]) -> list[Any]:
    return [trial for trial in trials if trial.state.name == "PRUNED" and trial.value is not None]


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
    parameters = list(plan.space.parameters.values())
    columns = min(_COLUMNS, len(parameters))
    lines = -(-len(parameters) // columns)
    figure = _figure(max(2.9 * columns + 0.6, _LEGEND_INCHES), 3.0 * lines + 0.3)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        _slice(axes, parameter, trials)
    for axes in list(grid.flat)[len(parameters) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(_SCORE_LABEL)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _slice(axes: Any, parameter: Parameter, trials: Sequence[Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    ranked = sorted(finished(trials), key=lambda trial: (-trial.value, trial.number))
    groups = (
        (ranked[1:], _COMPLETE_MARK, 24),
        (_pruned(trials), _PRUNED_MARK, 24),
        (ranked[:1], _BEST_MARK, 110),
    )
    for shown, mark, size in groups:
        if shown:
            values = [trial.params[parameter.name] for trial in shown]
            places = [parameter.choices.index(value) for value in values] if parameter.choices else values
            axes.scatter(places, [trial.value for trial in shown], s=size, **mark)
    if parameter.choices:
        axes.set_xticks(range(len(parameter.choices)), [str(choice) for choice in parameter.choices])
        if not parameter.is_numeric:  # names, which would overlap beside each other
            axes.tick_params(axis="x", rotation=30)
            for text in axes.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.5, len(parameter.choices) - 0.5)
    elif parameter.log:
        axes.set_xscale("log")
    elif parameter.is_whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(parameter.name)
    axes.grid(alpha=0.3)


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
            # The line of the front goes on to its right, and is to the left of all others.
            away, side = (-8, "right") if trial in front else (8, "left")
            place = {"xytext": (away, 0), "textcoords": "offset points", "ha": side, "va": "center"}
            axes.annotate(name, point, fontsize=9, **place)
    axes.set_xlabel("seconds per case (median)")
    axes.set_ylabel(_SCORE_LABEL)
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _costs(trials: Sequence[Any]) -> tuple[list[float], list[float]]:
    return [trial.user_attrs[SECONDS] for trial in trials], [trial.value for trial in trials]
