"""The image with the mask's contours: a picture on its own pixels, a volume as three slices."""

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
    A picture keeps its grid, and the border of the analysed field of view is drawn too.

    The contour lies just outside its label, so the pixels of a labelled structure keep their values: a vessel
    one pixel wide stays visible between its two lines. Only where two labels touch, the line lies on the
    label with the smaller number. All other pixels are unchanged.

    Args:
        image: (C, row, column), C 1 or 3, a picture, whose values become 0 to 255 as in
            `picture_overlay.to_display`; or (1, i, j, k), a volume.
        mask: (row, column) or (i, j, k), the labels on the image's grid.
        field_of_view: (row, column) bool, True where the picture was analysed; None draws no border.
        window: the range of a volume's values that is shown; None for all but the extremes.

    Returns:
        (row, column, 3) uint8, RGB; for a picture on the grid of the image.

    Raises:
        UnsuitableError: the image has a shape that can't be shown, or a volume has no affine.
        MedsegError: the mask or the field of view is on another grid than the image.
    """
    if image.ndim == 4:
        return draw_volume_overlay(image, mask, window)
    return draw_picture_overlay(image, mask, field_of_view)
