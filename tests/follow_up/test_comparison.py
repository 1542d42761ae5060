"""Objects followed through several visits."""

import pytest
from two_chests import visit

from medseg.follow_up.change import Limit, change_of
from medseg.follow_up.comparison import tracks
from medseg.follow_up.record import Comparison, ObjectChange

LIMIT = Limit("relative", 0.25, "a test")
VISITS = [visit(day, noise_hu=0) for day in ("2025-01-01", "2025-04-11", "2025-07-20")]


def change(kind, earlier, later, before, after):
    judged = change_of("x", "ml", before, after, LIMIT) if before and after else None
    return ObjectChange(kind, "dense_region", earlier, later, before, after, "ml", judged)


def test_an_object_is_followed_and_what_merges_is_one():
    steps = [
        Comparison(
            *(0, 1, {}, []),
            [
                change("grown", (1,), (1,), 1.0, 2.0),
                change("unchanged", (2,), (2,), 0.5, 0.5),
                change("new", (), (3,), None, 0.4),
            ],
        ),
        Comparison(
            *(1, 2, {}, []),
            [
                change("grown", (1,), (1,), 2.0, 4.0),
                change("merged", (2, 3), (2,), 0.9, 1.2),
                change("new", (), (3,), None, 0.3),
            ],
        ),
    ]
    found = tracks(VISITS, steps)
    assert [each.sizes for each in found] == [(1.0, 2.0, 4.0), (0.5, 0.9, 1.2), (None, None, 0.3)]
    assert [each.name for each in found] == ["dense_region 1", "dense_region 2", "dense_region 3"]
    assert found[0].growth["doubling_days"] == pytest.approx(100)
    assert found[1].numbers == ((2,), (2, 3), (2,))
    assert found[2].growth is None


def test_an_object_that_is_gone_has_no_later_size():
    steps = [
        Comparison(0, 1, {}, [], [change("unchanged", (1,), (1,), 1.0, 1.1)]),
        Comparison(1, 2, {}, [], [change("gone", (1,), (), 1.1, None)]),
    ]
    (found,) = tracks(VISITS, steps)
    assert found.sizes == (1.0, 1.1, None)
