"""report.html and overlay.png of an object that was tracked through a film."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.io.film import Film
from medseg.reports.page import data_url, page_texts, render
from medseg.reports.picture_overlay import draw_picture_overlay, to_display
from medseg.stamp import Stamp
from medseg.volume import Mask

MOST_TILES = 12  # frames in the strip
COLUMNS = 4
TILE_PX = 420
MARGIN = 0.4  # of the object's extent over all frames, around it
LEAST_MARGIN_PX = 24


def write_film_page(
    path: str | os.PathLike[str],
    *,
    film: Film,
    masks: np.ndarray,
    drawn: int,
    path_rows: Sequence[Mapping[str, Any]],
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
    stamp: Stamp | None = None,
) -> None:
    """Write report.html: frames with the outline, the area and the path of the object, its measurements.

    Args:
        path: the file; its folder must exist.
        film: the film.
        masks: (frame, row, column), above 0 where the object is.
        drawn: index of the frame on which it was drawn.
        path_rows: as medseg.measurements.motion.path_of gives them.
        measurements, quality, warnings, provenance, stamp: as for medseg.reports.page.write_page.
    """
    unit = "px" if path_rows[drawn]["area_mm2"] is None else "mm"
    area = "area_px" if unit == "px" else "area_mm2"
    size = film.frames.shape[2], film.frames.shape[1]
    there = [row for row in path_rows if row["area_px"]]
    html = render(
        "film.html.j2",
        **page_texts(measurements, quality, warnings, provenance),
        empty=False,
        stamp=stamp,
        tiles=[
            {
                "picture": data_url(tile, TILE_PX),
                "caption": f"Frame {number + 1}{' (drawn)' if number == drawn else ''}",
            }
            for number, tile in _tiles(film, masks, drawn)
        ],
        charts=[
            _chart("Area", "px" if unit == "px" else "mm²", path_rows, area),
            _chart("Distance from where it was drawn", unit, path_rows, f"displacement_{unit}"),
        ],
        frame={
            "picture": data_url(to_display(film.frames[drawn][None]), 900),
            "width": size[0],
            "height": size[1],
            "line": max(size) / 400,
            "points": " ".join(f"{row['column_px']:.1f},{row['row_px']:.1f}" for row in there),
            "start": there[0],
            "end": there[-1],
        },
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def film_strip(film: Film, masks: np.ndarray, drawn: int) -> np.ndarray:
    """Frames with the outline and their numbers, side by side in rows; (row, column, 3) uint8.

    Args:
        film, masks, drawn: as for write_film_page.
    """
    from PIL import Image, ImageDraw

    tiles = []
    for number, tile in _tiles(film, masks, drawn):
        picture = Image.fromarray(tile)
        picture.thumbnail((TILE_PX, TILE_PX))
        ImageDraw.Draw(picture).text((4, 2), str(number + 1), fill=(255, 255, 255))
        tiles.append(np.asarray(picture))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)])


def _tiles(film: Film, masks: np.ndarray, drawn: int) -> list[tuple[int, np.ndarray]]:
    """Index and picture of frames that show the object, at even distances, and the drawn one."""
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    chosen = set(there[np.linspace(0, len(there) - 1, min(MOST_TILES, len(there))).round().astype(int)])
    if drawn not in chosen:
        chosen.remove(min(chosen, key=lambda number: abs(int(number) - drawn)))
        chosen.add(drawn)
    box = _view(np.asarray(masks.any(axis=0)))
    return [
        (int(number), draw_picture_overlay(film.frames[number][box][None], Mask(masks[number][box])))
        for number in sorted(chosen)
    ]


def _view(ever: np.ndarray) -> tuple[slice, slice]:
    """The part of the frames in which the object ever is, with a margin."""
    ends = [np.flatnonzero(ever.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    more = max(LEAST_MARGIN_PX, int(MARGIN * max(last - first for first, last in ends)))
    rows, columns = (slice(max(0, int(first) - more), int(last) + more + 1) for first, last in ends)
    return rows, columns


def _chart(name: str, unit: str, rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """A curve over the frames, in a box of 100 x 40; it is broken where the object is not."""
    values = [row[key] if row["area_px"] else None for row in rows]
    top = max([value for value in values if value is not None] + [1e-9])
    lines: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(f"{100 * number / (len(rows) - 1):.2f},{40 - 38 * value / top:.2f}")
    return {
        "name": name,
        "unit": unit,
        "top": f"{top:.0f}" if top >= 1000 else f"{top:.4g}",
        "lines": [" ".join(line) for line in lines if line],
        "last": len(rows),
        "seconds": rows[-1]["time_s"],
    }
