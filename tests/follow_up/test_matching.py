"""Objects of two times matched: each kind of fate, with what lies near as a trap."""

import numpy as np
import pytest

from medseg.follow_up.matching import KINDS, Match, kind_of, match


def ball(centre, radius, step=1.0):
    reach = np.arange(-radius, radius + step, step)
    places = np.stack(np.meshgrid(*[reach] * len(centre), indexing="ij"), -1).reshape(-1, len(centre))
    return places[np.linalg.norm(places, axis=1) <= radius] + np.asarray(centre)


def test_shifted_objects_keep_their_partners():
    earlier = [ball((0, 0, 0), 4), ball((30, 0, 0), 3), ball((0, 40, 0), 5)]
    later = [ball((2, 41, 0), 5), ball((1, 1, 1), 4), ball((31, 1, 0), 3)]
    assert match(earlier, later, 4) == [Match((0,), (1,)), Match((1,), (2,)), Match((2,), (0,))]


def test_new_and_gone():
    assert match([ball((0, 0, 0), 3)], [ball((20, 0, 0), 3)], 5) == [Match((0,), ()), Match((), (0,))]
    assert match([], [ball((0, 0), 3)], 5) == [Match((), (0,))]
    assert match([ball((0, 0), 3)], [], 5) == [Match((0,), ())]
    assert match([], [], 5) == []


def test_merged_and_split():
    halves = [ball((-6, 0, 0), 4), ball((6, 0, 0), 4)]
    whole = [ball((0, 0, 0), 11)]
    assert match(halves, whole, 3) == [Match((0, 1), (0,))]
    assert match(whole, halves, 3) == [Match((0,), (0, 1))]


def test_a_neighbour_within_the_tolerance_does_not_merge():
    """Two nodules 3 mm apart, both there at both times; and a new one beside an old one."""
    pair = [ball((0, 0, 0), 5), ball((13, 0, 0), 5)]
    assert match(pair, [each + 1 for each in pair], 4) == [Match((0,), (0,)), Match((1,), (1,))]
    assert match(pair[:1], pair, 4) == [Match((0,), (0,)), Match((), (1,))]


def test_growth_to_eight_times_the_volume_is_one_object():
    assert match([ball((0, 0, 0), 3)], [ball((2, 0, 0), 6)], 4) == [Match((0,), (0,))]


def test_a_large_shift_at_a_small_neighbour():
    """The nearest centre is not taken where it would leave another object without its partner."""
    earlier, later = [ball((0, 0), 3), ball((7, 0), 3)], [ball((5, 0), 3), ball((12, 0), 3)]
    assert match(earlier, later, 6) == [Match((0,), (0,)), Match((1,), (1,))]


def test_each_object_is_in_one_match():
    random = np.random.default_rng(0)
    for _ in range(20):
        times = [
            [ball(random.uniform(0, 40, 2), random.uniform(1, 8)) for _ in range(random.integers(0, 9))]
            for _ in range(2)
        ]
        found = match(*times, 4)
        for time, side in enumerate(("earlier", "later")):
            numbers = sorted(number for each in found for number in getattr(each, side))
            assert numbers == list(range(len(times[time])))


@pytest.mark.parametrize(
    ("found", "verdict", "kind"),
    [
        (Match((), (0,)), "", "new"),
        (Match((0,), ()), "", "gone"),
        (Match((0, 1), (0,)), "increased", "merged"),
        (Match((0,), (0, 1)), "decreased", "split"),
        (Match((0, 1), (0,)), "unchanged", "unchanged"),
        (Match((0,), (0, 1)), "not assessed", "not assessed"),
        (Match((0,), (0,)), "increased", "grown"),
        (Match((0,), (0,)), "decreased", "shrunk"),
        (Match((0,), (0,)), "unchanged", "unchanged"),
        (Match((0,), (0,)), "not assessed", "not assessed"),
    ],
)
def test_kinds(found, verdict, kind):
    assert kind_of(found, verdict) == kind
    assert kind in KINDS
