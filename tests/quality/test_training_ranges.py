"""An image that is unlike the training images is warned of; a blank one is refused."""

import numpy as np
import pytest

from medseg.errors import BundleError, UnsuitableError
from medseg.quality.training_ranges import brightness, require_content, unlike_training

RANGES = {"brightness": [[-50, 50], [60, 140], [150, 250]], "long_side_px": [[50, 200]]}


def image(scale=1.0, shape=(1, 100, 80)):
    return np.linspace(0, 200, np.prod(shape)).reshape(shape) * scale


def test_like_them():
    assert unlike_training(image(), None, RANGES) == []


def test_other_values_and_sizes_are_named():
    found = unlike_training(image(20, (1, 400, 80)), None, RANGES)
    assert len(found) == 3
    assert found[0].startswith("the median of the image's values is 2000, far outside the training")
    assert "the picture's longer side is 400 px" in found[2]


def test_other_voxels_are_named():
    ranges = {"spacing_mm": [[0.5, 2], [0.5, 2], [1, 10]]}
    assert unlike_training(image(), (1.0, 1.0, 5.0), ranges) == []
    (found,) = unlike_training(image(), (1.0, 1.0, 12.0), ranges)
    assert found == "the size of a voxel along z is 12 mm, far outside the training images' (1 to 10 mm)"


def test_what_is_left_out_is_not_checked():
    assert unlike_training(image(1e6), None, {}) == []


@pytest.mark.parametrize("ranges", [
    {"colour": [[0, 1]]}, {"brightness": [[1, 0], [0, 1], [0, 1]]}, {"long_side_px": [[1, 2, 3]]},
])  # fmt: skip
def test_faulty_ranges(ranges):
    with pytest.raises(BundleError):
        unlike_training(image(), None, ranges)


def test_nothing_to_see():
    with pytest.raises(UnsuitableError, match="a blank one"):
        require_content(np.full((1, 9, 9), 7.0))
    with pytest.raises(UnsuitableError, match="infinite values or NaN"):
        require_content(np.array([[[0.0, np.nan]]]))


def test_a_sample_tells_the_same_as_the_whole():
    large = np.random.default_rng(0).normal(100, 20, (1, 120, 120, 120))
    assert brightness(large) == pytest.approx(np.percentile(large, (1, 50, 99)), abs=1)
