"""One component of the target, by contrast, size and place."""

import numpy as np
import pytest

from medseg.errors import UsageError
from medseg.methods.one_component import OneComponent
from medseg.methods.target import Target

REGION = np.zeros((100, 120), bool)
REGION[10:90, 20:110] = True


def chosen(blobs, order="lowest", opening_px=0):
    """The component of blobs (row, column, radius, depth) on 0 that is chosen: its values' places."""
    row, column = np.mgrid[:100, :120]
    feature = np.zeros((1, 100, 120), np.float32)
    for centre_row, centre_column, radius, depth in blobs:
        feature[0][np.hypot(row - centre_row, column - centre_column) <= radius] = -depth
    if order == "highest":
        feature = -feature
    target = feature[0] != 0
    classes = np.stack([~target & REGION, target & REGION]).astype(np.float32)
    one = OneComponent(Target("intensity", order), opening_px, place=(0.5, 0.5), spread=(0.2, 0.2))
    return one(classes, feature, ["intensity"], REGION) > 0.5


@pytest.mark.parametrize("order", ["lowest", "highest"])
@pytest.mark.parametrize(
    ("blobs", "expected"),
    [
        ([(50, 65, 8, 1), (25, 35, 8, 1)], 0),  # the place decides
        ([(50, 50, 4, 1), (50, 80, 8, 1)], 1),  # the size
        ([(50, 50, 6, 3), (50, 80, 6, 1)], 0),  # the contrast
    ],
)
def test_the_best_component_is_chosen(blobs, expected, order):
    found = chosen(blobs, order)
    assert found[blobs[expected][:2]]
    assert not found[blobs[1 - expected][:2]]


def test_an_opening_cuts_bridges_and_keeps_the_rest():
    blobs = [(50, 50, 8, 1), (50, 80, 5, 1), *((50, column, 1, 1) for column in range(55, 80))]
    assert chosen(blobs)[50, 80]
    found = chosen(blobs, opening_px=3)
    assert found[50, 50]
    assert not found[50, 80]


def test_without_a_component_nothing_is_chosen():
    assert not chosen([(50, 50, 1, 1)], opening_px=4).any()


@pytest.mark.parametrize("options", [((0.5,), (0.1, 0.1)), ((0.5, 0.5), (0.1, 0.0))])
def test_places_that_can_not_be_are_refused(options):
    with pytest.raises(UsageError, match="a row and a column"):
        OneComponent(Target("intensity", "lowest"), 0, *options)
