"""comparison.html of several methods: table, plot, tests, and cases with every method's mask side by side."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.reports.page import data_url, render
from medseg.reports.picture_overlay import AGREED, FALSE_ALARM, MISSED, draw_errors, to_display
from medseg.reports.volume_errors import compared, paint
from medseg.reports.volume_views import (
    PLANES,
    Displayed,
    cut,
    label_profiles,
    slices_with_most_labels,
    to_displayed,
)
from medseg.volume import Mask, Window

PANEL_PX = 320  # long side of an embedded picture
_DETAIL = 0.4  # side of a detail as a share of the picture's long side
_LARGE = 0.6  # a target that takes this share of the picture's side
_THIN = 0.25  # and fills less than this share of its own box is shown in a detail
_MARGIN = 0.25  # around a small target, as a share of its box
_SHOWN_PLANES = ("axial", "coronal")
_GAP_PX = 6


@dataclass(frozen=True)
class Strip:
    """One case: its name, why it is shown, what part of it, and its panels (caption, data URL)."""

    case: str
    why: str
    part: str
    panels: tuple[tuple[str, str], ...]


def write_ladder_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    counts: str,
    table: Mapping[str, Any],
    tests: Mapping[str, Any],
    plot: bytes,
    strips: Sequence[Strip],
    warnings: Sequence[str],
) -> None:
    """Write the page, in full or not at all.

    Args:
        path: the file; its folder must exist.
        title: task, data and split.
        counts: how many cases and subjects.
        table: "header" and "rows" of the methods, as text; the row that begins with "best" is marked.
        tests: "header" and "rows".
        plot: a PNG.
        strips: the cases to look at.
        warnings: sentences.
    """
    write_side_by_side(
        path,
        "ladder.html.j2",
        plot,
        title=title,
        counts=counts,
        table=table,
        tests=tests,
        strips=strips,
        warnings=warnings,
    )


def write_side_by_side(path: str | os.PathLike[str], template: str, plot: bytes, **content: Any) -> None:
    """Write a page that shows cases with several masks beside each other, in full or not at all.

    Args:
        path: the file; its folder must exist.
        template: the name of the page's template.
        plot: a PNG.
        content: what else the template shows.
    """
    html = render(
        template,
        plot="data:image/png;base64," + base64.b64encode(plot).decode("ascii"),
        legend=[
            (text, "#" + bytes(colour.tolist()).hex())
            for text, colour in (("found", AGREED), ("missed", MISSED), ("false alarm", FALSE_ALARM))
        ],
        **content,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def draw_panels(
    image: np.ndarray, truth: Mask, masks: Mapping[str, Mask], window: Window | None = None
) -> tuple[str, dict[str, str]]:
    """The image, the truth and each method's errors, all of the same part and in the same scale.

    Args:
        image: (C, row, column) or (1, i, j, k).
        truth: the reference on its grid.
        masks: name to mask on its grid; its labels go by their names.
        window: the range of a volume's values that is shown; None for all but the extremes.

    Returns:
        The part of the image in words; and "image", "truth" and the names, each to a JPEG data URL.
    """
    names = sorted({name for value, name in truth.labels.items() if value and name != truth.labels.get(0)})
    known = dataclasses.replace(truth, array=_numbered(truth, names))
    found = {name: _numbered(mask, names) for name, mask in masks.items()}
    if image.ndim == 4:
        part, panels = _of_volume(image, known, found, window)
    else:
        part, panels = _of_picture(image, known.array, found)
    return part, {name: data_url(panel, PANEL_PX) for name, panel in panels.items()}


def _numbered(mask: Mask, names: Sequence[str]) -> np.ndarray:
    """The mask with 1 for the first of the names and so on, and 0 for labels that are not scored."""
    table = np.zeros(max(int(mask.array.max(initial=0)), *mask.labels, 0) + 1, np.uint8)
    for value, name in mask.labels.items():
        table[value] = names.index(name) + 1 if name in names else 0
    return table[mask.array]


def _of_picture(
    image: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray]
) -> tuple[str, dict[str, np.ndarray]]:
    top, left, bottom, right = shown_box(truth, list(masks.values()))
    here = slice(top, bottom), slice(left, right)
    picture = image[(slice(None), *here)]
    if image.dtype != np.uint8:  # stretched as a whole, so that a detail keeps its brightness
        picture = to_display(image)[here].transpose(2, 0, 1)
    part = truth[here]
    panels = {"image": to_display(picture), "truth": draw_errors(picture, part, part)}
    panels |= {name: draw_errors(picture, mask[here], part) for name, mask in masks.items()}
    size = f"{right - left} x {bottom - top} px"
    whole = part.shape == truth.shape
    return f"the whole picture, {size}" if whole else f"a part of {size}", panels


def shown_box(truth: np.ndarray, masks: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """The part of a picture to show: (top, left, bottom, right).

    A small target is shown with what lies around it and with all false alarms, a large one in the whole
    picture. Of a large and thin one, such as a network of lines, the square is shown in which the masks are
    wrong most often; shrunken to a panel it would be invisible.

    Args:
        truth: (row, column), labels.
        masks: of the methods, the same shape.
    """
    shape = truth.shape
    box = _box_of(truth > 0)
    if box is None:
        box = _box_of(np.any([mask > 0 for mask in masks], axis=0)) if masks else None
        return (0, 0, *shape) if box is None else _widened(box, shape)
    height, width = box[2] - box[0], box[3] - box[1]
    if max(height / shape[0], width / shape[1]) < _LARGE:
        return _widened(_box_of(np.any([truth > 0, *(mask > 0 for mask in masks)], axis=0)) or box, shape)
    if np.count_nonzero(truth) / (height * width) >= _THIN:
        return (0, 0, *shape)
    return _worst_square(truth, masks)


def _worst_square(truth: np.ndarray, masks: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    side = min(round(_DETAIL * max(truth.shape)), *truth.shape)
    wrong = np.zeros(truth.shape, np.int64)
    for mask in masks:
        wrong += mask != truth
    sums = np.pad(wrong.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = (int(index) for index in np.unravel_index(inside.argmax(), inside.shape))
    return top, left, top + side, left + side


def _box_of(found: np.ndarray) -> tuple[int, int, int, int] | None:
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _widened(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    margin = max(8, round(_MARGIN * max(box[2] - box[0], box[3] - box[1])))
    return (
        max(0, box[0] - margin), max(0, box[1] - margin),
        min(shape[0], box[2] + margin), min(shape[1], box[3] + margin),
    )  # fmt: skip


def _of_volume(
    image: np.ndarray, truth: Mask, masks: Mapping[str, np.ndarray], window: Window | None
) -> tuple[str, dict[str, np.ndarray]]:
    """An axial slice above a coronal one, those that show most of the truth."""
    shown = to_displayed(image, truth, window)
    slices = slices_with_most_labels(label_profiles(shown.labels), shown.labels.shape)
    of_planes = {plane: slices[PLANES.index(plane)] for plane in _SHOWN_PLANES}
    outcomes = {name: compared(array, truth.array) for name, array in {"truth": truth.array, **masks}.items()}
    panels = {"image": _stacked(shown, of_planes, plain=True)}
    for name, outcome in outcomes.items():
        displayed = to_displayed(image, Mask(outcome, {}, truth.affine), shown.window)
        panels[name] = _stacked(displayed, of_planes)
    numbers = [cut(shown, plane, index, 1.0).caption.lower() for plane, index in of_planes.items()]
    return "; ".join(numbers), panels


def _stacked(volume: Displayed, of_planes: Mapping[str, int], plain: bool = False) -> np.ndarray:
    """Slices below each other in one scale of mm, (row, column, 3) uint8."""
    mm_per_px = max(volume.extent_mm[2], volume.extent_mm[:2].sum()) / (2 * PANEL_PX)
    views = [cut(volume, plane, index, float(mm_per_px)) for plane, index in of_planes.items()]
    pictures = [np.repeat(view.grey[..., None], 3, axis=2) if plain else paint(view) for view in views]
    width = max(picture.shape[1] for picture in pictures)
    height = sum(len(picture) for picture in pictures) + _GAP_PX * (len(pictures) - 1)
    sheet = np.zeros((height, width, 3), np.uint8)
    top = 0
    for picture in pictures:
        left = (width - picture.shape[1]) // 2
        sheet[top : top + len(picture), left : left + picture.shape[1]] = picture
        top += len(picture) + _GAP_PX
    return sheet
