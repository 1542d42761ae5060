"""Differences between a volume's mask and its reference, painted on three orthogonal slices."""

from __future__ import annotations

import numpy as np

from medseg.errors import MedsegError
from medseg.reports.picture_overlay import COLOURS
from medseg.reports.volume_overlay import note, side_by_side, three_views
from medseg.reports.volume_views import View, label_profiles, to_displayed
from medseg.volume import Mask, Window

MISSED, AGREED, FALSE_ALARM = 1, 2, 3  # labels for which the overlay has the same colours as draw_errors
_NAMES = {MISSED: "missed", AGREED: "agreed", FALSE_ALARM: "false_alarm"}
_DIM, _TINT = 0.7, 0.25


def draw_volume_errors(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray,
    affine: np.ndarray,
    window: Window | None = None,
) -> np.ndarray:
    """Paint agreement (pale yellow), misses (cyan) and false alarms (violet) on three darkened slices.

    The slices show most of the errors or, if there are none, of the agreement. A voxel with one label in the
    reference and another in the mask counts as missed. Agreement is tinted, so that the anatomy is visible.

    Args:
        image: (1, i, j, k).
        prediction: (i, j, k) uint8, labels.
        truth: (i, j, k) uint8, labels of the reference.
        affine: 4x4, voxel index to RAS+ mm.
        window: the range of values that is shown; None for all but the extremes.

    Returns:
        (row, column, 3) uint8, RGB: see `medseg.reports.volume_overlay.draw_volume_overlay`.

    Raises:
        UnsuitableError: the image has more than one channel.
        MedsegError: prediction, reference and image are not on the same grid.
    """
    if prediction.shape != truth.shape:
        raise MedsegError(
            f"a mask on the reference's grid, shape {truth.shape}",
            got=f"shape {prediction.shape}",
            advice="Pass the mask and reference of the same scan.",
        )
    volume = to_displayed(image, Mask(compared(prediction, truth), _NAMES, affine), window)
    profiles = label_profiles(volume.labels)
    errors = {label: profile for label, profile in profiles.items() if label != AGREED}
    views = three_views(volume, errors or profiles)
    return side_by_side(views, _NAMES, f"{volume.window}. {note(volume)}", paint)


def compared(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """MISSED, AGREED, FALSE_ALARM or 0 (background in both) for each voxel; (i, j, k) uint8."""
    outcome = np.zeros(truth.shape, np.uint8)
    outcome[prediction > 0] = FALSE_ALARM
    outcome[truth > 0] = MISSED
    outcome[(truth > 0) & (prediction == truth)] = AGREED
    return outcome


def paint(view: View) -> np.ndarray:
    """The darkened slice with solid errors and tinted agreement; (row, column, 3) uint8."""
    picture = np.repeat(view.grey[..., None], 3, axis=2) * _DIM
    agreed = view.labels == AGREED
    picture[agreed] = (1 - _TINT) * picture[agreed] + _TINT * COLOURS[AGREED - 1]
    wrong = (view.labels > 0) & ~agreed
    picture[wrong] = COLOURS[view.labels[wrong] - 1]
    return picture.round().astype(np.uint8)
