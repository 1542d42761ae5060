"""All visits of a patient compared, and each object followed through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from medseg.errors import UnsuitableError
from medseg.follow_up.change import repeatability
from medseg.follow_up.growth import growth_of
from medseg.follow_up.record import Comparison, FollowUp, ObjectChange, Track, Visit
from medseg.follow_up.times import Times
from medseg.measurements.lungs import LUNGS

Compare = Callable[[int, int], Comparison]


def follow(times: Times, task: str, method: str | None = None) -> FollowUp:
    """Compare all visits of a patient.

    Args:
        times: from medseg.follow_up.times.times_of.
        task, method: of the results.

    Raises:
        UsageError: the task or method is unknown, or an extra is not installed.
        UnsuitableError: nothing of the task can be followed, or two images can't be registered.
    """
    visits = times.visits
    compare = _comparer(visits, task, method)
    pairs = list(pairwise(range(len(visits))))
    steps = [compare(*pair) for pair in pairs]
    whole = [compare(0, len(visits) - 1)] if len(visits) > 2 else []
    return FollowUp(task, visits, [*steps, *whole], tracks(visits, steps), times.warnings, times.notes)


def _comparer(visits: Sequence[Visit], task: str, method: str | None) -> Compare:
    """The function that compares two visits, by what the labels are."""
    labels = set(visits[0].mask.labels.values())
    if set(LUNGS) <= labels:
        from medseg.follow_up.chest import compare_chests, prepared, rules_of

        rules = rules_of(task, method)
        chests = [prepared(visit, rules) for visit in visits]
        return lambda first, second: compare_chests(chests[first], chests[second], rules, (first, second))
    if "vessel" in labels:
        from medseg.follow_up.vessels import compare_vessels as of_pictures
    elif "lesion" in labels:
        from medseg.follow_up.lesions_2d import compare_lesions as of_pictures
    else:
        raise UnsuitableError(
            "results with lungs, vessels or lesions",
            got=f"{', '.join(sorted(labels))}",
            advice="Other structures can't be followed yet.",
        )
    return lambda first, second: of_pictures(visits[first], visits[second], (first, second))


def tracks(visits: Sequence[Visit], steps: Sequence[Comparison]) -> list[Track]:
    """Each object through all visits; what merged or split is one.

    Args:
        visits: in the order of their dates.
        steps: comparisons of each visit with the next.
    """
    groups: list[dict[int, set[int]]] = []
    names: list[str] = []
    for step in steps:
        for each in step.objects:
            _add(groups, names, step, each)
    found = []
    counts: dict[str, int] = {}
    for group, name in zip(groups, names, strict=True):
        counts[name] = counts.get(name, 0) + 1
        found.append(_track(f"{name} {counts[name]}", group, visits, steps, name))
    return found


def _add(
    groups: list[dict[int, set[int]]], names: list[str], step: Comparison, changed: ObjectChange
) -> None:
    """Put a change into the group that holds one of its objects; groups that it connects become one."""
    own = {step.earlier: set(changed.earlier), step.later: set(changed.later)}
    own = {time: numbers for time, numbers in own.items() if numbers}
    hits = [
        place
        for place, group in enumerate(groups)
        if names[place] == changed.name and any(group.get(time, set()) & own[time] for time in own)
    ]
    if not hits:
        groups.append(own)
        names.append(changed.name)
        return
    for place in reversed(hits[1:]):
        _unite(groups[hits[0]], groups.pop(place))
        names.pop(place)
    _unite(groups[hits[0]], own)


def _unite(group: dict[int, set[int]], other: dict[int, set[int]]) -> None:
    for time, numbers in other.items():
        group.setdefault(time, set()).update(numbers)


def _track(
    title: str, group: dict[int, set[int]], visits: Sequence[Visit], steps: Sequence[Comparison], name: str
) -> Track:
    sizes = tuple(_size(time, group.get(time, set()), steps, name) for time in range(len(visits)))
    units = [each.unit for step in steps for each in step.objects if each.name == name]
    known = [(visits[time].date.toordinal(), size) for time, size in enumerate(sizes) if size]
    changes = [
        each.change
        for step in steps
        for each in step.objects
        if each.name == name and each.change and set(each.earlier) & group.get(step.earlier, set())
    ]
    limits = [each.limit for each in changes if each.limit is not None]
    limit = max(limits, key=lambda each: each.limit, default=repeatability().get(f"{name}_volume_ml"))
    growth = None
    if len(known) > 1 and units[0] == "ml" and len(limits) == len(changes):
        growth = growth_of([day for day, _ in known], [size for _, size in known], limit)
    numbers = tuple(tuple(sorted(group.get(time, set()))) for time in range(len(visits)))
    return Track(title, sizes, units[0], growth, numbers)


def _size(time: int, numbers: set[int], steps: Sequence[Comparison], name: str) -> float | None:
    """The size of some objects at a time: each comparison holds each of them once."""
    if not numbers:
        return None
    for step in steps:
        if time not in (step.earlier, step.later):
            continue
        sizes = [
            each.earlier_size if time == step.earlier else each.later_size
            for each in step.objects
            if each.name == name and numbers & set(each.earlier if time == step.earlier else each.later)
        ]
        if sizes and None not in sizes:
            return float(sum(size for size in sizes if size is not None))
    return None
