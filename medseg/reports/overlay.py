"""The image with the mask's contour on it: a picture on its own pixels, a volume as three slices."""

from __future__ import annotations

import numpy as np

from medseg.reports.picture_overlay import draw_picture_overlay
from medseg.reports.volume_overlay import draw_volume_overlay
from medseg.volume import Mask, Window


def draw_overlay(
    image: np.ndarray, mask: Mask, field_of_view: np.ndarray | None = None, window: Window | None = None
) -> np.ndarray:
    """Draw the contour of each label on the image.

    A volume becomes three orthogonal slices: see `medseg.reports.volume_overlay.draw_volume_overlay`.
    A picture keeps its grid and gets the border of the analysed field of view too.

    The contour lies just outside its label, so the pixels of a labelled structure keep their values:
    a vessel of one pixel stays visible between its two lines. Only where two labels touch does the line
    lie on the one with the smaller number. All pixels away from the lines are those of the picture.

    Args:
        image: (C, row, column), C 1 or 3; see `picture_overlay.to_display` for how its values become 0 to
            255. Or (1, i, j, k), a volume.
        mask: (row, column) or (i, j, k), the labels on the image's grid.
        field_of_view: (row, column) bool, True where the picture was analysed; None draws no border.
        window: which values of a volume are shown; None for all but the extremes.

    Returns:
        (row, column, 3) uint8, RGB; of a picture on the grid of the image.

    Raises:
        UnsuitableError: a shape that can't be shown, or a volume without an affine.
        MedsegError: a mask or field of view on another grid.
    """
    if image.ndim == 4:
        return draw_volume_overlay(image, mask, window)
    return draw_picture_overlay(image, mask, field_of_view)
