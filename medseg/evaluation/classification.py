"""Image-level classification over the cases of a split: ROC area, calibration and an operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.evaluation.scoring import Question
from medseg.metrics.calibration import (
    brier_score,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from medseg.metrics.roc import operating_point, roc_area, roc_curve

SENSITIVITY = 0.95  # of the operating point

Row = Mapping[str, Any]  # a row of scores.csv


def summarise_question(rows: Sequence[Row], question: Question) -> dict[str, Any] | None:
    """ROC area, calibration and an operating point; None if no case has both a probability and a truth.

    Args:
        rows: subject, probability and truth of each case; cases that lack one of them are left out.
        question: names the columns of probability and truth.

    Returns:
        cases, subjects, positive: their numbers.
        roc_auc: see medseg.metrics.roc.roc_area; its interval treats the images of a subject as a cluster.
        temperature: fitted to all these cases; the network's logit is divided by it. None if there is only
            one class.
        before, after: Brier score, expected calibration error and reliability bins without and with
            temperature scaling, where the temperature of each case is fitted to other subjects (see
            cross_fitted). `after` is None if no temperature can be fitted.
        operating_point: see medseg.metrics.roc.operating_point, for the unscaled probability; None if there
            is only one class.
    """
    probabilities, truths, subjects = _known(rows, question)
    if not probabilities:
        return None
    both = len(set(truths)) == 2
    scaled = cross_fitted(probabilities, truths, subjects)
    point = operating_point(probabilities, truths, subjects, SENSITIVITY)._asdict() if both else None
    return {
        "cases": len(probabilities),
        "subjects": len(set(subjects)),
        "positive": sum(truths),
        "roc_auc": roc_area(probabilities, truths, subjects)._asdict(),
        "temperature": fit_temperature(probabilities, truths),
        "before": _calibration(probabilities, truths),
        "after": None if scaled is None else _calibration(scaled.tolist(), truths),
        "operating_point": point,
    }


def question_auc(rows: Sequence[Row], question: Question) -> dict[str, float | None]:
    """The area under the ROC curve of a group of cases; see medseg.metrics.roc.roc_area."""
    probabilities, truths, subjects = _known(rows, question)
    if not probabilities:
        return dict.fromkeys(("area", "standard_error", "low", "high"))
    return roc_area(probabilities, truths, subjects)._asdict()


def question_figures(summary: Mapping[str, Any], name: str) -> dict[str, float]:
    """The scores to compare runs by: name to value, without undefined ones."""
    point, after = summary["operating_point"] or {}, summary["after"] or {}
    figures = {
        f"{name}_roc_auc": summary["roc_auc"]["area"],
        f"{name}_calibration_error": summary["before"]["calibration_error"],
        f"{name}_calibration_error_scaled": after.get("calibration_error"),
        f"{name}_brier_scaled": after.get("brier"),
        f"{name}_temperature": summary["temperature"],
        f"{name}_specificity_at_{100 * SENSITIVITY:.0f}": point.get("specificity"),
    }
    return {name: value for name, value in figures.items() if value is not None}


def draw_reliability(summary: Mapping[str, Any], rows: Sequence[Row], question: Question, path: Path) -> None:
    """Draw a PNG of two plots: the share of positive cases by probability, and the ROC curve.

    Args:
        summary: the result of summarise_question.
        rows: the rows that the summary was made from.
        question: the question of the summary.
        path: the file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    reliability, roc = figure.subplots(1, 2)
    for axis in (reliability, roc):
        axis.plot((0, 1), (0, 1), color="0.7", linewidth=1)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axis.grid(alpha=0.3)
    _draw_bins(reliability, summary, question)
    _draw_roc(roc, summary, rows, question)
    figure.savefig(path, format="png", dpi=110)


def _draw_bins(axis: Any, summary: Mapping[str, Any], question: Question) -> None:
    for name, title in (("before", "as predicted"), ("after", "after the temperature")):
        if summary[name] is None:
            continue
        bins = summary[name]["bins"]
        x, y, cases = ([b[key] for b in bins] for key in ("mean_probability", "share_positive", "cases"))
        label = f"{title}: calibration error {summary[name]['calibration_error']:.3f}"
        (line,) = axis.plot(x, y, label=label, linewidth=1)
        # A dot's area is proportional to its number of cases, since a bin of three cases proves little.
        axis.scatter(x, y, s=300 * np.array(cases) / max(cases), color=line.get_color(), alpha=0.6)
    axis.set(xlabel=f"probability of {question.name}", ylabel=f"share of {question.positive} cases")
    axis.legend(frameon=False, loc="upper left")


def _draw_roc(axis: Any, summary: Mapping[str, Any], rows: Sequence[Row], question: Question) -> None:
    axis.set(xlabel="1 - specificity", ylabel="sensitivity")
    point, area = summary["operating_point"], summary["roc_auc"]
    if point is None:
        return
    probabilities, truths, _ = _known(rows, question)
    _, sensitivity, specificity = roc_curve(probabilities, truths)
    interval = "" if area["low"] is None else f" ({area['low']:.3f} to {area['high']:.3f})"
    axis.plot([0, *(1 - specificity)], [0, *sensitivity], label=f"area {area['area']:.3f}{interval}")
    rates = f"sensitivity {point['sensitivity']:.3f}, specificity {point['specificity']:.3f}"
    axis.plot(
        1 - point["specificity"],
        point["sensitivity"],
        "o",
        label=f"threshold {point['threshold']:.3f}: {rates}",
    )
    axis.legend(frameon=False, loc="lower right")


def _known(rows: Sequence[Row], question: Question) -> tuple[list[float], list[bool], list[str]]:
    """Probabilities, truths and subjects of the cases that have both."""
    probability, truth = question.probability_key, question.truth_key
    known = [row for row in rows if row.get(probability) is not None and row.get(truth) is not None]
    return (
        [float(row[probability]) for row in known],
        [bool(row[truth]) for row in known],
        [row["subject"] for row in known],
    )


def _calibration(probabilities: Sequence[float], truths: Sequence[bool]) -> dict[str, Any]:
    return {
        "brier": brier_score(probabilities, truths),
        "calibration_error": expected_calibration_error(probabilities, truths),
        "bins": [entry._asdict() for entry in reliability_bins(probabilities, truths)],
    }
