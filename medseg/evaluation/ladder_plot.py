"""Scores of methods against the time that an image takes them, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.evaluation.ladder_table import SCORE, Rung

# Colours of Okabe & Ito (2008), which differ for all kinds of colour vision; the marker differs too.
_STYLES = {
    "rule": ("^", "#009e73"),
    "unsupervised": ("s", "#d55e00"),
    "learned": ("o", "#0072b2"),
}
_DIRECTIONS = np.radians([0, 30, -30, 180, 150, 210, 60, -60, 120, 240, 90, 270])
_DISTANCES_PX = (16, 34, 54, 80, 110)  # from a point to its label
_FONT_PT, _LEAST_SPAN = 9, 0.1
_POINT_PX, _CAP_PX, _GAP_PX, _LINE_FROM_PX = 9, 6, 3, 30
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


def draw_scores(rungs: Sequence[Rung], path: Path) -> None:
    """Draw the mean score with its interval against the seconds a case, on a logarithmic axis, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(9, 5.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for kind, (marker, colour) in _STYLES.items():
        members = [rung for rung in rungs if rung.kind == kind]
        if members:
            axes.errorbar(
                [rung.cost.seconds_per_case for rung in members],
                [rung.mean for rung in members],
                yerr=np.transpose([_whiskers(rung) for rung in members]),
                fmt=marker, color=colour, markersize=8, capsize=3, elinewidth=1.2, label=kind,
            )  # fmt: skip
    seconds = [rung.cost.seconds_per_case for rung in rungs]
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 2.5, max(seconds) * 2.5)
    axes.set_ylim(*_range([end for rung in rungs for end in _ends(rung)]))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("seconds a case (median, logarithmic axis)")
    axes.set_ylabel(f"{SCORE.capitalize()} (mean, 95% interval)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(_STYLES), frameon=False)
    _label(figure, axes, rungs)
    figure.savefig(path, format="png")


def _ends(rung: Rung) -> tuple[float, float]:
    below, above = _whiskers(rung)
    return rung.mean - below, rung.mean + above


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The range of the axis: at least _LEAST_SPAN, so that no tiny difference looks large."""
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _whiskers(rung: Rung) -> tuple[float, float]:
    entry = rung.scores[SCORE]
    low, high = entry["low"], entry["high"]
    return (0.0, 0.0) if low is None or high is None else (rung.mean - low, high - rung.mean)


def _label(figure: Any, axes: Any, rungs: Sequence[Rung]) -> None:
    """Write each method's name beside its point, where it covers neither points, intervals nor names."""
    figure.draw_without_rendering()  # places the axes
    taken = [box for rung in rungs for box in _boxes(axes, rung)]
    frame = axes.get_window_extent().extents
    for rung in rungs:
        x, y = axes.transData.transform((rung.cost.seconds_per_case, rung.mean))
        label = figure.text(0, 0, rung.method, fontsize=_FONT_PT)
        extent = label.get_window_extent()
        label.remove()
        middle, near, box = place((x, y), (extent.width, extent.height), taken, tuple(frame))
        taken.append(box)
        far = np.hypot(near[0] - x, near[1] - y) > _LINE_FROM_PX
        axes.annotate(
            rung.method,
            (rung.cost.seconds_per_case, rung.mean),
            xytext=axes.transData.inverted().transform(middle),
            fontsize=_FONT_PT,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#7b8691", "lw": 0.7} if far else None,
        )


def _boxes(axes: Any, rung: Rung) -> list[Box]:
    """The point and the interval of a method in pixels."""
    x, y = axes.transData.transform((rung.cost.seconds_per_case, rung.mean))
    bottom, top = (axes.transData.transform((rung.cost.seconds_per_case, value))[1] for value in _ends(rung))
    return [
        (x - _POINT_PX, y - _POINT_PX, x + _POINT_PX, y + _POINT_PX),
        (x - _CAP_PX, bottom, x + _CAP_PX, top),
    ]


def place(
    point: tuple[float, float], size: tuple[float, float], taken: Sequence[Box], frame: Box
) -> tuple[tuple[float, float], tuple[float, float], Box]:
    """Where a label fits beside a point, as near as possible; where it covers least if it fits nowhere.

    Args:
        point: (x, y) in pixels.
        size: (width, height) of the label.
        taken: boxes that it must not cover.
        frame: the box that it must lie in.

    Returns:
        The label's middle, the end of the line to it, and its box.
    """
    choices = []
    for distance in _DISTANCES_PX:
        for angle in _DIRECTIONS:
            across, up = np.cos(angle), np.sin(angle)
            near = float(point[0] + distance * across), float(point[1] + distance * up)
            middle = near[0] + across * size[0] / 2, near[1] + up * size[1] / 2
            box = (
                middle[0] - size[0] / 2 - _GAP_PX, middle[1] - size[1] / 2 - _GAP_PX,
                middle[0] + size[0] / 2 + _GAP_PX, middle[1] + size[1] / 2 + _GAP_PX,
            )  # fmt: skip
            covered = sum(_overlap(box, other) for other in taken)
            outside = (size[0] + 2 * _GAP_PX) * (size[1] + 2 * _GAP_PX) - _overlap(box, frame)
            choices.append((covered + outside, (middle, near, box)))
    return min(choices, key=lambda choice: round(choice[0], 6))[1]


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
