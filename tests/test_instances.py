"""A number for each piece, the same in the mask, the list of measurements and the files."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import UnsuitableError
from medseg.instances import by_instance, numbered
from medseg.measurements import measure_lesions
from medseg.volume import Mask


@pytest.fixture
def lesions():
    """Small, large and middle, the last of two pieces that touch by a corner."""
    array = np.zeros((20, 30), np.uint8)
    array[1:3, 1:3] = array[5:15, 5:15] = array[2:6, 20:24] = array[6:8, 24:26] = 1
    return Mask(array, {0: "background", 1: "lesion"})


def test_the_largest_first(lesions):
    found = by_instance(lesions)
    assert found.labels == {0: "background", 1: "lesion_1", 2: "lesion_2", 3: "lesion_3"}
    assert [found.array[at] for at in ((9, 9), (3, 21), (7, 25), (1, 1), (0, 0))] == [1, 2, 2, 3, 0]
    assert found.array.dtype == np.uint8


def test_the_numbers_are_those_of_the_measurements(lesions):
    found = by_instance(lesions).array
    sizes = [
        lesion["area_px"]
        for lesion in measure_lesions(Case(lesions, np.zeros((1, *lesions.array.shape))))["lesions"]["value"]
    ]
    assert sizes == np.bincount(found.ravel())[1:].tolist() == [100, 20, 4]


def test_several_labels_of_a_volume():
    array = np.zeros((4, 5, 6), np.uint8)
    array[0, 0, 0], array[2:, 3:, 4:], array[0, 4] = 1, 1, 2
    found = by_instance(Mask(array, {0: "background", 1: "left", 2: "right"}, affine=np.eye(4)))
    assert found.labels == {0: "background", 1: "left_1", 2: "left_2", 3: "right_1"}
    assert [found.array[at] for at in ((3, 4, 5), (0, 0, 0), (0, 4, 0))] == [1, 2, 3]
    assert np.array_equal(found.affine, np.eye(4))


def test_more_than_eight_bits_hold():
    array = np.zeros((40, 40), np.uint8)
    array[::2, ::2] = 1
    found = by_instance(Mask(array, {0: "background", 1: "speck"}))
    assert found.array.dtype == np.uint16
    assert found.array.max() == 400


def test_more_than_sixteen_bits_hold():
    array = np.zeros((514, 514), np.uint8)
    array[::2, ::2] = 1
    with pytest.raises(UnsuitableError, match="66049"):
        by_instance(Mask(array, {0: "background", 1: "speck"}))


def test_nothing():
    assert not numbered(np.zeros((3, 3), bool)).any()
    assert by_instance(Mask(np.zeros((3, 3), np.uint8), {0: "background", 1: "lesion"})).labels == {
        0: "background"
    }
