"""Mask against reference: scores of one case, and their means with confidence intervals.

Masks (prediction, truth, field of view) are bool or 0/1, probabilities float in [0, 1]; all of one case have
one shape, (row, column) or (i, j, k), without a channel axis. Only pixels inside the field of view are
read; a field of view of None holds all pixels. A mask of another shape or with other values raises a
LabelError; a probability of another shape or outside [0, 1], or an empty field of view, raises a DataError. A
score is None, never 0 or NaN, where it is not defined:

    sensitivity, average precision, clDice     no positives in the reference
    specificity                                no negatives in the reference
    balanced accuracy, ROC AUC                 one class only in the reference
    MCC                                        one class only in the reference

Dice is always defined, so that false positives in a healthy person's image count: an empty reference gives
1.0 with an empty prediction and 0.0 with any other. MCC is 0.0 for a prediction of one class, so that a
failed case stays in the mean.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medseg.errors import DataError, LabelError

logger = logging.getLogger(__name__)

Interval = tuple[float | None, float | None, float | None]

_GRID_PERCENT = np.arange(5, 96)
_RESAMPLES = 2000


@dataclass(frozen=True)
class Confusion:
    """Pixel or voxel counts (Python integers) of a prediction against its reference, and their scores."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN) (Dice 1945); both empty is 1.0."""
        size = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / size if size else 1.0

    @property
    def sensitivity(self) -> float | None:
        """TP / (TP + FN)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        """TN / (TN + FP)."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of sensitivity and specificity (Brodersen et al. 2010)."""
        if self.sensitivity is None or self.specificity is None:
            return None
        return (self.sensitivity + self.specificity) / 2

    @property
    def mcc(self) -> float | None:
        """Matthews correlation, -1 to 1 (Matthews 1975).

        A prediction of one class gives 0.0 (Chicco & Jurman 2020).
        """
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        if not (tp + fn and tn + fp):
            return None
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0


def confusion(
    prediction: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None = None
) -> Confusion:
    """Count agreement inside the field of view.

    Args:
        prediction: bool or 0/1, any shape.
        truth: bool or 0/1, the same shape.
        field_of_view: bool or 0/1, the same shape, or None.

    Raises:
        LabelError, DataError: see the module.
    """
    inside, predicted, reference = _masks(prediction, truth, field_of_view)
    tp = _count(predicted & reference)
    fp, fn = _count(predicted) - tp, _count(reference) - tp
    return Confusion(tp, fp, fn, _count(inside) - tp - fp - fn)


def cl_dice(
    prediction: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None = None
) -> float | None:
    """Centreline Dice: the harmonic mean of topology precision and sensitivity.

    Precision is the part of the prediction's skeleton inside the reference, sensitivity the part of the
    reference's skeleton inside the prediction (Shit et al., CVPR 2021). It is 0.0 where the prediction,
    such as an empty one, covers none of the reference's skeleton. In 3D scikit-image finds no skeleton in
    some compact structures (its issue 3757): these don't count, and without others the result is None.

    Args:
        prediction: bool or 0/1, (row, column) or (i, j, k).
        truth: bool or 0/1, the same shape.
        field_of_view: bool or 0/1, the same shape, or None; both masks are set to 0 outside it first.

    Raises:
        LabelError, DataError: see the module; LabelError too for other than 2 or 3 axes.
    """
    from skimage.morphology import skeletonize

    inside, predicted, reference = _masks(prediction, truth, field_of_view)
    if inside.ndim not in (2, 3):
        advice = "Remove the batch and channel axes."
        raise LabelError("masks with 2 or 3 axes", got=f"{inside.ndim} axes", advice=advice)
    centreline = skeletonize(reference)
    sensitivity = _ratio(_count(predicted & centreline), _count(centreline))
    if not sensitivity:
        return sensitivity  # a harmonic mean with 0 is 0, even where the precision is undefined
    centreline = skeletonize(predicted)
    precision = _ratio(_count(reference & centreline), _count(centreline))
    return None if precision is None else 2 * precision * sensitivity / (precision + sensitivity)


def ranking_scores(
    probability: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None = None
) -> tuple[float | None, float | None]:
    """The area under the ROC curve and the average precision, exact, from one sort.

    Equal to scikit-learn's `roc_auc_score` (ties count half, Hanley & McNeil 1982) and
    `average_precision_score` (steps, no interpolation), in a quarter of the time.

    Args:
        probability: float in [0, 1], any shape.
        truth: bool or 0/1, the same shape.
        field_of_view: bool or 0/1, the same shape, or None.

    Raises:
        LabelError, DataError: see the module.
    """
    values, positive = _pixels(probability, truth, field_of_view)
    order = np.argsort(values)[::-1]
    values = values[order]
    # The last pixel of each run of equal probabilities: ties enter the curve together.
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    tp = np.cumsum(positive[order], dtype=np.int64)[ends]
    fp, gained = ends + 1 - tp, np.diff(tp, prepend=0)
    positives, negatives = int(tp[-1]), int(fp[-1])
    twice_area = int(np.sum(np.diff(fp, prepend=0) * (2 * tp - gained)))
    average_precision = _ratio(float(np.sum(gained * (tp / (ends + 1)))), positives)
    return _ratio(twice_area, 2 * positives * negatives), average_precision


def score_case(
    probability: np.ndarray | None,
    prediction: np.ndarray,
    truth: np.ndarray,
    field_of_view: np.ndarray | None = None,
) -> dict[str, float | None]:
    """All scores of one case inside the field of view: score name to value, None where not defined.

    Args:
        probability: float in [0, 1], (row, column) or (i, j, k); None for a method that gives none.
        prediction: bool or 0/1, the same shape.
        truth: bool or 0/1, the same shape.
        field_of_view: bool or 0/1, the same shape, or None.

    Raises:
        LabelError, DataError: see the module; LabelError too for other than 2 or 3 axes.
    """
    counts = confusion(prediction, truth, field_of_view)
    roc_auc, average_precision = (
        (None, None) if probability is None else ranking_scores(probability, truth, field_of_view)
    )
    return {
        "dice": counts.dice,
        "cl_dice": cl_dice(prediction, truth, field_of_view),
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "balanced_accuracy": counts.balanced_accuracy,
        "mcc": counts.mcc,
        "roc_auc": roc_auc,
        "average_precision": average_precision,
    }


def bootstrap_interval(values: Sequence[float | None], subjects: Sequence[str]) -> Interval:
    """The mean over cases and its 95% percentile interval, from resampling whole subjects.

    Percentile interval: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Cluster
    bootstrap: Field & Welsh, J. R. Stat. Soc. B 69, 2007; both eyes of one person are drawn together.
    With few subjects the interval is too narrow: of skewed scores it covers the true mean in 82% with 5
    subjects, in 88% with 10 and in 92% with 20 (tests/benchmarks/interval_coverage.py).

    Args:
        values: one score per case; None is left out, and how many were is logged.
        subjects: the person that each case belongs to, same length.

    Returns:
        Mean, low, high. All None without any value; low and high None with a single subject.

    Raises:
        DataError: the lengths differ, or a value is NaN or infinite.
    """
    scores, cluster = _defined(values, subjects)
    if not scores.size:
        return None, None, None
    mean, sizes = float(scores.mean()), np.bincount(cluster)
    if sizes.size < 2:
        return mean, None, None
    drawn = np.random.default_rng(0).integers(sizes.size, size=(_RESAMPLES, sizes.size))
    means = np.bincount(cluster, weights=scores)[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return mean, float(low), float(high)


def summarise(
    cases: Sequence[Mapping[str, float | None]], subjects: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """The mean and 95 % interval of every score, and in how many cases and subjects it was defined.

    Args:
        cases: one result of `score_case` per case, all with the same scores.
        subjects: the person that each case belongs to, same length.

    Returns:
        Score name to "mean", "low", "high" (see `bootstrap_interval`), "cases" and "subjects".

    Raises:
        DataError: no cases, lengths that differ, cases with different scores, or NaN among them.
    """
    names = list(cases[0]) if cases else []
    if not names or any(set(case) != set(names) for case in cases):
        got = f"{len(cases)} cases with {len({frozenset(case) for case in cases})} different sets of scores"
        advice = "Score every case with the same version of score_case."
        raise DataError("at least one case, and the same scores in all", got=got, advice=advice)
    summary: dict[str, dict[str, float | int | None]] = {}
    for name in names:
        values = [case[name] for case in cases]
        interval = bootstrap_interval(values, subjects)
        used = [s for s, value in zip(subjects, values, strict=True) if value is not None]
        summary[name] = dict(zip(("mean", "low", "high"), interval, strict=True))
        summary[name] |= {"cases": len(used), "subjects": len(set(used))}
    return summary


def best_threshold(
    probabilities: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    fields_of_view: Sequence[np.ndarray | None],
) -> tuple[float, float]:
    """The threshold from 0.05 to 0.95 in steps of 0.01 with the highest mean Dice per case, and that Dice.

    A pixel is positive where probability >= threshold, the threshold a Python float (NumPy then
    compares in the array's own precision). Equal means go to the threshold nearest 0.5, then the lower.

    Args:
        probabilities: one array per case, float in [0, 1], any shape.
        truths: bool or 0/1, the same shapes.
        fields_of_view: bool or 0/1, the same shapes; None for a case without one.

    Raises:
        LabelError, DataError: see the module; DataError too for no cases or lengths that differ.
    """
    lengths = len(probabilities), len(truths), len(fields_of_view)
    if not lengths[0] or len(set(lengths)) > 1:
        raise DataError(
            "as many references and fields of view as probabilities, at least one of each",
            got="{}, {} and {}".format(*lengths),
            advice="Pass the three in the same order, with None for a case without a field of view.",
        )
    curves = [_dice_curve(*case) for case in zip(probabilities, truths, fields_of_view, strict=True)]
    mean = np.mean(curves, axis=0)
    ties = np.flatnonzero(mean == mean.max())
    best = ties[np.argmin(np.abs(_GRID_PERCENT[ties] - 50))]
    return float(_GRID_PERCENT[best] / 100), float(mean[best])


def _dice_curve(probability: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None) -> np.ndarray:
    """Dice of one case at every threshold of the grid, from one pass over the pixels."""
    values, positive = _pixels(probability, truth, field_of_view)
    grid = (_GRID_PERCENT / 100).astype(values.dtype)
    reached = np.searchsorted(grid, values, side="right")  # how many thresholds call the pixel positive
    histogram = np.bincount(reached + (grid.size + 1) * positive, minlength=2 * (grid.size + 1))
    fp, tp = histogram.reshape(2, -1)[:, :0:-1].cumsum(axis=1)[:, ::-1]
    size = tp + fp + _count(positive)
    return np.where(size > 0, 2 * tp / np.maximum(size, 1), 1.0)


def _defined(values: Sequence[float | None], subjects: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The values that are not None, and for each the index of its subject."""
    if len(values) != len(subjects):
        got = f"{len(values)} values, {len(subjects)} subjects"
        raise DataError("one subject per value", got=got, advice="Name the subject of every case, in order.")
    kept = [(value, s) for value, s in zip(values, subjects, strict=True) if value is not None]
    if len(kept) < len(values):
        logger.info("%d of %d values are undefined and left out", len(values) - len(kept), len(values))
    scores = np.array([value for value, _ in kept], dtype=float)
    if not np.isfinite(scores).all():
        raise DataError("finite scores", got="NaN or infinity", advice="Give None for an undefined score.")
    return scores, np.unique([s for _, s in kept], return_inverse=True)[1]


def _masks(
    prediction: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Field of view, prediction and reference as bool; the last two are False outside it."""
    inside = _inside(field_of_view, np.shape(prediction))
    return inside, _binary("a prediction", prediction, inside), _binary("a reference", truth, inside)


def _pixels(
    probability: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (as float) and reference (as bool) inside the field of view; (pixels,) each."""
    inside = _inside(field_of_view, np.shape(truth))
    probability = np.asarray(probability)
    _require_shape("a probability map", probability, inside.shape, DataError)
    values = probability[inside]
    if values.dtype.kind != "f":
        values = values.astype(float)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN fails too
        got, advice = (
            f"values from {values.min()} to {values.max()}",
            "Apply the sigmoid or softmax to the logits first.",
        )
        raise DataError("probabilities in [0, 1]", got=got, advice=advice)
    return values, _binary("a reference", truth, inside)[inside]


def _inside(field_of_view: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """The field of view as bool; True everywhere for None."""
    everywhere = np.ones(shape, dtype=bool)
    inside = everywhere if field_of_view is None else _binary("a field of view", field_of_view, everywhere)
    if not inside.any():
        raise DataError(
            "a field of view with at least one pixel",
            got="an empty one",
            advice="Check the mask of the field of view.",
        )
    return inside


def _binary(name: str, mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The mask as bool, False outside the field of view."""
    mask = np.asarray(mask)
    _require_shape(name, mask, inside.shape, LabelError)
    if mask.dtype != bool and not np.isin(found := mask[inside], (0, 1)).all():
        got = f"values {np.unique(found)[:5].tolist()}"
        advice = "Select one label, for example mask == 1, or leave pixels out by the field of view."
        raise LabelError(f"{name} of the values 0 and 1", got=got, advice=advice)
    return (mask == 1) & inside


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...], error: type[DataError]) -> None:
    if array.shape != shape:
        advice = "Resample it to the grid of the image, without a channel axis."
        raise error(f"{name} of shape {shape}", got=f"shape {array.shape}", advice=advice)


def _count(mask: np.ndarray) -> int:
    # A Python integer: MCC multiplies four counts, which overflows NumPy's 64 bits.
    return int(np.count_nonzero(mask))


def _ratio(part: float, whole: float) -> float | None:
    """Part over whole, None for a whole of 0."""
    return part / whole if whole else None
