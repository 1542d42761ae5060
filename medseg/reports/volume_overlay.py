"""overlay.png of a volume: three orthogonal slices with the mask's contours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from medseg.colours import colour_rgb
from medseg.reports.legend import largest_first, shortened
from medseg.reports.picture_overlay import COLOURS, grow
from medseg.reports.volume_views import (
    OBLIQUE_DEGREES,
    PLANES,
    Displayed,
    View,
    cut,
    label_profiles,
    slices_with_most_labels,
    to_displayed,
)
from medseg.volume import Mask, Window

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

AXIAL_PX, HEIGHT_PX = 640, 1280  # upper limits of the axial slice's sides and of the volume's height
LINE_PX, CASING_PX = 2, 1
CASING = len(COLOURS) + 1  # the number of the casing in a drawing of contours
CASING_COLOUR = np.array((0, 0, 0), np.uint8)

_INK, _SOFT = (255, 255, 255), (200, 200, 200)
_MARGIN_PX = 32  # around each slice, for the letters of the directions
_CELL_PX = 460  # least width of a slice's caption and scale bar
_TEXT_PX, _LETTER_PX = 17, 22
_KEY_PX = 60  # of a name's line and the gaps around it
_BAR_MM = (200, 100, 50, 20, 10, 5, 2, 1)


def draw_volume_overlay(image: np.ndarray, mask: Mask, window: Window | None = None) -> np.ndarray:
    """Draw the three slices that show most of the labels, side by side in one scale of millimetres.

    Args:
        image: (1, i, j, k).
        mask: (i, j, k), the labels on its grid, with the affine.
        window: the range of values that is shown; None for all but the extremes.

    Returns:
        (row, column, 3) uint8, RGB: an axial, a coronal and a sagittal slice in the window, with the letters
        of the directions, the numbers of the slices, scale bars and the names of the labels.

    Raises:
        UnsuitableError: the image has more than one channel, or the mask has no affine.
        MedsegError: the mask is on another grid.
    """
    volume = to_displayed(image, mask, window)
    views = three_views(volume, label_profiles(volume.labels))
    return side_by_side(views, largest_first(mask), f"{volume.window}. {note(volume)}")


def three_views(
    volume: Displayed,
    profiles: Mapping[int, tuple[np.ndarray, ...]],
    axial_px: int = AXIAL_PX,
    encode: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[View]:
    """The axial, coronal and sagittal slice that show most of the labels, all with the same mm per pixel."""
    height_mm, depth_mm, width_mm = volume.extent_mm.tolist()
    mm_per_px = max(max(depth_mm, width_mm) / axial_px, height_mm / HEIGHT_PX)
    slices = slices_with_most_labels(profiles, volume.labels.shape)
    return [cut(volume, plane, index, mm_per_px, encode) for plane, index in zip(PLANES, slices, strict=True)]


def contours(labels: np.ndarray, line_px: int = LINE_PX) -> np.ndarray:
    """The lines just outside each label as numbers, (row, column) uint8.

    0 is no line, n a line in COLOURS[n - 1], CASING a dark rim around the lines, without which a pale line on
    bright soft tissue would be invisible. Only where labels touch, a line lies on the label with the smaller
    number; a rim never lies on a label.
    """
    grown = grow(labels, line_px)
    line = grown != labels
    drawing = np.zeros(labels.shape, np.uint8)
    drawing[(grow(grown, CASING_PX) > 0) & (labels == 0)] = CASING
    drawing[line] = (grown[line].astype(np.int64) - 1) % len(COLOURS) + 1
    return drawing


def bar_mm(width_mm: float) -> int:
    """The length of a scale bar: a round number of at most a third of a picture's width."""
    return next((length for length in _BAR_MM if length <= width_mm / 3), _BAR_MM[-1])


def note(volume: Displayed) -> str:
    """A note on an oblique array for the reader; empty for any other array."""
    if volume.tilt_degrees < OBLIQUE_DEGREES:
        return ""
    return f"Oblique by {volume.tilt_degrees:.0f} degrees: the letters name the nearest direction."


def paint_contours(view: View) -> np.ndarray:
    """The slice with its contours; (row, column, 3) uint8."""
    colours = np.vstack([COLOURS, CASING_COLOUR])
    drawing = contours(view.labels)
    picture = np.repeat(view.grey[..., None], 3, axis=2)
    picture[drawing > 0] = colours[drawing[drawing > 0] - 1]
    return picture


def side_by_side(
    views: list[View],
    names: Mapping[int, str],
    head: str,
    paint: Callable[[View], np.ndarray] = paint_contours,
    colour: Callable[[int], tuple[int, int, int]] = colour_rgb,
) -> np.ndarray:
    """Lay slices side by side on a sheet, (row, column, 3) uint8, with captions, letters and scale bars.

    Args:
        views: slices with the same mm per pixel.
        names: label to its name in the legend; 0 is left out. The last ones are counted where not all fit.
        head: the text above the slices.
        paint: a function from a slice to (row, column, 3) uint8 on its pixels.
        colour: a function from a label to its colour in the legend.
    """
    from PIL import Image, ImageDraw

    heads, line = 3 * _TEXT_PX, 2 * _TEXT_PX
    width = sum(_cell_px(view) + 2 * _MARGIN_PX for view in views)
    height = max(view.grey.shape[0] for view in views) + 2 * _MARGIN_PX + heads + line
    sheet = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN_PX, _TEXT_PX), head, _INK, _font(_TEXT_PX))
    left = 2 * _MARGIN_PX + round(draw.textlength(head, _font(_TEXT_PX)))
    _write_legend(draw, left, width - _MARGIN_PX, names, colour)
    left = _MARGIN_PX
    for view in views:
        top = heads + _MARGIN_PX
        sheet.paste(Image.fromarray(paint(view)), (left, top))
        _write_around(draw, view, left, top)
        left += _cell_px(view) + 2 * _MARGIN_PX
    return np.asarray(sheet)


def _cell_px(view: View) -> int:
    return max(view.grey.shape[1], _CELL_PX)


def _write_around(draw: ImageDraw, view: View, left: int, top: int) -> None:
    """Write the letters around a slice, and the caption and scale bar below it."""
    rows, columns = view.grey.shape
    half = _MARGIN_PX // 2
    middle, centre = top + rows // 2, left + columns // 2
    places = (left - half, middle), (left + columns + half, middle), (centre, top - half)
    for letter, place in zip(view.letters, (*places, (centre, top + rows + half)), strict=True):
        draw.text(place, letter, _INK, _font(_LETTER_PX), anchor="mm")
    below = top + rows + _MARGIN_PX + _TEXT_PX // 2
    draw.text((left, below), view.caption, _SOFT, _font(_TEXT_PX), anchor="lm")
    length_mm = bar_mm(columns * view.mm_per_px)
    bar = round(length_mm / view.mm_per_px)
    right = left + _cell_px(view)
    draw.rectangle((right - bar, below - 2, right - 1, below + 1), _INK)
    draw.text((right - bar - 8, below), f"{length_mm} mm", _INK, _font(_TEXT_PX), anchor="rm")


def _write_legend(
    draw: ImageDraw,
    left: int,
    right: int,
    names: Mapping[int, str],
    colour: Callable[[int], tuple[int, int, int]],
) -> None:
    """Write as many of the names as fit, in the order of their labels, each after a line in its colour."""
    font = _font(_TEXT_PX)
    texts = {value: name.replace("_", " ") for value, name in names.items() if value}
    ends = np.cumsum([_KEY_PX + round(draw.textlength(text, font)) for text in texts.values()])
    count = int((ends <= right - left).sum())
    if count < len(texts):
        rest_px = _KEY_PX // 2 + round(draw.textlength(f"and {len(texts)} more", font))
        count = int((ends <= right - left - rest_px).sum())
        draw.text((right, _TEXT_PX), shortened(texts, count)[1], _SOFT, font, anchor="ra")
        right -= rest_px
    for value, text in sorted(shortened(texts, count)[0].items(), reverse=True):
        right -= round(draw.textlength(text, font))
        draw.text((right, _TEXT_PX), text, _INK, font)
        middle = round(1.6 * _TEXT_PX)
        draw.rectangle((right - 36, middle - 1, right - 10, middle + 1), colour(value))
        right -= _KEY_PX


def _font(size_px: int) -> FreeTypeFont | ImageFont:
    from PIL.ImageFont import load_default

    return load_default(size_px)
