"""Pictures side by side: the values of each kind of array, and the layout."""

import numpy as np
import pytest

from medseg.colours import colour_rgb
from medseg.errors import UsageError
from medseg.reports.panels import GAP_PX, TITLE_PX, panels


def drawn(array, width_px=8):
    """The pixels of one picture without its title."""
    return np.asarray(panels({"title": array}, width_px))[TITLE_PX:]


def test_the_type_says_what_the_values_are():
    left, right = (4, 1), (4, 6)
    grey = drawn(np.array([[10, 200]], np.uint8))
    assert grey[1, 1].tolist() == [10] * 3
    assert grey[1, 6].tolist() == [200] * 3
    assert drawn(np.array([[False, True]]))[1, 6].tolist() == [255] * 3
    mixed = drawn(np.array([[-1.0, 3.0], [1.0, 1.0]]))
    assert [mixed[1, 1, 0], mixed[1, 6, 0], mixed[6, 1, 0]] == [0, 255, 128]
    labels = drawn(np.array([[0, 2], [0, 2]]))
    assert labels[left].tolist() == [0, 0, 0]
    assert labels[right].tolist() == list(colour_rgb(2))
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[:, 1] = (1, 2, 3)
    assert drawn(colour)[right].tolist() == [1, 2, 3]


def test_a_constant_picture_is_black():
    assert not drawn(np.full((3, 3), 7.0)).any()


def test_rows_and_columns():
    page = panels({str(number): np.ones((10, 20), bool) for number in range(3)}, width_px=40, columns=2)
    assert page.size == (2 * 40 + GAP_PX, 2 * (TITLE_PX + 20) + GAP_PX)
    pixels = np.asarray(page)
    assert (pixels[TITLE_PX : TITLE_PX + 20] == 255).all()
    assert (pixels[:TITLE_PX] < 255).any()  # the titles


def test_what_is_no_picture_is_refused():
    for array in (np.zeros((2, 2, 2)), np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2, 3))):
        with pytest.raises(UsageError, match="expected pictures of"):
            panels({"a": array})
    with pytest.raises(UsageError, match="at least one picture"):
        panels({})
