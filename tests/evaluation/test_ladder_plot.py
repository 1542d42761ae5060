"""The plot of score against time: every label is readable."""

import numpy as np
import pytest

from medseg.evaluation.ladder_plot import draw_scores, place
from medseg.evaluation.ladder_run import Cost
from medseg.evaluation.ladder_table import Rung

FRAME = (0.0, 0.0, 800.0, 500.0)


def covered(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def test_a_crowd_of_labels():
    random = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in random.uniform((300, 200), (440, 290), (10, 2))]
    dots = [(x - 9, y - 9, x + 9, y + 9) for x, y in points]
    taken = list(dots)
    for point in points:
        _, _, box = place(point, (90.0, 14.0), taken, FRAME)
        assert not any(covered(box, other) for other in taken)
        taken.append(box)


@pytest.mark.parametrize("point", [(1.0, 1.0), (799.0, 499.0), (1.0, 499.0), (400.0, 1.0)])
def test_labels_stay_in_the_frame(point):
    _, _, box = place(point, (90.0, 14.0), [], FRAME)
    assert box[0] >= 0
    assert box[1] >= 0
    assert box[2] <= 800
    assert box[3] <= 500


def test_a_lone_label_is_beside_its_point():
    middle, near, box = place((100.0, 100.0), (60.0, 10.0), [(91.0, 91.0, 109.0, 109.0)], FRAME)
    assert middle == pytest.approx((146.0, 100.0))
    assert near == pytest.approx((116.0, 100.0))
    assert box[0] > 109


@pytest.mark.seconds
def test_it_is_drawn_for_one_method_and_without_intervals(tmp_path):
    from PIL import Image

    entry = {"mean": 0.8, "low": None, "high": None, "cases": 1, "subjects": 1}
    undefined = {**entry, "mean": None}
    for number, scores in enumerate((entry, undefined)):
        rung = Rung("only", "learned", "", {"dice": scores}, Cost(0.3, 500.0, 0, ()))
        draw_scores([rung], tmp_path / f"{number}.png")
        assert Image.open(tmp_path / f"{number}.png").size[0] > 900
