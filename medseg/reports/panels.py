"""Pictures side by side, each with its title: for notebooks and pages of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from medseg.colours import colour_rgb
from medseg.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

TITLE_PX = 18
GAP_PX = 6


def panels(pictures: Mapping[str, np.ndarray], width_px: int = 230, columns: int = 4) -> Image:
    """Draw pictures side by side; a notebook shows the result.

    The type of an array says what its values are: uint8 are grey levels or RGB, bool is a mask.
    Floating-point numbers go from black (the least) to white (the largest). Other integers are labels or
    numbers of objects, each with a colour, 0 black.

    Args:
        pictures: title to (row, column) of any of these types, or (row, column, 3) uint8.
        width_px: of each picture. Smaller ones are enlarged without smoothing: their pixels stay visible.
        columns: pictures in a row.

    Returns:
        An RGB image.

    Raises:
        UsageError: no picture, or an array of another shape.
    """
    from PIL import Image, ImageDraw

    if not pictures:
        raise UsageError("at least one picture", got="none", advice="Give titles and arrays.")
    shown = []
    for title, array in pictures.items():
        picture = Image.fromarray(_rgb(title, np.asarray(array)))
        size = (width_px, max(1, round(width_px * picture.height / picture.width)))
        enlarged = picture.width < width_px
        shown.append(picture.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    heights = [TITLE_PX + max(picture.height for picture in row) for row in rows]
    page_width = len(rows[0]) * (width_px + GAP_PX) - GAP_PX
    page = Image.new("RGB", (page_width, sum(heights) + GAP_PX * (len(rows) - 1)), "white")
    draw, titles, top = ImageDraw.Draw(page), iter(pictures), 0
    for row, height in zip(rows, heights, strict=True):
        for number, picture in enumerate(row):
            left = number * (width_px + GAP_PX)
            draw.text((left + 1, top + 2), next(titles), fill="black", font_size=12)
            page.paste(picture, (left, top + TITLE_PX))
        top += height + GAP_PX
    return page


def _rgb(title: str, array: np.ndarray) -> np.ndarray:
    """(row, column, 3) uint8."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    if array.ndim != 2 or not array.size:
        raise UsageError(
            "pictures of (row, column), or (row, column, 3) uint8",
            got=f"{array.shape} {array.dtype} for {title!r}",
            advice="Choose a slice or a channel.",
        )
    if np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        numbers, places = np.unique(array, return_inverse=True)
        colours = [colour_rgb(int(number)) if number else (0, 0, 0) for number in numbers]
        return np.array(colours, np.uint8)[places.reshape(array.shape)]
    return np.repeat(_grey(array)[..., None], 3, axis=2)


def _grey(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return np.where(array, np.uint8(255), np.uint8(0))
    low, high = float(array.min()), float(array.max())
    return np.round(255 * (array - low) / max(high - low, 1e-12)).astype(np.uint8)
