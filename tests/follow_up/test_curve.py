"""Where a curve puts its points, bars and ticks."""

from datetime import date

import pytest

from medseg.follow_up.curve import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Line, drawing, nice_ticks

DATES = [date(2024, 1, 1), date(2024, 1, 3), date(2024, 7, 1), date(2025, 1, 1)]


def test_points_lie_by_date_and_value():
    found = drawing(DATES, [Line("lesion 1", [1.0, 2.0, 3.0, 4.0])], "ml")
    xs, ys = zip(*((x, y) for x, y, _ in found.lines[0].marks), strict=True)
    assert (xs[0], xs[-1]) == (LEFT, WIDTH - RIGHT)
    assert (xs[2] - LEFT) / (WIDTH - LEFT - RIGHT) == pytest.approx(182 / 366, abs=0.01)
    assert ys[0] - ys[1] == pytest.approx(ys[2] - ys[3], abs=0.2)
    assert found.y_ticks[0] == (HEIGHT - BOTTOM, "0")
    assert found.lines[0].marks[1][2] == "2024-01-03: 2 ml"


def test_dates_that_touch_are_left_out():
    found = drawing(DATES, [Line("lesion 1", [1.0, 2.0, 3.0, 4.0])], "ml")
    assert [text for _, text in found.x_ticks] == ["2024-01-01", "2024-07-01", "2025-01-01"]


def test_a_gap_parts_the_line():
    found = drawing(DATES, [Line("lesion 1", [1.0, 2.0, None, 4.0])], "ml")
    assert len(found.lines[0].parts) == 1
    assert len(found.lines[0].marks) == 3


def test_bars_overlap_where_the_difference_is_within_the_limit():
    for later, overlap in ((1.24, True), (1.26, False)):
        line = drawing(DATES[:2], [Line("lesion 1", [1.0, later], 0.25)], "ml").lines[0]
        (_, top, _), (_, _, bottom) = line.bars
        assert (bottom >= top) is overlap


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 2.2), (-850, -820), (5.0, 5.0), (0.001, 0.0013), (0, 1e6)], ids=str
)
def test_ticks_are_round_and_span_the_range(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    assert ticks[0] <= low
    assert ticks[-1] >= high
    step = ticks[1] - ticks[0]
    assert f"{step:e}"[0] in "125"
