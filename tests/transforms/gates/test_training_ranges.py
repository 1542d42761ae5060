"""The gate of a task without one of its own."""

import numpy as np
import pytest

from medseg.errors import UnsuitableError
from medseg.transforms import CheckTrainingRangesd, LoadVolumed
from medseg.volume import Volume

AFFINE = np.array([[0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]])  # j runs to the right


def loaded(scale=1):
    array = (np.arange(6 * 5 * 4).reshape(1, 6, 5, 4) * scale).astype(np.int16)
    return LoadVolumed("image", channels=1, spatial_dims=3)({"image": Volume(array, AFFINE)})


def warnings(ranges, scale=1):
    return CheckTrainingRangesd("image", ranges)(loaded(scale))["image"].meta["origin"].texts("warning")


def test_axes_of_the_spacing_are_right_anterior_superior():
    assert warnings({"spacing_mm": [[2, 2], [3, 3], [5, 5]]}) == []
    assert len(warnings({"spacing_mm": [[3, 3], [2, 2], [5, 5]]})) == 2


def test_brightness():
    ranges = {"brightness": [[-10, 20], [40, 80], [100, 130]]}
    assert warnings(ranges) == []
    assert len(warnings(ranges, scale=9)) == 2


def test_a_blank_image_is_refused():
    with pytest.raises(UnsuitableError, match="a blank one"):
        CheckTrainingRangesd("image", {})(loaded(0))
