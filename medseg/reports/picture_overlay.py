"""A picture with the mask's contours, on its own pixels."""

from __future__ import annotations

import numpy as np

from medseg.colours import COLOURS_RGB, colour_rgb
from medseg.errors import MedsegError, UnsuitableError
from medseg.volume import Mask

COLOURS = np.array(COLOURS_RGB, np.uint8)
MISSED, AGREED, FALSE_ALARM = COLOURS[:3]
FIELD_COLOUR = np.array((200, 200, 200), np.uint8)

# A line is one pixel wide for so many pixels on the long side, so that it is visible in a full-screen view.
PIXELS_PER_LINE = 1600


def draw_picture_overlay(
    image: np.ndarray, mask: Mask, field_of_view: np.ndarray | None = None
) -> np.ndarray:
    """Draw the contour of each label on a picture, and the border of the field of view that was analysed.

    For arguments, result and errors see `medseg.reports.overlay.draw_overlay`.
    """
    picture = to_display(image)
    _check_grid("a mask", mask.array, picture)
    width = max(1, round(max(picture.shape[:2]) / PIXELS_PER_LINE))
    if field_of_view is not None:
        _check_grid("a field of view", field_of_view, picture)
        picture[_dotted(field_of_view, width)] = FIELD_COLOUR
    labels = mask.array.view(np.uint8) if mask.array.dtype == bool else mask.array
    grown = grow(labels, width)
    line = grown != labels
    picture[line] = COLOURS[(grown[line].astype(np.int64) - 1) % len(COLOURS)]
    return picture


def draw_errors(
    image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, field_of_view: np.ndarray | None = None
) -> np.ndarray:
    """Paint agreement (pale yellow), misses (cyan) and false alarms (violet) over the darkened picture.

    A pixel with one label in the reference and another in the mask counts as missed.

    Args:
        image: (C, row, column), C 1 or 3; see `to_display`.
        prediction: (row, column), labels.
        truth: (row, column), labels of the reference.
        field_of_view: (row, column) bool, True where labels are compared; None compares everywhere.

    Returns:
        (row, column, 3) uint8, RGB, on the grid of the image.
    """
    picture = to_display(image)
    compared = np.ones(truth.shape, bool) if field_of_view is None else field_of_view
    for what, array in (("a mask", prediction), ("a reference", truth), ("a field of view", compared)):
        _check_grid(what, array, picture)
    picture = (picture * 0.6).astype(np.uint8)
    picture[compared & (truth > 0)] = MISSED
    picture[compared & (truth == 0) & (prediction > 0)] = FALSE_ALARM
    picture[compared & (truth > 0) & (prediction == truth)] = AGREED
    return picture


def colour_of(label: int) -> str:
    """The colour of a label's contour as CSS, #rrggbb."""
    return "#" + bytes(colour_rgb(label)).hex()


def to_display(image: np.ndarray) -> np.ndarray:
    """Convert any picture to 8-bit RGB for display.

    uint8 values are kept; bool and floats within [0, 1] are multiplied by 255. All others, such as 16-bit
    values, are stretched between their 0.1 and 99.9 percentiles, the same for all channels. Scaled by the
    type's range instead, the 12 bits of a camera in a 16-bit file would look black, and scaled by the
    maximum, a hot pixel would darken the rest. Values that are not finite count as 0.

    Args:
        image: (C, row, column), C 1 (grey) or 3 (RGB), any real dtype.

    Returns:
        (row, column, 3) uint8, a copy.

    Raises:
        UnsuitableError: the image has another shape.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise UnsuitableError(
            "a picture of shape (1 or 3, row, column)",
            got=f"shape {image.shape}",
            advice="Choose one channel, or convert the picture to greyscale or RGB.",
        )
    pixels = image if image.dtype == np.uint8 else _stretch(image)
    return (
        np.repeat(pixels[0, ..., None], 3, axis=2) if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy()
    )


def _stretch(image: np.ndarray) -> np.ndarray:
    """Scale values to 0 to 255 as `to_display` describes; same shape, uint8."""
    values = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = 0.0, 1.0
    if np.issubdtype(image.dtype, np.integer) or values.min() < 0 or values.max() > 1:
        sample = values[:, ::4, ::4] if values.size > 1_000_000 else values
        low, high = np.percentile(sample, [0.1, 99.9])
    values -= low
    values *= 255 / max(high - low, 1e-6)
    return np.clip(values, 0, 255, out=values).round().astype(np.uint8)


def grow(labels: np.ndarray, width: int) -> np.ndarray:
    """The largest label within `width` pixels of each pixel; (row, column), same dtype."""
    # Not by scipy's maximum_filter, which converts to float64.
    for _ in range(width):
        rows = labels.copy()
        np.maximum(rows[1:], labels[:-1], out=rows[1:])
        np.maximum(rows[:-1], labels[1:], out=rows[:-1])
        labels = rows.copy()
        np.maximum(labels[:, 1:], rows[:, :-1], out=labels[:, 1:])
        np.maximum(labels[:, :-1], rows[:, 1:], out=labels[:, :-1])
    return labels


def _dotted(field_of_view: np.ndarray, width: int) -> np.ndarray:
    """Dashes on the pixels just outside the field of view; (row, column) bool.

    The dashes follow the angle around the centre, so they are even for the round field of view of a fundus
    camera and nearly so for other shapes.
    """
    inside = np.ascontiguousarray(field_of_view, dtype=bool).view(np.uint8)
    rows, columns = np.nonzero(grow(inside, width) != inside)
    dotted = np.zeros(field_of_view.shape, bool)
    if len(rows):
        y, x = rows - rows.mean(), columns - columns.mean()
        along = np.arctan2(y, x) * np.hypot(y, x).mean() / (4 * width)
        dotted[rows, columns] = np.floor(along).astype(np.int64) % 3 == 0
    return dotted


def _check_grid(what: str, array: np.ndarray, picture: np.ndarray) -> None:
    if array.shape != picture.shape[:2]:
        raise MedsegError(
            f"{what} on the picture's grid, shape {picture.shape[:2]}",
            got=f"shape {array.shape}",
            advice="Pass the mask and field of view that belong to this picture, at its full size.",
        )
