"""Retinal vessel measures from a mask, each with its unit and its source.

Length, tortuosity, calibre and branch points are read from the vessels' centreline, cut at its nodes. Pixels
are unit squares with their centres on whole numbers, axes are (row, column), and each choice that changes
a number is a constant below.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.volume import Mask

VESSEL = 1
PINHOLE_PX = 8  # holes of up to this many pixels are filled: a pinhole would split a vessel in two
MIN_BRANCH_PX = 5.0  # shorter centrelines are specks; a branch's also at least the calibre at its node
ONE_CROSSING = 1.5  # nodes with less than so many calibres between them are one: see branch_points
SMOOTHING_PX = 3.0  # standard deviation of the Gaussian that takes the pixel steps out of a path
MIN_TORTUOSITY_PX = 10.0  # shorter segments tell more of the raster than of the vessel
MARCH_PX = 0.25  # step of the search for a vessel's two borders
MIN_BOX_SIZES = 3  # a slope through fewer points is no measurement
UNKNOWN_SPACING = "the pixel size is not known: give it with --pixel-spacing-mm"
NO_CENTRELINE = "there is no vessel long enough to have a centreline"
CALIBRE = ("mean", "median", "standard_deviation", "percentile_5", "percentile_95", "histogram")
Measures = dict[str, dict[str, Any]]
Spacing = tuple[float, float] | None


@dataclass(frozen=True)
class Centreline:
    """The vessels' centreline as a graph.

    Attributes:
        points: (n, 2) row and column of its pixels.
        radius_px: (n,) distance from each to the nearest pixel outside the vessels, centre to centre.
        segments: the stretches between nodes: indices into points in walking order, nodes left out,
            and the node before the first and after the last pixel, -1 for a free end.
        node_points: (k, 2) row and column of the nodes, clusters of touching junction pixels.
        node_radius_px: (k,) largest radius_px of each cluster.
    """

    points: np.ndarray
    radius_px: np.ndarray
    segments: list[tuple[np.ndarray, tuple[int, int]]]
    node_points: np.ndarray
    node_radius_px: np.ndarray


def measure_vessels(mask: Mask, field: np.ndarray | None = None) -> Measures:
    """Measures the vessels (label 1) of a retinal photograph.

    Args:
        mask: a picture's mask, (row, column); without pixel_spacing_mm the values in mm are None.
        field: (row, column) bool, the part of the picture that shows the eye; None for all of it.

    Returns:
        name to {"value", "unit"}; where the value is None, "reason" says why.

    Raises:
        UnsuitableError: the mask is a volume, not a picture.
        UsageError: the field has another shape, or the spacing is not two positive numbers.
    """
    _check(mask, field)
    seen = np.ones(mask.array.shape, dtype=bool) if field is None else field.astype(bool)
    vessel = (mask.array == VESSEL) & seen
    line = centreline(solid := _solid(vessel))
    return {
        **vessel_area_fraction(vessel, seen),
        **field_area(seen, mask.pixel_spacing_mm),
        **centreline_length(line, mask.pixel_spacing_mm),
        **calibre(line, solid, mask.pixel_spacing_mm),
        **tortuosity(line, mask.pixel_spacing_mm),
        **fractal_dimension(line),
        **branch_points(line),
        **end_points(line),
    }


def vessel_area_fraction(vessel: np.ndarray, field: np.ndarray) -> Measures:
    """Vessel pixels per pixel of the field, also called vessel density; a plain ratio of areas."""
    value = float(vessel.sum() / field.sum()) if field.any() else None
    return _entry("vessel_area_fraction", value, "fraction of the field", "the field has no pixels")


def field_area(field: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Area of the field: its pixels, and those times the area of a pixel."""
    total = int(field.sum())
    area_mm2 = float(total * np.prod(spacing_mm)) if spacing_mm else None
    return _entry("field_area_px", total, "px") | _entry("field_area_mm2", area_mm2, "mm²", UNKNOWN_SPACING)


def centreline_length(line: Centreline, spacing_mm: Spacing) -> Measures:
    """Length of all segments; free ends reach to the vessel's border, blobs and specks add nothing.

    Counting pixel steps is wrong by up to 8% depending on direction (Freeman 1970; Kulpa 1977), and one
    factor for all directions is wrong for most; so the steps are smoothed away, and lengths are summed
    along the smooth path. Thinning: Lee, Kashyap and Chu, CVGIP 56, 1994.
    """
    paths = [_extended(line, *segment) for segment in line.segments]
    measures = _entry("centreline_length_px", float(sum(_arc(path) for path in paths)), "px")
    in_mm = float(sum(_arc(path * spacing_mm) for path in paths)) if spacing_mm else None
    return measures | _entry("centreline_length_mm", in_mm, "mm", UNKNOWN_SPACING)


def calibre(line: Centreline, vessel: np.ndarray, spacing_mm: Spacing) -> Measures:
    """Mean, median, standard deviation, 5th and 95th percentile, and histogram of the vessel width.

    Each centreline pixel outside the junctions counts once. Its width is the distance between the two
    borders along the normal, the border being where the mask, interpolated, falls to one half: the
    profile method of Brinchmann-Hansen and Engvold 1986. Twice the distance transform is one pixel short on
    even widths. The histogram is a list of [from, to, centreline pixels]; its bins are one pixel wide.
    """
    sections = _cross_sections(line)
    measures = _calibre_in("px", _widths(vessel, sections, (1.0, 1.0)), 1.0, NO_CENTRELINE)
    if spacing_mm is None:
        return measures | _calibre_in("mm", np.empty(0), 1.0, UNKNOWN_SPACING)
    width_mm = _widths(vessel, sections, spacing_mm)
    return measures | _calibre_in("mm", width_mm, float(np.sqrt(np.prod(spacing_mm))), NO_CENTRELINE)


def tortuosity(line: Centreline, spacing_mm: Spacing) -> Measures:
    """Mean of arc over chord of the segments, weighted by arc; 1 for straight vessels.

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
    return _entry("tortuosity", value, "ratio", f"no open segment is {MIN_TORTUOSITY_PX:g} px long")


def fractal_dimension(line: Centreline) -> Measures:
    """Box-counting dimension of the centreline (not of the mask, whose calibre would raise it).

    Stretching an axis leaves it unchanged, so it's counted in pixels whatever the spacing.
    Source: Mainster, Eye 4, 1990; Stosic and Stosic, IEEE Transactions on Medical Imaging 25, 2006.
    """
    pixels = np.concatenate([np.empty(0, dtype=int), *(pixels for pixels, _ in line.segments)])
    reason = f"the vessels are too small for {MIN_BOX_SIZES} sizes of box"
    return _entry("fractal_dimension", box_dimension(line.points[pixels]), "dimensionless", reason)


def branch_points(line: Centreline) -> Measures:
    """Places where three or more segments meet; a crossing counts once.

    Thinning draws the crossing of two vessels as two forks, the farther apart the sharper the angle; so
    nodes less than ONE_CROSSING calibres apart are one. That joins crossings of 45 degrees and more.
    """
    ends: list[int] = []
    joined: list[tuple[int, int]] = []
    for pixels, nodes in line.segments:
        width_px = 2 * line.node_radius_px[list(nodes)].max() if min(nodes) >= 0 else 0.0
        if _arc(_path(line, pixels, nodes)) < ONE_CROSSING * width_px:
            joined.append(nodes)
        else:
            ends += [n for n in nodes if n >= 0]
    _, cluster = _connect(len(line.node_points), np.reshape(joined, (-1, 2)).astype(int))
    return _entry("branch_points", int((np.bincount(cluster[np.array(ends, int)]) >= 3).sum()), "count")


def end_points(line: Centreline) -> Measures:
    """Free ends of segments, cuts at the border of the field included."""
    return _entry("end_points", sum(n < 0 for _, nodes in line.segments for n in nodes), "count")


def box_dimension(points: np.ndarray) -> float | None:
    """Slope of log(boxes touched) on log(1 / size) of (n, 2) pixels; None for too few sizes."""
    corner = points - points.min(axis=0, initial=np.iinfo(int).max)
    extent = int(corner.max(initial=0)) + 1
    # From 2 pixels to a quarter of the extent: larger boxes are all touched, and too few to count.
    sizes = [2**k for k in range(1, extent.bit_length()) if 2**k <= extent / 4]
    if len(sizes) < MIN_BOX_SIZES:
        return None
    # The definition asks for the fewest boxes, so four positions of the grid are tried.
    shifts = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    grids = [[(corner + size // 2 * shift) // size for shift in shifts] for size in sizes]
    counts = [min(len(np.unique(boxes @ (1 << 20, 1))) for boxes in tries) for tries in grids]
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def centreline(vessel: np.ndarray) -> Centreline:
    """The centreline of (row, column) bool vessels, without spurs and specks; the picture's edge is clear.

    A spur has one free end, nearer to its node than the calibre there or MIN_BRANCH_PX: thinning makes one
    of every bump of the border. A speck has two free ends, nearer to each other than MIN_BRANCH_PX.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    points = np.argwhere(skeletonize(vessel, method="lee"))  # the default one eats even-width diagonals
    radius_px = distance_transform_edt(vessel)[tuple(points.T)]
    line = _trace(points, radius_px)
    while spurs := [pixels for pixels, nodes in line.segments if _is_spur(line, pixels, nodes)]:
        gone = np.concatenate(spurs)
        line = _trace(np.delete(line.points, gone, axis=0), np.delete(line.radius_px, gone))
    return line


def _check(mask: Mask, field: np.ndarray | None) -> None:
    shape, spacing = mask.array.shape, mask.pixel_spacing_mm
    if len(shape) != 2:
        raise UnsuitableError("a picture's mask", came=f"shape {shape}", do="Measure photographs only.")
    if field is not None and field.shape != shape:
        raise UsageError(f"a field of shape {shape}", came=f"{field.shape}", do="Make it from the picture.")
    if spacing is not None and not (len(spacing) == 2 and all(0 < s < np.inf for s in spacing)):
        raise UsageError("a pixel spacing of two positive numbers", came=f"{spacing}", do="Give both in mm.")


def _entry(name: str, value: Any, unit: str, reason: str = "") -> Measures:
    return {name: {"value": value, "unit": unit} | ({"reason": reason} if value is None else {})}


def _calibre_in(unit: str, width: np.ndarray, bin_width: float, reason: str) -> Measures:
    values: list[Any] = [None] * len(CALIBRE)
    if width.size:
        counts = np.bincount((width / bin_width).astype(int)).tolist()
        bins = {"edges": [k * bin_width for k in range(len(counts) + 1)], "counts": counts}
        low, median, high = np.percentile(width, (5, 50, 95)).tolist()
        values = [float(width.mean()), median, float(width.std()), low, high, bins]
    measures: Measures = {}
    for name, value in zip(CALIBRE, values, strict=True):
        measures |= _entry(f"calibre_{name}_{unit}", value, unit, reason)
    return measures


def _solid(vessel: np.ndarray) -> np.ndarray:
    """The vessels cropped to their extent, pinholes filled, with one clear pixel all around."""
    from scipy.ndimage import find_objects, label

    extent = find_objects(vessel.view(np.uint8))
    solid = np.pad(vessel[extent[0]] if extent else vessel[:1, :1], 1)
    holes, _ = label(~solid)
    small = np.bincount(holes.ravel()) <= PINHOLE_PX
    small[[0, holes[0, 0]]] = False  # the vessels and the outside
    return solid | small[holes]


def _trace(points: np.ndarray, radius_px: np.ndarray) -> Centreline:
    """Finds the nodes, and puts the pixels of each stretch between them in walking order."""
    pairs, is_step = _neighbours(points)
    degree = np.bincount(pairs[is_step].ravel(), minlength=len(points))
    _, part = _connect(len(points), pairs[is_step])
    is_node = degree >= 3
    # A closed loop has no place to start: its first pixel serves as a node.
    is_loop = np.bincount(part, degree != 2) == 0
    is_node[np.unique(part, return_index=True)[1][is_loop]] = True
    nodes = np.flatnonzero(is_node)
    number = np.full(len(points), -1)
    _, cluster = _connect(len(points), pairs[is_node[pairs].all(axis=1)])
    number[nodes] = np.unique(cluster[nodes], return_inverse=True)[1]
    sums = [np.bincount(number[nodes], axis) for axis in points[nodes].T]
    node_points = np.stack(sums, axis=1) / np.bincount(number[nodes])[:, None]
    node_radius_px = np.zeros(len(node_points))
    np.maximum.at(node_radius_px, number[nodes], radius_px[nodes])
    return Centreline(points, radius_px, _segments(pairs[is_step], number), node_points, node_radius_px)


def _neighbours(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of touching pixels (m, 2), and which of them are steps of a walk (m,)."""
    index = np.full(points.max(axis=0, initial=0) + 2, -1, dtype=np.int32)
    row, column = points.T
    index[row, column] = np.arange(len(points))
    pairs, is_step = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        # A diagonal that cuts a corner is no step, or a staircase would be a row of junctions.
        other = index[row + down, column + right]
        cut = (down & abs(right)) * ((index[row + down, column] >= 0) | (index[row, column + right] >= 0))
        here = np.flatnonzero(other >= 0)
        pairs.append(np.stack([here, other[here]], axis=1))
        is_step.append(cut[here] == 0)
    return np.concatenate(pairs), np.concatenate(is_step)


def _connect(count: int, pairs: np.ndarray) -> tuple[Any, np.ndarray]:
    """The graph of `count` things joined in pairs, and the number of each thing's component; (count,)."""
    from scipy.sparse import coo_array, csgraph

    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count)).tocsr()
    return graph, csgraph.connected_components(graph, directed=False)[1]


def _segments(steps: np.ndarray, number: np.ndarray) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The stretches between nodes; number is the node of each pixel, -1 for none."""
    touching = defaultdict(list)
    for a, b in steps[(number[steps] >= 0).sum(axis=1) == 1]:
        pixel, node = (b, a) if number[a] >= 0 else (a, b)
        touching[pixel].append(int(number[node]))
    segments = []
    for pixels in filter(len, _walks(steps, number)):
        before, after = [*touching[pixels[0]], -1], [*touching[pixels[-1]], -1]
        nodes = (before[0], after[0]) if len(pixels) > 1 else (before[0], [*before, -1][1])
        # A lone pixel with no node is a speck; one between two pixels of a node is part of the node.
        if len(pixels) > 1 or nodes[0] != nodes[1]:
            segments.append((pixels, nodes))
    return segments


def _walks(steps: np.ndarray, number: np.ndarray) -> list[np.ndarray]:
    """The unbranched paths between nodes, each in walking order."""
    from scipy.sparse.csgraph import dijkstra

    pixels = np.flatnonzero(number < 0)
    inner = steps[(number[steps] < 0).all(axis=1)]
    graph, part = _connect(len(number), inner)
    ends = pixels[np.bincount(inner.ravel(), minlength=len(number))[pixels] < 2]
    starts = ends[np.unique(part[ends], return_index=True)[1]]
    # One search from the starts of all paths: the distance to the own start is the place in the path.
    place = dijkstra(graph, directed=False, indices=starts, unweighted=True, min_only=True)
    order = pixels[np.lexsort((place[pixels], part[pixels]))]
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)


def _is_spur(line: Centreline, pixels: np.ndarray, nodes: tuple[int, int]) -> bool:
    if min(nodes) >= 0:
        return False
    tip, root, shortest = line.points[pixels[0]], line.points[pixels[-1]], MIN_BRANCH_PX
    if max(nodes) >= 0:
        tip, root = (root if nodes[1] < 0 else tip), line.node_points[max(nodes)]
        shortest = max(shortest, 2 * line.node_radius_px[max(nodes)])
    return bool(np.linalg.norm(tip - root) < shortest)


def _path(line: Centreline, pixels: np.ndarray, nodes: tuple[int, int]) -> np.ndarray:
    """(n, 2) row and column along a segment, its nodes included, without pixel steps."""
    from scipy.ndimage import gaussian_filter1d

    before, after = (line.node_points[[n]] if n >= 0 else np.empty((0, 2)) for n in nodes)
    path = np.concatenate([before, line.points[pixels], after])
    margin = int(4 * SMOOTHING_PX)
    # Odd reflection keeps the ends in place and straight lines straight.
    padded = np.pad(path, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(padded, SMOOTHING_PX, axis=0)[margin:-margin]


def _extended(line: Centreline, pixels: np.ndarray, nodes: tuple[int, int]) -> np.ndarray:
    """The path, with each free end drawn out to the vessel's border: thinning eats the ends."""
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
    """Where to measure a width: row and column, direction of the vessel, how far to search in px; (n, 5)."""
    found = [np.empty((0, 5))]
    for pixels, nodes in line.segments:
        first = int(nodes[0] >= 0)
        along = np.gradient(_path(line, pixels, nodes), axis=0)[first : first + len(pixels)]
        # Inside a junction, nearer to a node than its radius, a width would be that of two vessels.
        clear = along.any(axis=1)
        for node in (n for n in nodes if n >= 0):
            away = np.linalg.norm(line.points[pixels] - line.node_points[node], axis=1)
            clear &= away >= line.node_radius_px[node]
        reach = 1.5 * line.radius_px[pixels] + 2  # the far border of a slanting section, and no further
        found.append(np.column_stack([line.points[pixels], along, reach])[clear])
    return np.concatenate(found)


def _widths(vessel: np.ndarray, sections: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Widths in the unit of spacing, (m,); sections that meet no border within reach are left out."""
    where, along, reach = sections[:, :2], sections[:, 2:4], sections[:, 4]
    # The normal is square to the vessel in the eye, which it isn't in pixels that aren't square.
    normal = (along * spacing)[:, ::-1] * (-1, 1) / spacing
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    width_px = _to_border(vessel, where, normal, reach) + _to_border(vessel, where, -normal, reach)
    width = width_px * np.linalg.norm(normal * spacing, axis=1)
    return width[np.isfinite(width)]


def _to_border(vessel: np.ndarray, start: np.ndarray, step: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Distance in px from start, along step (length 1), to where the vessel falls to one half; (n,)."""
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
