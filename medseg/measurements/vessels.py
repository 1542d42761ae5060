"""Measurements of retinal vessels from a mask, each with its unit and its source.

Length, tortuosity, calibre and branch points are measured on the vessels' centreline, cut at its nodes.
Pixels are unit squares with their centres on whole numbers, axes are (row, column). The parameters are the
constants below and in centreline.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.case import Case
from medseg.errors import UnsuitableError, UsageError
from medseg.measurements.centreline import Centreline, centreline, connect, solid_vessels
from medseg.measurements.entries import Measures, entry
from medseg.volume import Mask

VESSEL = 1
ONE_CROSSING = 1.5  # nodes less than this many calibres apart are one: see branch_points
SMOOTHING_PX = 3.0  # standard deviation of the Gaussian that removes pixel steps from a path
MIN_TORTUOSITY_PX = 10.0  # pixel steps dominate the tortuosity of shorter segments
MARCH_PX = 0.25  # step of the search for the two borders of a vessel
MIN_BOX_SIZES = 3  # least number of points of the line whose slope is the fractal dimension
UNKNOWN_SPACING = "the pixel size is not known: give it with --pixel-spacing-mm"
NO_CENTRELINE = "there is no vessel long enough to have a centreline"
CALIBRE = ("mean", "median", "standard_deviation", "percentile_5", "percentile_95", "histogram")
Spacing = tuple[float, float] | None


def measure_vessels(case: Case) -> Measures:
    """Measure the vessels (label 1) of a fundus photograph inside its field of view.

    Args:
        case: of a picture, (row, column); without pixel_spacing_mm in its mask the values in mm are None.

    Returns:
        name to {"value", "unit"}; where the value is None, "reason" says why.

    Raises:
        UnsuitableError: the mask is a volume, not a picture.
        UsageError: the field of view has another shape, or the spacing is not two positive numbers.
    """
    mask, field_of_view = case.mask, case.field_of_view
    _check(mask, field_of_view)
    seen = np.ones(mask.array.shape, dtype=bool) if field_of_view is None else field_of_view.astype(bool)
    vessel = (mask.array == VESSEL) & seen
    line = centreline(solid := solid_vessels(vessel))
    return {
        **vessel_area_fraction(vessel, seen),
        **field_of_view_area(seen, mask.pixel_spacing_mm),
        **centreline_length(line, mask.pixel_spacing_mm),
        **calibre(line, solid, mask.pixel_spacing_mm),
        **tortuosity(line, mask.pixel_spacing_mm),
        **fractal_dimension(line),
        **branch_points(line),
        **end_points(line),
    }


def vessel_area_fraction(vessel: np.ndarray, field_of_view: np.ndarray) -> Measures:
    """Vessel pixels per pixel of the field of view, also called vessel density; a plain ratio of areas."""
    value = float(vessel.sum() / field_of_view.sum()) if field_of_view.any() else None
    reason = "the field of view has no pixels"
    return entry("vessel_area_fraction", value, "fraction of the field of view", reason)


def field_of_view_area(field_of_view: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Area of the field of view in pixels, and in mm² as their number times the area of a pixel."""
    total = int(field_of_view.sum())
    area_mm2 = float(total * np.prod(spacing_mm)) if spacing_mm else None
    return entry("field_area_px", total, "px") | entry("field_area_mm2", area_mm2, "mm²", UNKNOWN_SPACING)


def centreline_length(line: Centreline, spacing_mm: Spacing) -> Measures:
    """Length of all segments; free ends are extended to the vessel's border.

    Counting pixel steps is wrong by up to 8% depending on direction (Freeman 1970; Kulpa 1977), and no single
    factor corrects all directions; so the path is smoothed, and its length is measured. Compact components
    without a centreline add nothing. Thinning: Lee, Kashyap and Chu, CVGIP 56, 1994.
    """
    paths = [_extended(line, *segment) for segment in line.segments]
    measures = entry("centreline_length_px", float(sum(_arc(path) for path in paths)), "px")
    in_mm = float(sum(_arc(path * spacing_mm) for path in paths)) if spacing_mm else None
    return measures | entry("centreline_length_mm", in_mm, "mm", UNKNOWN_SPACING)


def calibre(line: Centreline, vessel: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Mean, median, standard deviation, 5th and 95th percentile, and histogram of the vessel width.

    Each centreline pixel outside the junctions counts once. Its width is the distance between the two
    borders along the normal, where a border is where the interpolated mask falls to one half: the profile
    method of Brinchmann-Hansen and Engvold 1986. (Twice the distance transform is one pixel too small for
    even widths.) The histogram is {"edges", "counts"}: n + 1 edges in the unit, and the centreline pixels of
    the n bins, which are one pixel wide.
    """
    sections = _cross_sections(line)
    measures = _calibre_in("px", _widths(vessel, sections, (1.0, 1.0)), 1.0, NO_CENTRELINE)
    if spacing_mm is None:
        return measures | _calibre_in("mm", np.empty(0), 1.0, UNKNOWN_SPACING)
    width_mm = _widths(vessel, sections, spacing_mm)
    return measures | _calibre_in("mm", width_mm, float(np.sqrt(np.prod(spacing_mm))), NO_CENTRELINE)


def tortuosity(line: Centreline, spacing_mm: Spacing) -> Measures:
    """Mean of arc length over chord length of the segments, weighted by arc length; 1 for straight vessels.

    Segments under MIN_TORTUOSITY_PX pixels and closed loops, which have no chord, are left out.
    Source: Hart, Goldbaum, Cote, Kube and Nelson, International Journal of Medical Informatics 53, 1999.
    """
    arcs, ratios = [], []
    for segment in line.segments:
        path = _extended(line, *segment)
        if _arc(path) >= MIN_TORTUOSITY_PX and not np.allclose(path[0], path[-1]):
            path = path * (spacing_mm or (1.0, 1.0))
            arcs.append(_arc(path))
            ratios.append(arcs[-1] / np.linalg.norm(path[-1] - path[0]))
    value = float(np.average(ratios, weights=arcs)) if arcs else None
    return entry("tortuosity", value, "ratio", f"no open segment is {MIN_TORTUOSITY_PX:g} px long")


def fractal_dimension(line: Centreline) -> Measures:
    """Box-counting dimension of the centreline (not of the mask, whose calibre would raise it).

    Stretching an axis does not change it, so boxes are counted in pixels whatever the spacing.
    Source: Mainster, Eye 4, 1990; Stosic and Stosic, IEEE Transactions on Medical Imaging 25, 2006.
    """
    pixels = np.concatenate([np.empty(0, dtype=int), *(pixels for pixels, _ in line.segments)])
    reason = f"the vessels are too small for boxes of {MIN_BOX_SIZES} sizes"
    return entry("fractal_dimension", box_dimension(line.points[pixels]), "dimensionless", reason)


def branch_points(line: Centreline) -> Measures:
    """Places where three or more segments meet; a crossing counts once.

    Thinning turns a crossing of two vessels into two bifurcations, which lie farther apart the smaller the
    angle; so nodes less than ONE_CROSSING calibres apart are one. That joins crossings of 45 degrees and
    more.
    """
    ends: list[int] = []
    joined: list[tuple[int, int]] = []
    for pixels, nodes in line.segments:
        width_px = 2 * line.node_radius_px[list(nodes)].max() if min(nodes) >= 0 else 0.0
        if _arc(_path(line, pixels, nodes)) < ONE_CROSSING * width_px:
            joined.append(nodes)
        else:
            ends += [n for n in nodes if n >= 0]
    _, cluster = connect(len(line.node_points), np.reshape(joined, (-1, 2)).astype(int))
    return entry("branch_points", int((np.bincount(cluster[np.array(ends, int)]) >= 3).sum()), "count")


def end_points(line: Centreline) -> Measures:
    """Free ends of segments, including those at the border of the field of view."""
    return entry("end_points", sum(n < 0 for _, nodes in line.segments for n in nodes), "count")


def box_dimension(points: np.ndarray) -> float | None:
    """Slope of log(boxes touched) on log(1 / size) of (n, 2) pixels; None for too few sizes."""
    corner = points - points.min(axis=0, initial=np.iinfo(int).max)
    extent = int(corner.max(initial=0)) + 1
    # From 2 pixels to a quarter of the extent: larger boxes are few, and the vessels touch all of them.
    sizes = [2**k for k in range(1, extent.bit_length()) if 2**k <= extent / 4]
    if len(sizes) < MIN_BOX_SIZES:
        return None
    # The dimension is defined by the smallest number of boxes, so four positions of the grid are tried.
    shifts = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    grids = [[(corner + size // 2 * shift) // size for shift in shifts] for size in sizes]
    counts = [min(len(np.unique(boxes @ (1 << 20, 1))) for boxes in tries) for tries in grids]
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def _check(mask: Mask, field_of_view: np.ndarray | None) -> None:
    shape, spacing = mask.array.shape, mask.pixel_spacing_mm
    if len(shape) != 2:
        raise UnsuitableError(
            "a mask of (row, column)", got=f"shape {shape}", advice="Measure photographs only."
        )
    if field_of_view is not None and field_of_view.shape != shape:
        raise UsageError(
            f"a field of view of shape {shape}",
            got=f"shape {field_of_view.shape}",
            advice="Make it from the same picture as the mask.",
        )
    if spacing is not None and not (len(spacing) == 2 and all(0 < s < np.inf for s in spacing)):
        raise UsageError(
            "a pixel spacing of two positive numbers", got=f"{spacing}", advice="Give (row, column) in mm."
        )


def _calibre_in(unit: str, width: np.ndarray, bin_width: float, reason: str) -> Measures:
    values: list[Any] = [None] * len(CALIBRE)
    if width.size:
        counts = np.bincount((width / bin_width).astype(int)).tolist()
        bins = {"edges": [k * bin_width for k in range(len(counts) + 1)], "counts": counts}
        low, median, high = np.percentile(width, (5, 50, 95)).tolist()
        values = [float(width.mean()), median, float(width.std()), low, high, bins]
    measures: Measures = {}
    for name, value in zip(CALIBRE, values, strict=True):
        measures |= entry(f"calibre_{name}_{unit}", value, unit, reason)
    return measures


def _path(line: Centreline, pixels: np.ndarray, nodes: tuple[int, int]) -> np.ndarray:
    """(n, 2) row and column along a segment, its nodes included, smoothed."""
    from scipy.ndimage import gaussian_filter1d

    before, after = (line.node_points[[n]] if n >= 0 else np.empty((0, 2)) for n in nodes)
    path = np.concatenate([before, line.points[pixels], after])
    margin = int(4 * SMOOTHING_PX)
    # Odd reflection keeps the ends where they are, and straight lines straight.
    padded = np.pad(path, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(padded, SMOOTHING_PX, axis=0)[margin:-margin]


def _extended(line: Centreline, pixels: np.ndarray, nodes: tuple[int, int]) -> np.ndarray:
    """The path, with each free end extended to the vessel's border: thinning shortens free ends."""
    path = _path(line, pixels, nodes)
    tips = []
    for node, ahead, pixel in ((nodes[0], path[5::-1], pixels[0]), (nodes[1], path[-6:], pixels[-1])):
        direction = ahead[-1] - ahead[0]
        missing = (line.radius_px[pixel] - 0.5) / max(np.linalg.norm(direction), 1e-9) if node < 0 else 0.0
        tips.append(ahead[-1:] + direction * missing)
    return np.concatenate([tips[0], path, tips[1]])


def _arc(path: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _cross_sections(line: Centreline) -> np.ndarray:
    """Where to measure a width, (n, 5): row, column, direction (row, column), search range in px."""
    found = [np.empty((0, 5))]
    for pixels, nodes in line.segments:
        first = int(nodes[0] >= 0)
        along = np.gradient(_path(line, pixels, nodes), axis=0)[first : first + len(pixels)]
        # Inside a junction, nearer to a node than the node's radius, a width would be that of two vessels.
        clear = along.any(axis=1)
        for node in (n for n in nodes if n >= 0):
            away = np.linalg.norm(line.points[pixels] - line.node_points[node], axis=1)
            clear &= away >= line.node_radius_px[node]
        # Far enough for the far border of an oblique section, and hardly further.
        reach = 1.5 * line.radius_px[pixels] + 2
        found.append(np.column_stack([line.points[pixels], along, reach])[clear])
    return np.concatenate(found)


def _widths(vessel: np.ndarray, sections: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Widths in the unit of spacing, (m,); sections without a border within their range are left out."""
    where, along, reach = sections[:, :2], sections[:, 2:4], sections[:, 4]
    # The normal is perpendicular to the vessel in mm; in px it is not, where pixels are not square.
    normal = (along * spacing)[:, ::-1] * (-1, 1) / spacing
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    width_px = _to_border(vessel, where, normal, reach) + _to_border(vessel, where, -normal, reach)
    width = width_px * np.linalg.norm(normal * spacing, axis=1)
    return width[np.isfinite(width)]


def _to_border(vessel: np.ndarray, start: np.ndarray, step: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Distance in px from start, along step (length 1), to where the mask falls to one half; (n,) or NaN."""
    from scipy.ndimage import map_coordinates

    found, before = np.full(len(start), np.nan), np.ones(len(start))
    for distance in np.arange(MARCH_PX, reach.max(initial=0), MARCH_PX):
        live = np.flatnonzero(np.isnan(found) & (distance <= reach))
        at = start[live] + distance * step[live]
        now = map_coordinates(vessel.view(np.uint8), at.T, output=float, order=1, mode="grid-constant")
        fell = now <= 0.5
        found[live[fell]] = distance - MARCH_PX * (0.5 - now[fell]) / (before[live[fell]] - now[fell])
        before[live] = now
    return found
