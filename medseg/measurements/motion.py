"""The path of an object through a film: its area and centroid on each frame, and how far it moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.errors import UnsuitableError
from medseg.measurements.entries import Measures, entry

UNKNOWN_SPACING = "the pixel size is not known: give it with --pixel-spacing-mm"
Spacing = tuple[float, float] | None


def path_of(
    masks: np.ndarray, drawn: int, spacing_mm: Spacing = None, frame_ms: float | None = None
) -> list[dict[str, Any]]:
    """One row for each frame.

    Args:
        masks: (frame, row, column) bool; the object may be missing on frames.
        drawn: index of the frame on which the object was drawn.
        spacing_mm: (row, column) size of a pixel.
        frame_ms: the time from one frame to the next.

    Returns:
        For each frame `frame` (from 1), `time_s`, `area_px`, `area_mm2`, `row_px` and `column_px` of the
        centroid (0 is the centre of the first pixel), `row_mm`, `column_mm`, and `displacement_px` and
        `displacement_mm`, the distance from the centroid on the drawn frame; None for what is not known.

    Raises:
        UnsuitableError: there is no object on the drawn frame.
    """
    if not masks[drawn].any():
        raise UnsuitableError(
            "an object on the drawn frame",
            got=f"none on frame {drawn + 1}",
            advice="Name the frame on which it was drawn.",
        )
    origin = _centroid(masks[drawn])
    rows = []
    for number, mask in enumerate(masks):
        area = int(mask.sum())
        centre = _centroid(mask) if area else None
        moved = None if centre is None else centre - origin
        rows.append(
            {
                "frame": number + 1,
                "time_s": None if frame_ms is None else number * frame_ms / 1000,
                "area_px": area,
                "area_mm2": area * float(np.prod(spacing_mm)) if spacing_mm else None,
                **_both("row", "column", centre, spacing_mm),
                "displacement_px": None if moved is None else float(np.hypot(*moved)),
                "displacement_mm": None
                if moved is None or spacing_mm is None
                else float(np.hypot(*(moved * spacing_mm))),
            }
        )
    return rows


def measure_motion(path: list[dict[str, Any]], drawn: int) -> Measures:
    """How far an object moves and how its area changes, over the frames on which it is.

    The length of the path is the sum of the centroid's steps from frame to frame: it also counts the
    trembling of the outline.

    Args:
        path: as path_of gives it.
        drawn: index of the frame on which the object was drawn.

    Returns:
        name to {"value", "unit"}; where the value is None, "reason" says why.
    """
    there = [row for row in path if row["area_px"]]
    areas = [row["area_px"] for row in there]
    least, most = (there[areas.index(pick(areas))] for pick in (min, max))
    return {
        **entry("frames", len(path), "count"),
        **entry("frames_with_object", len(there), "count"),
        **entry("drawn_frame", drawn + 1, "1"),
        **entry("first_frame_with_object", there[0]["frame"], "1"),
        **entry("last_frame_with_object", there[-1]["frame"], "1"),
        **_sizes("drawn_area", path[drawn]),
        **_sizes("smallest_area", least),
        **_sizes("largest_area", most),
        **_lengths(there, "px"),
        **_lengths(there, "mm"),
    }


def _sizes(name: str, row: dict[str, Any]) -> Measures:
    return {
        **entry(f"{name}_px", row["area_px"], "px"),
        **entry(f"{name}_mm2", row["area_mm2"], "mm²", UNKNOWN_SPACING),
    }


def _lengths(there: list[dict[str, Any]], unit: str) -> Measures:
    """Path length, and the largest distance from where the object was drawn."""
    if there[0][f"row_{unit}"] is None:
        length = farthest = None
    else:
        places = np.array([[row[f"row_{unit}"], row[f"column_{unit}"]] for row in there])
        length = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
        farthest = max(row[f"displacement_{unit}"] for row in there)
    return {
        **entry(f"path_length_{unit}", length, unit, UNKNOWN_SPACING),
        **entry(f"largest_displacement_{unit}", farthest, unit, UNKNOWN_SPACING),
    }


def _both(row: str, column: str, centre: np.ndarray | None, spacing_mm: Spacing) -> dict[str, float | None]:
    """The centroid in px and in mm."""
    found: dict[str, float | None] = {}
    for unit, scale in (("px", (1.0, 1.0)), ("mm", spacing_mm)):
        place = None if centre is None or scale is None else (centre * scale).tolist()
        found |= {f"{name}_{unit}": place and place[n] for n, name in enumerate((row, column))}
    return found


def _centroid(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)
