"""Grow trees of airways and vessels that fill a lung.

The algorithm is that of Tawhai et al., "CT-based geometry analysis and finite element models of the human and
ovine bronchial tree", J Appl Physiol 2004: a branch runs a part of the way to the centre of the points it
has to supply, these points are split in two, and each half gets a branch. Radii follow Murray's law with an
exponent slightly below 3.
"""

from __future__ import annotations

import numpy as np

MURRAY = 2.6
PART_OF_WAY = 0.42
LONGEST_MM = 45.0


def grow(
    root: np.ndarray,
    targets: np.ndarray,
    radius_mm: float,
    random: np.random.Generator,
    generation: int = 0,
    wobble: float = 0.06,
) -> tuple[np.ndarray, np.ndarray]:
    """A tree from a root to all of the points it supplies.

    Args:
        root: (3,) in mm.
        targets: (n, 3) in mm.
        radius_mm: at the root.
        generation: that of the first branch.
        wobble: standard deviation of a branch point, as a share of the branch's length.

    Returns:
        (m, 8) tubes: start, end, radius at start and end in mm; (m,) generation of each.
    """
    tubes: list[np.ndarray] = []
    generations: list[int] = []
    waiting = [(np.asarray(root, float), np.asarray(targets, float), generation)]
    while waiting:
        start, points, depth = waiting.pop()
        if not len(points):
            continue
        way = points.mean(axis=0) - start
        length = float(np.linalg.norm(way))
        part = 1.0 if len(points) == 1 else min(PART_OF_WAY, LONGEST_MM / max(length, 1e-3))
        end = start + way * part
        if len(points) > 1:
            end = end + random.normal(0, wobble * part * length, 3)
        radius = radius_mm * (len(points) / len(targets)) ** (1 / MURRAY)
        tubes.append(np.array([*start, *end, radius, radius * 0.86]))
        generations.append(depth)
        if len(points) > 1:
            upper = _split(points)
            waiting += [(end, points[upper], depth + 1), (end, points[~upper], depth + 1)]
    return np.array(tubes).reshape(-1, 8), np.array(generations, int)


def _split(points: np.ndarray) -> np.ndarray:
    """(n,) bool: the points beyond the median along the direction of their largest variance."""
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(centred @ axes[:, -1], kind="stable")
    upper = np.zeros(len(points), bool)
    upper[order[len(points) // 2 :]] = True
    return upper
