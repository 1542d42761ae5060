"""Scores and error pictures of one case: the functions that a bundle names as `score` and `draw`.

See medseg.evaluation.scoring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.evaluation.references import Reference
from medseg.evaluation.scoring import Scores
from medseg.io.raster import encode_jpeg
from medseg.metrics.overlap import confusion, score_case
from medseg.metrics.surface import score_labels
from medseg.reports.picture_overlay import draw_errors
from medseg.reports.volume_errors import draw_volume_errors

PICTURE_PX, VOLUME_PICTURE_PX = 1024, 2048  # long side; a volume is shown as three slices side by side


def score_picture(case: Case, reference: Reference) -> Scores:
    """Scores of one label, on the photograph's own grid; see medseg.metrics.overlap.score_case.

    Only the reference's field of view counts, if it has one; else the whole picture.
    """
    prediction, truth, field = case.mask.array, reference.mask.array, reference.field_of_view
    scores = score_case(case.extras.get("probability"), prediction, truth, field)
    if reference.second is not None:
        scores["second_observer_dice"] = confusion(reference.second, truth, field).dice
    return {"": scores}


def score_picture_labels(case: Case, reference: Reference) -> Scores:
    """Dice of each label of a picture, on its own grid, and their mean over the labels that occur.

    The distances of surfaces are scored too where the size of a pixel is known; see medseg.metrics.surface.
    Where a label is in neither mask, its Dice is 1.
    """
    if case.mask.spacing_mm or reference.mask.spacing_mm:
        return score_labels(case.mask, reference.mask)
    # In px: Dice does not depend on the size of a pixel, and distances in px are no distances in mm.
    of_pixels = replace(case.mask, pixel_spacing_mm=(1.0, 1.0))
    found = score_labels(of_pixels, reference.mask)
    return {label: {"dice": scores["dice"]} for label, scores in found.items()}


def score_volume(
    case: Case,
    reference: Reference,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    tolerance_mm: float = 2.0,
) -> Scores:
    """Scores of each label of the reference, on the scan's own grid; see medseg.metrics.surface.score_labels.

    Args:
        case: a volume with its mask.
        reference: the reference mask.
        groups: name to labels that are also scored together as one.
        tolerance_mm: the distance up to which surfaces agree.
    """
    return score_labels(case.mask, reference.mask, groups=groups, tolerance_mm=tolerance_mm)


def draw_picture(case: Case, reference: Reference) -> bytes:
    """Agreement, misses and false alarms as a JPEG."""
    shown = reference.field_of_view if reference.field_of_view is not None else case.field_of_view
    return encode_jpeg(draw_errors(case.image, case.mask.array, reference.mask.array, shown), PICTURE_PX)


def draw_volume(case: Case, reference: Reference) -> bytes:
    """Agreement, misses and false alarms on three slices, as a JPEG."""
    found, truth = np.zeros_like(case.mask.array), np.zeros_like(case.mask.array)
    for value, name in case.mask.labels.items():
        values = [other for other, its_name in reference.mask.labels.items() if its_name == name]
        if value and values:  # a label that the reference lacks is not a false alarm
            found[case.mask.array == value] = value
            truth[np.isin(reference.mask.array, values)] = value
    return encode_jpeg(
        draw_volume_errors(case.image, found, truth, _affine(case), case.window), VOLUME_PICTURE_PX
    )


def _affine(case: Case) -> np.ndarray:
    if case.mask.affine is None:
        raise UnsuitableError("a volume", got="a picture", advice="Name draw_picture in the bundle.")
    return case.mask.affine
