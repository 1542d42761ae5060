"""The pictures of a volume's report.html: three views, and slices to scroll through in each plane."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from medseg.io.raster import encode_jpeg
from medseg.reports.legend import in_text
from medseg.reports.picture_overlay import COLOURS
from medseg.reports.scripts import script
from medseg.reports.tones import Tones, tones_of, window_choices
from medseg.reports.volume_overlay import (
    CASING_COLOUR,
    LINE_PX,
    bar_mm,
    contours,
    note,
    three_views,
)
from medseg.reports.volume_regions import draw_regions
from medseg.reports.volume_views import (
    PLANES,
    Displayed,
    View,
    cut,
    label_profiles,
    to_displayed,
    values_in,
)
from medseg.volume import Mask, Window

MAX_SLICES = {"axial": 250, "coronal": 100, "sagittal": 100}  # of each plane in the page
VIEW_PX = 640  # longer side of the axial view: three views fill a wide screen
# Longer side in px and JPEG quality of a slice: the first pair that fits, else the last.
_STEPS = ((512, 80), (512, 60), (384, 60), (320, 40), (256, 40), (192, 30))
# Limits for the slices' pictures, with which the page stays under 6 MB.
SCROLL_CHARACTERS = {"axial": 3_200_000, "coronal": 1_100_000, "sagittal": 1_100_000}
_VIEW_QUALITY = 85
_TOWARDS = {
    "axial": "from head to feet",
    "coronal": "from front to back",
    "sagittal": "from right to left",
}
_SIDES = {"R": "the patient's right", "A": "the front", "S": "the head"}
_MINUS = "\N{MINUS SIGN}"


def volume_pictures(
    image: np.ndarray, mask: Mask, window: Window | None, tissues: Mask | None = None
) -> dict[str, Any]:
    """The variables that volume.html.j2 needs for a volume.

    Args:
        image: (1, i, j, k).
        mask: (i, j, k), the labels on its grid, with the affine.
        window: the range of values that is shown; None for all but the extremes.
        tissues: a second mask on the same grid; None for none.

    Returns:
        views; films, the slices of each plane with the index of the one that is shown first; the windows that
        the reader can choose from; texts; the script with its hash for the Content-Security-Policy; found,
        the labels that occur in the mask.

    Raises:
        UnsuitableError: the image has more than one channel, or the mask has no affine.
        MedsegError: the mask is on another grid.
    """
    volume = to_displayed(image, mask, window)
    tones = tones_of(volume.window)
    profiles = label_profiles(volume.labels)
    views = three_views(volume, profiles, VIEW_PX, tones.encode)
    return {
        "views": [_picture(view, mask, _VIEW_QUALITY, LINE_PX) for view in views],
        "films": [_film(volume, mask, view, tones) for view in views],
        "windows": window_choices(volume.window, tones),
        "unit": volume.window.unit,
        "tones": {"values": json.dumps(tones.values), "codes": json.dumps(tones.codes)},
        "window": str(volume.window).replace("-", _MINUS),
        "note": note(volume),
        **script("slices.js", "windows.js", "distance.js"),
        "found": set(profiles),
        "regions": "" if tissues is None else _regions(image, tissues, window),
    }


def _film(volume: Displayed, mask: Mask, view: View, tones: Tones) -> dict[str, Any]:
    """The slices of one plane, among them the one of the view."""
    axis = PLANES.index(view.plane)
    count = volume.labels.shape[axis]
    first = count - view.number if volume.flipped[axis] else view.number - 1
    shown = _evenly(count, first, MAX_SLICES[view.plane])
    return {
        "plane": view.plane,
        "slices": _slices(volume, mask, view.plane, shown, tones),
        "start": shown.index(first),
        "of": count,
        "every": shown.step,
        "towards": _TOWARDS[view.plane],
    }


def _regions(image: np.ndarray, tissues: Mask, window: Window | None) -> str:
    drawn = draw_regions(image, tissues, window)
    return _data_url("jpeg", encode_jpeg(drawn, max(drawn.shape)))


def _evenly(count: int, through: int, most: int) -> range:
    """At most `most` of `count` slices, equally spaced, among them `through`."""
    step = -(-count // most)
    return range(through % step, count, step)


def _slices(
    volume: Displayed, mask: Mask, plane: str, shown: Sequence[int], tones: Tones
) -> list[dict[str, Any]]:
    """Slices of one plane as pictures, in the largest size in which they fit into the page."""
    side_mm = float(np.delete(volume.extent_mm, PLANES.index(plane)).max())
    sample = shown[:: max(1, len(shown) // 5)]
    for long_side, quality in _STEPS:

        def picture(
            index: int, mm_per_px: float = side_mm / long_side, quality: int = quality
        ) -> dict[str, Any]:
            return _picture(cut(volume, plane, index, mm_per_px, tones.encode), mask, quality, line_px=1)

        drawn = {index: picture(index) for index in sample}
        characters = sum(len(some["grey"]) + len(some["drawing"]) for some in drawn.values())
        if characters * len(shown) <= SCROLL_CHARACTERS[plane] * len(sample):
            break
    return [drawn.get(index) or picture(index) for index in shown]


def _picture(view: View, mask: Mask, quality: int, line_px: int) -> dict[str, Any]:
    """The variables of one slice: two layers, so that the contours can be hidden, and its texts."""
    rows, columns = view.grey.shape
    width_mm = columns * view.mm_per_px
    length_mm = bar_mm(width_mm)
    towards = _SIDES[view.letters[0]], _SIDES[view.letters[2]]
    seen = in_text(mask.labels.get(value, f"label {value}") for value in values_in(view.labels))
    return {
        "grey": _data_url("jpeg", _jpeg(view.grey, quality)),
        "drawing": _data_url("png", _png(contours(view.labels, line_px))),
        "caption": view.caption.replace("-", _MINUS),
        "alt": f"On the left {towards[0]}, on top {towards[1]}. "
        f"Contours of: {seen.replace('_', ' ') or 'none'}.",
        "letters": view.letters,
        "rows": rows,
        "columns": columns,
        "width_mm": round(width_mm),
        "mm_per_px": f"{view.mm_per_px:.5g}",
        "bar_mm": length_mm,
        "bar_percent": f"{100 * length_mm / width_mm:.2f}",
    }


def _jpeg(grey: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _png(drawing: np.ndarray) -> bytes:
    """A drawing of contours as a PNG with a palette, transparent where there is no line."""
    from PIL import Image

    picture = Image.fromarray(drawing).convert("P")
    picture.putpalette(np.vstack([np.zeros(3, np.uint8), COLOURS, CASING_COLOUR]).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0, bits=4)
    return buffer.getvalue()


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
