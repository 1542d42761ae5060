"""Scores and error pictures of objects such as lesions: overlap, detection, image-level classification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medseg.case import Case
from medseg.errors import DataError
from medseg.evaluation.references import Reference
from medseg.evaluation.scoring import Question, Scores
from medseg.io.raster import encode_jpeg
from medseg.metrics.overlap import confusion
from medseg.metrics.surface import surface_scores
from medseg.reports.picture_overlay import draw_picture_overlay
from medseg.volume import Mask

# The least IoU at which an object counts as detected, as in nnDetection (Baumgartner et al., MICCAI 2021) and
# PI-CAI (Saha et al., Lancet Oncol. 25:879, 2024).
HIT_IOU = 0.1
PICTURE_PX = 1024
# Labels for which draw_overlay has the same colours as draw_errors.
MISSED, AGREED, FALSE_ALARM = 1, 2, 3


def score_objects(
    case: Case, reference: Reference, *, name: str = "object", question: Mapping[str, str] | None = None
) -> Scores:
    """Scores of the objects of one picture, over its whole grid.

    dice and iou are 1.0 if prediction and reference are both empty and 0.0 if only one of them is; hd95_px
    (see medseg.metrics.surface) is None in both cases. Objects are connected components (8 neighbours).

    - <name>_sensitivity: the share of the reference's objects that a predicted component overlaps with an IoU
      of at least 0.1; None if the reference has no object. An object that is predicted as many small
      components is therefore missed.
    - false_positives: the number of predicted components that overlap no object with that IoU.
    - touched: 1 if any predicted pixel lies in an object, else 0; None if the reference has no object.
    - has_<name>: 1 if the reference has an object, else 0; <name>_probability is the method's probability.
    - brier: the squared error of the question's probability.

    Args:
        case: its mask, (row, column), is 0 or 1; its extras may hold <name>_probability, and the question's
            probability under the question's name.
        reference: its mask has the same form; `about` may hold the question's entry.
        name: the name of an object, such as lesion.
        question: the fields of a medseg.evaluation.scoring.Question.

    Raises:
        LabelError: the masks have different shapes or other values than 0 and 1.
        DataError: a probability is outside [0, 1], or the question's entry has an unknown value.
    """
    prediction, truth = case.mask.array, reference.mask.array
    counts = confusion(prediction, truth)
    union = counts.tp + counts.fp + counts.fn
    hits, objects, false_positives = _found(prediction == 1, truth == 1)
    scores = {
        "dice": counts.dice,
        "iou": counts.tp / union if union else 1.0,
        "hd95_px": surface_scores(prediction == 1, truth == 1, (1.0, 1.0))[1],
        f"{name}_sensitivity": hits / objects if objects else None,
        "touched": float(counts.tp > 0) if objects else None,
        "false_positives": float(false_positives),
        f"has_{name}": float(objects > 0),
        f"{name}_probability": _probability(case, f"{name}_probability"),
    }
    if question is not None:
        scores |= _classified(case, reference, Question(**question))
    return {"": scores}


def _classified(case: Case, reference: Reference, question: Question) -> dict[str, float | None]:
    probability, truth = (
        _probability(case, question.name),
        _truth(reference.about.get(question.entry), question),
    )
    return {
        question.probability_key: probability,
        question.truth_key: truth,
        "brier": None if truth is None or probability is None else (probability - truth) ** 2,
    }


def draw_objects(case: Case, reference: Reference) -> bytes:
    """Contours of agreement (pale yellow), misses (cyan) and false alarms (violet), as a JPEG.

    Unlike draw_picture it leaves the tissue visible. The probability is not drawn.
    """
    predicted, truth = case.mask.array == 1, reference.mask.array == 1
    regions = np.zeros(truth.shape, np.uint8)
    regions[truth] = MISSED
    regions[predicted] = FALSE_ALARM
    regions[predicted & truth] = AGREED
    names = {0: "background", MISSED: "missed", AGREED: "agreed", FALSE_ALARM: "false alarm"}
    return encode_jpeg(draw_picture_overlay(case.image, Mask(regions, names), case.field_of_view), PICTURE_PX)


def _found(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """The number of detected objects, of all objects, and of predicted components without an object."""
    from scipy.ndimage import label

    predicted, components = label(prediction, np.ones((3, 3)))
    reference, objects = label(truth, np.ones((3, 3)))
    pairs = reference.astype(np.int64) * (components + 1) + predicted
    shared = np.bincount(pairs.ravel(), minlength=(objects + 1) * (components + 1))
    shared = shared.reshape(objects + 1, components + 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    hit = (shared >= HIT_IOU * union)[1:, 1:]
    return int(hit.any(axis=1).sum()), objects, int(components - hit.any(axis=0).sum())


def _probability(case: Case, name: str) -> float | None:
    if name not in case.extras:
        return None
    value = float(case.extras[name])
    if not 0 <= value <= 1:  # NaN fails too
        advice = "Apply the sigmoid to the network's output first."
        raise DataError(f"a probability ({name}) in [0, 1]", got=str(value), advice=advice)
    return value


def _truth(value: str | None, question: Question) -> float | None:
    """1 or 0; None if the class is unknown or the question does not apply."""
    if value is None or value == question.neither:
        return None
    if value not in (question.positive, question.negative):
        known = ", ".join(filter(None, (question.negative, question.positive, question.neither)))
        advice = "Correct the manifest, or leave the entry out where it is unknown."
        raise DataError(f"one of {known} as {question.entry}", got=str(value), advice=advice)
    return float(value == question.positive)
