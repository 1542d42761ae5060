"""The learning curves of trainings with different losses, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Colours of Okabe & Ito (2008), which differ for all kinds of colour vision; the line style differs too.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800")
_STYLES = ("-", "--", "-.", ":")
_COLUMNS = 4  # of small plots in a row

History = Mapping[str, Sequence[tuple[int, float]]]  # name to (epoch, value)


def draw_losses(histories: Mapping[str, History], path: Path) -> None:
    """Draw the scores of all trainings against the epoch, and below each training's loss by itself, as a PNG.

    Losses have scales of their own, so that their values can't share an axis; scores can.

    Args:
        histories: name of the loss to its curves, with "train_loss" among them.
        path: the file.
    """
    from matplotlib.figure import Figure

    scores = _scores(histories)
    rows = -(-len(histories) // _COLUMNS)
    figure = Figure(figsize=(9.5, 3.6 + 1.7 * rows), dpi=130, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.6, 1.7 * rows])
    above, below = parts
    for axis, score in zip(above.subplots(1, max(1, len(scores)), squeeze=False)[0], scores, strict=False):
        for number, (loss, history) in enumerate(histories.items()):
            _curve(axis, history.get(score, ()), number, label=loss)
        axis.set_title(score, fontsize=10)
        _epochs(axis)
    handles, labels = above.axes[0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    small = below.subplots(rows, min(_COLUMNS, len(histories)), squeeze=False, sharex=True).ravel()
    for number, (axis, (loss, history)) in enumerate(zip(small, histories.items(), strict=False)):
        _curve(axis, history["train_loss"], number)
        axis.set_title(f"loss: {loss}", fontsize=8)
        axis.tick_params(labelsize=7)
        _epochs(axis, size=7)
    for axis in small[len(histories) :]:
        axis.remove()
    figure.savefig(path, format="png")


def _scores(histories: Mapping[str, History]) -> list[str]:
    """The scores to draw: those that were taken more than once, if there are any."""
    found: dict[str, int] = {}
    for history in histories.values():
        for name, points in history.items():
            if "loss" not in name and name != "learning_rate":
                found[name] = max(found.get(name, 0), len(points))
    return [name for name, points in found.items() if points > 1] or list(found)


def _curve(axis: Any, points: Sequence[tuple[int, float]], number: int, label: str | None = None) -> None:
    style = (
        _STYLES[number // len(_COLOURS) % len(_STYLES)] if number >= len(_COLOURS) else _STYLES[number % 2]
    )
    axis.plot(
        [epoch for epoch, _ in points],
        [value for _, value in points],
        style,
        color=_COLOURS[number % len(_COLOURS)],
        marker=".",
        markersize=5,
        linewidth=1.3,
        label=label,
    )


def _epochs(axis: Any, size: int = 9) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch", fontsize=size)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)
