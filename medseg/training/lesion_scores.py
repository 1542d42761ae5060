"""Scores and pictures of lesions: the mask, the lesions that were found, and whether they are malignant."""

from __future__ import annotations

import numpy as np

from medseg.case import Case
from medseg.errors import DataError
from medseg.io.raster import encode_jpeg
from medseg.metrics import confusion
from medseg.reports.overlay import draw_overlay
from medseg.surface import surface_scores
from medseg.training.case_scores import Scores
from medseg.training.references import Reference
from medseg.volume import Mask

PATHOLOGIES = {"benign": 0.0, "malignant": 1.0}
NORMAL = "normal"  # without a lesion
# The least overlap of a lesion that counts as found: as nnDetection (Baumgartner et al., MICCAI 2021) and
# PI-CAI (Saha et al., Lancet Oncol. 25:879, 2024) have it.
HIT_IOU = 0.1
PICTURE_PX = 1024
# The numbers whose contours draw_overlay paints in the colours of draw_errors.
MISSED, AGREED, FALSE_ALARM = 1, 2, 3


def score_lesions(case: Case, reference: Reference) -> Scores:
    """Scores of the lesions of one picture, on its own grid, all of it.

    dice and iou are 1.0 where prediction and reference are both empty and 0.0 where one of them is; hd95_px
    (see medseg.surface) is then None. Lesions are pieces whose pixels touch by a side or corner.
    lesion_sensitivity is the share of the reference's that one predicted piece overlaps by an IoU of at
    least 0.1, None without any; false_positives is the number of predicted pieces that overlap none so far.
    A lesion predicted in many small pieces is thus a miss; touched is 1 where any predicted pixel lies in a
    lesion, else 0. has_lesion is 1 or 0, lesion_probability what the method says of the whole picture. brier
    is the squared error of the probability; is_malignant is 1, 0, or None where the pathology is not known.

    Args:
        case: its mask, (row, column), 0 or 1; `malignancy` and `lesion_probability` among its extras.
        reference: the same; `pathology`, "benign", "malignant" or "normal", where it is known.

    Raises:
        LabelError: masks of two shapes or with other values.
        DataError: a malignancy outside [0, 1], or another pathology.
    """
    prediction, truth = case.mask.array, reference.mask.array
    counts = confusion(prediction, truth)
    union = counts.tp + counts.fp + counts.fn
    hits, lesions, false_positives = _found(prediction == 1, truth == 1)
    probability, malignant = _probability(case, "malignancy"), _is_malignant(reference.about.get("pathology"))
    scores = {
        "dice": counts.dice,
        "iou": counts.tp / union if union else 1.0,
        "hd95_px": surface_scores(prediction == 1, truth == 1, (1.0, 1.0))[1],
        "lesion_sensitivity": hits / lesions if lesions else None,
        "touched": float(counts.tp > 0) if lesions else None,
        "false_positives": float(false_positives),
        "has_lesion": float(lesions > 0),
        "lesion_probability": _probability(case, "lesion_probability"),
        "malignancy_probability": probability,
        "is_malignant": malignant,
        "brier": None if malignant is None or probability is None else (probability - malignant) ** 2,
    }
    return {"": scores}


def draw_lesions(case: Case, reference: Reference) -> bytes:
    """Contours of agreement (pale yellow), misses (cyan) and false alarms (violet), as a JPEG.

    The tissue itself stays visible, unlike in draw_photograph's. The probability is not drawn.
    """
    predicted, truth = case.mask.array == 1, reference.mask.array == 1
    regions = np.zeros(truth.shape, np.uint8)
    regions[truth] = MISSED
    regions[predicted] = FALSE_ALARM
    regions[predicted & truth] = AGREED
    names = {0: "background", MISSED: "missed", AGREED: "agreed", FALSE_ALARM: "false alarm"}
    return encode_jpeg(draw_overlay(case.image, Mask(regions, names), case.field_of_view), PICTURE_PX)


def _found(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Lesions of the reference that were hit, all of them, and predicted pieces that hit none."""
    from scipy.ndimage import label

    predicted, pieces = label(prediction, np.ones((3, 3)))
    reference, lesions = label(truth, np.ones((3, 3)))
    pairs = reference.astype(np.int64) * (pieces + 1) + predicted
    shared = np.bincount(pairs.ravel(), minlength=(lesions + 1) * (pieces + 1))
    shared = shared.reshape(lesions + 1, pieces + 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    hit = (shared >= HIT_IOU * union)[1:, 1:]
    return int(hit.any(axis=1).sum()), lesions, int(pieces - hit.any(axis=0).sum())


def _probability(case: Case, name: str) -> float | None:
    if name not in case.extras:
        return None
    value = float(case.extras[name])
    if not 0 <= value <= 1:  # NaN fails too
        do = "Apply the sigmoid to the network's output first."
        raise DataError(f"a probability ({name}) in [0, 1]", came=str(value), do=do)
    return value


def _is_malignant(pathology: str | None) -> float | None:
    if pathology in (None, NORMAL):
        return None
    if pathology not in PATHOLOGIES:
        do = "Correct the manifest, or leave the entry out where it is not known."
        raise DataError(f"a pathology of {', '.join((*PATHOLOGIES, NORMAL))}", came=str(pathology), do=do)
    return PATHOLOGIES[pathology]
