"""The centreline of a mask's vessels as a graph of segments and nodes.

Pixels are unit squares with their centres on whole numbers, axes are (row, column).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

PINHOLE_PX = 8  # holes of up to this many pixels are filled: a pinhole would split a centreline in two
MIN_BRANCH_PX = 5.0  # shorter centrelines are left out; a branch must also be as long as its node is wide


@dataclass(frozen=True)
class Centreline:
    """The vessels' centreline as a graph.

    Attributes:
        points: (n, 2) row and column of its pixels.
        radius_px: (n,) distance from each to the nearest pixel outside the vessels, centre to centre.
        segments: the paths between nodes: indices into points from end to end, without the nodes' pixels;
            and the node before the first and after the last pixel, -1 for a free end.
        node_points: (k, 2) row and column of the nodes, clusters of touching junction pixels.
        node_radius_px: (k,) largest radius_px of each cluster.
    """

    points: np.ndarray
    radius_px: np.ndarray
    segments: list[tuple[np.ndarray, tuple[int, int]]]
    node_points: np.ndarray
    node_radius_px: np.ndarray


def centreline(vessel: np.ndarray) -> Centreline:
    """The centreline of vessels, without spurs and short isolated segments.

    A spur has one free end, nearer to its node than the calibre there or MIN_BRANCH_PX: thinning makes one
    of every bump of the border. A short isolated segment has two free ends, nearer to each other than
    MIN_BRANCH_PX.

    Args:
        vessel: (row, column) bool, False in the outermost pixels.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    # The default method removes diagonals of even width.
    points = np.argwhere(skeletonize(vessel, method="lee"))
    radius_px = distance_transform_edt(vessel)[tuple(points.T)]
    line = _trace(points, radius_px)
    while spurs := [pixels for pixels, nodes in line.segments if _is_spur(line, pixels, nodes)]:
        gone = np.concatenate(spurs)
        line = _trace(np.delete(line.points, gone, axis=0), np.delete(line.radius_px, gone))
    return line


def solid_vessels(vessel: np.ndarray) -> np.ndarray:
    """The vessels, (row, column) bool, cropped, pinholes filled, with one False pixel all around."""
    from scipy.ndimage import find_objects, label

    extent = find_objects(vessel.view(np.uint8))
    solid = np.pad(vessel[extent[0]] if extent else vessel[:1, :1], 1)
    holes, _ = label(~solid)
    small = np.bincount(holes.ravel()) <= PINHOLE_PX
    small[[0, holes[0, 0]]] = False  # the vessels and the outside
    return solid | small[holes]


def connect(count: int, pairs: np.ndarray) -> tuple[Any, np.ndarray]:
    """The graph of `count` vertices joined in pairs, (n, 2), and each vertex's component; (count,)."""
    from scipy.sparse import coo_array, csgraph

    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count)).tocsr()
    return graph, csgraph.connected_components(graph, directed=False)[1]


def _trace(points: np.ndarray, radius_px: np.ndarray) -> Centreline:
    """Find the nodes, and order the pixels of each path between them from end to end."""
    pairs, is_step = _neighbours(points)
    degree = np.bincount(pairs[is_step].ravel(), minlength=len(points))
    _, part = connect(len(points), pairs[is_step])
    is_node = degree >= 3
    # A closed loop has no end: its first pixel becomes a node.
    is_loop = np.bincount(part, degree != 2) == 0
    is_node[np.unique(part, return_index=True)[1][is_loop]] = True
    nodes = np.flatnonzero(is_node)
    number = np.full(len(points), -1)
    _, cluster = connect(len(points), pairs[is_node[pairs].all(axis=1)])
    number[nodes] = np.unique(cluster[nodes], return_inverse=True)[1]
    sums = [np.bincount(number[nodes], axis) for axis in points[nodes].T]
    node_points = np.stack(sums, axis=1) / np.bincount(number[nodes])[:, None]
    node_radius_px = np.zeros(len(node_points))
    np.maximum.at(node_radius_px, number[nodes], radius_px[nodes])
    return Centreline(points, radius_px, _segments(pairs[is_step], number), node_points, node_radius_px)


def _neighbours(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of touching pixels (m, 2), and which of them are steps of a path (m,), bool."""
    index = np.full(points.max(axis=0, initial=0) + 2, -1, dtype=np.int32)
    row, column = points.T
    index[row, column] = np.arange(len(points))
    pairs, is_step = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        # A diagonal across a corner is no step, or each step of a staircase would be a junction.
        other = index[row + down, column + right]
        cut = (down & abs(right)) * ((index[row + down, column] >= 0) | (index[row, column + right] >= 0))
        here = np.flatnonzero(other >= 0)
        pairs.append(np.stack([here, other[here]], axis=1))
        is_step.append(cut[here] == 0)
    return np.concatenate(pairs), np.concatenate(is_step)


def _segments(steps: np.ndarray, number: np.ndarray) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The paths between nodes, as in Centreline; number is the node of each pixel, -1 for none."""
    touching = defaultdict(list)
    for a, b in steps[(number[steps] >= 0).sum(axis=1) == 1]:
        pixel, node = (b, a) if number[a] >= 0 else (a, b)
        touching[pixel].append(int(number[node]))
    segments = []
    for pixels in filter(len, _paths(steps, number)):
        before, after = [*touching[pixels[0]], -1], [*touching[pixels[-1]], -1]
        nodes = (before[0], after[0]) if len(pixels) > 1 else (before[0], [*before, -1][1])
        # A lone pixel without a node is isolated; one between two pixels of a node belongs to the node.
        if len(pixels) > 1 or nodes[0] != nodes[1]:
            segments.append((pixels, nodes))
    return segments


def _paths(steps: np.ndarray, number: np.ndarray) -> list[np.ndarray]:
    """The unbranched paths between nodes, each from end to end."""
    from scipy.sparse.csgraph import dijkstra

    pixels = np.flatnonzero(number < 0)
    inner = steps[(number[steps] < 0).all(axis=1)]
    graph, part = connect(len(number), inner)
    ends = pixels[np.bincount(inner.ravel(), minlength=len(number))[pixels] < 2]
    starts = ends[np.unique(part[ends], return_index=True)[1]]
    # One search from the starts of all paths: a pixel's distance to its start is its place in the path.
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
