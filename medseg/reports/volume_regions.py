"""The regions of a label map as transparent colours on three orthogonal slices of a volume."""

from __future__ import annotations

import numpy as np

from medseg.colours import region_rgb
from medseg.reports.volume_overlay import note, side_by_side, three_views
from medseg.reports.volume_views import View, label_profiles, to_displayed
from medseg.volume import Mask, Window

_TINT = 0.55


def draw_regions(image: np.ndarray, mask: Mask, window: Window | None = None) -> np.ndarray:
    """Draw the three slices that show most of the regions, each region in its colour.

    Args:
        image: (1, i, j, k).
        mask: (i, j, k), the regions on its grid, with the affine.
        window: the range of values that is shown; None for all but the extremes.

    Returns:
        (row, column, 3) uint8, RGB: see `medseg.reports.volume_overlay.draw_volume_overlay`.

    Raises:
        UnsuitableError: the image has more than one channel, or the mask has no affine.
        MedsegError: the mask is on another grid.
    """
    volume = to_displayed(image, mask, window)
    views = three_views(volume, label_profiles(volume.labels))
    return side_by_side(views, mask.labels, f"{volume.window}. {note(volume)}", paint_regions, region_rgb)


def paint_regions(view: View) -> np.ndarray:
    """The slice with its regions in transparent colours; (row, column, 3) uint8."""
    picture = np.repeat(view.grey[..., None], 3, axis=2)
    for value in np.unique(view.labels[view.labels > 0]).tolist():
        where = view.labels == value
        tinted = (1 - _TINT) * picture[where] + _TINT * np.array(region_rgb(value))
        picture[where] = tinted.round().astype(np.uint8)
    return picture
