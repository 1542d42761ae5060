"""Which objects of two times are one object: pure functions on places in one frame.

Objects that touch after the registration, within its error, may be one. The assignment with the smallest
total distance pairs them one to one (Kuhn, Naval Research Logistics Quarterly 2, 1955: the Hungarian method).
An object that stays without a partner and lies inside one of the other time merged into it, or split from it.
All others are new or gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NEW, GONE, GROWN, SHRUNK, MERGED, SPLIT, SAME, NOT_ASSESSED = KINDS = (
    *("new", "gone", "grown", "shrunk"),
    *("merged", "split", "unchanged", "not assessed"),
)
INSIDE = 0.5  # of an object's places that lie within the other: it is a part of it


@dataclass(frozen=True)
class Match:
    """Objects of two times that are one, or an object without a counterpart.

    Attributes:
        earlier, later: positions in the lists of objects, from 0; empty where there is none.
    """

    earlier: tuple[int, ...]
    later: tuple[int, ...]


def match(earlier: Sequence[np.ndarray], later: Sequence[np.ndarray], tolerance: float) -> list[Match]:
    """Match the objects of two times.

    Args:
        earlier, later: the places of each object, (n, D), at least one, in one frame and one unit.
        tolerance: the error of the registration, in that unit: objects nearer than this may be one.

    Returns:
        Each object in exactly one match; by the first earlier object, then what is new.
    """
    gaps = np.full((len(earlier), len(later)), np.inf)
    inside = np.zeros((2, len(earlier), len(later)))
    trees = [[_tree(each) for each in objects] for objects in (earlier, later)]
    for row, column in np.ndindex(*gaps.shape):
        inside[0, row, column], first = _within(earlier[row], trees[1][column], tolerance)
        inside[1, row, column], second = _within(later[column], trees[0][row], tolerance)
        gaps[row, column] = min(first, second)
    groups = _assigned(_costs(gaps, earlier, later, tolerance))
    _join(groups, inside)
    return _matches(groups, len(earlier), len(later))


def _tree(places: np.ndarray) -> Any:
    from scipy.spatial import cKDTree

    return cKDTree(places)


def _within(places: np.ndarray, tree: Any, tolerance: float) -> tuple[float, float]:
    """The share of places nearer than the tolerance to an object, and the least distance (inf if beyond)."""
    away, _ = tree.query(places, distance_upper_bound=np.nextafter(tolerance, np.inf))
    return float(np.isfinite(away).mean()), float(away.min())


def _costs(
    gaps: np.ndarray, earlier: Sequence[np.ndarray], later: Sequence[np.ndarray], tolerance: float
) -> np.ndarray:
    """Distance of the centres for what may be one object; infinite for the rest.

    The distance counts by the tolerance and the radius of the larger object, so that the halves of a large
    object do not lose it to a small neighbour.
    """
    costs = np.full(gaps.shape, np.inf)
    for row, column in np.argwhere(gaps <= tolerance):
        first, second = earlier[row], later[column]
        reach = max(np.linalg.norm(np.ptp(each, axis=0)) / 2 for each in (first, second))
        away = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
        costs[row, column] = away / (tolerance + reach)
    return costs


def _assigned(costs: np.ndarray) -> list[tuple[set[int], set[int]]]:
    """The pairs with the smallest total cost, as many as possible."""
    from scipy.optimize import linear_sum_assignment

    possible = np.isfinite(costs)
    if not possible.any():
        return []
    # A pair that is none costs more than all that are, so that as many as possible are pairs.
    none = 1 + costs[possible].sum()
    rows, columns = linear_sum_assignment(np.where(possible, costs, none))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [({row}, {column}) for row, column in pairs if possible[row, column]]


def _join(groups: list[tuple[set[int], set[int]]], inside: np.ndarray) -> None:
    """Add what is left to the pair whose other object it lies in: merged (earlier) or split (later)."""
    taken = [set().union(*(group[time] for group in groups)) for time in (0, 1)]
    for time in (0, 1):
        other = 1 - time
        shares = inside[time] if time == 0 else inside[time].T  # own objects in rows
        for own in sorted(set(range(len(shares))) - taken[time]):
            for host in np.argsort(-shares[own], kind="stable").tolist():
                group = next((each for each in groups if host in each[other]), None)
                # A group either merged or split: one that did both would pair unlike objects.
                if shares[own, host] < INSIDE:
                    break
                if group is not None and len(group[other]) == 1:
                    group[time].add(own)
                    break


def _matches(groups: Sequence[tuple[set[int], set[int]]], before: int, after: int) -> list[Match]:
    found = [Match(tuple(sorted(first)), tuple(sorted(second))) for first, second in groups]
    used = [{number for each in found for number in side(each)} for side in (_first, _second)]
    found += [Match((number,), ()) for number in range(before) if number not in used[0]]
    found.sort(key=lambda each: each.earlier)
    return found + [Match((), (number,)) for number in range(after) if number not in used[1]]


def _first(found: Match) -> tuple[int, ...]:
    return found.earlier


def _second(found: Match) -> tuple[int, ...]:
    return found.later


def kind_of(found: Match, verdict: str = "") -> str:
    """What became of it: one of KINDS.

    Args:
        found: the match.
        verdict: of the change of its size (medseg.follow_up.change), all objects of a time added. Where the
            sum is unchanged, parts that touch at one time only are no change.
    """
    if not found.earlier:
        return NEW
    if not found.later:
        return GONE
    if verdict in ("increased", "decreased") and len(found.earlier) != len(found.later):
        return MERGED if len(found.earlier) > 1 else SPLIT
    return {"increased": GROWN, "decreased": SHRUNK, "unchanged": SAME}.get(verdict, NOT_ASSESSED)
