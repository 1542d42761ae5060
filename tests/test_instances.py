"""A number for each object: components by size, touching ones split, small ones left out."""

import numpy as np
import pytest

from medseg.errors import BundleError
from medseg.instances import InstanceRule, instances, numbered, numbers_of, split
from medseg.volume import Mask, Segments

LABELS = {0: "background", 1: "lesion"}
ROW, COLUMN = np.indices((120, 160))


@pytest.fixture
def lesions():
    """Small, large and middle, the last of two pieces that touch by a corner."""
    array = np.zeros((20, 30), np.uint8)
    array[1:3, 1:3] = array[5:15, 5:15] = array[2:6, 20:24] = array[6:8, 24:26] = 1
    return Mask(array, LABELS)


def disc(row, column, radius):
    return (ROW - row) ** 2 + (COLUMN - column) ** 2 <= radius**2


def ellipse(rows, columns):
    return ((ROW - 60) / rows) ** 2 + ((COLUMN - 80) / columns) ** 2 <= 1


def test_the_largest_first(lesions):
    found = numbered(lesions.array == 1)
    assert [found[at] for at in ((9, 9), (3, 21), (7, 25), (1, 1), (0, 0))] == [1, 2, 2, 3, 0]
    assert found.dtype == np.uint8


def test_equal_ones_stay_in_memory_order():
    array = np.zeros((9, 9, 9), bool)
    for n, at in enumerate([(7, 1, 1), (1, 7, 1), (1, 1, 7), (1, 1, 1)]):
        array[at] = True
        assert numbered(array)[at] == 1, n
    assert [numbered(array)[at] for at in ((1, 1, 1), (1, 1, 7), (1, 7, 1), (7, 1, 1))] == [1, 2, 3, 4]
    assert np.array_equal(numbered(np.asfortranarray(array)), numbered(array))


def test_nothing():
    assert not numbered(np.zeros((3, 3), bool)).any()
    numbers, count = instances(
        Mask(np.zeros((3, 4, 5), np.uint8), LABELS, affine=np.eye(4)), 1, InstanceRule()
    )
    assert (numbers.shape, numbers.any(), count) == ((3, 4, 5), False, 0)


def test_small_components_come_last_and_are_no_instances(lesions):
    numbers, count = instances(lesions, 1, InstanceRule(split_touching=False))
    assert count == 2, "4 px are fewer than a square of 3"
    assert np.bincount(numbers.ravel())[1:].tolist() == [100, 20, 4]
    assert np.array_equal(numbers > 0, lesions.array == 1)


@pytest.mark.parametrize(("least", "count"), [(0, 3), (4, 3), (4.1, 2), (21, 1), (101, 0)])
def test_the_least_area(lesions, least, count):
    assert instances(lesions, 1, InstanceRule(min_px=least, split_touching=False))[1] == count


def test_the_least_volume_goes_by_the_size_of_a_voxel():
    array = np.zeros((9, 9, 9), np.uint8)
    array[1:3, 1:3, 1:3] = array[5:8, 5:8, 5:8] = 1
    mask = Mask(array, LABELS, affine=np.diag([2, 2, 2.5, 1]))  # 10 mm3 a voxel: 0.08 ml and 0.27 ml
    counts = [instances(mask, 1, InstanceRule(min_ml=ml))[1] for ml in (0.08, 0.081, 0.27, 0.271)]
    assert counts == [2, 1, 1, 0]
    assert instances(mask, 1, InstanceRule())[1] == 1, "a cube of 3 voxels"


@pytest.mark.parametrize("least", [-1, float("nan"), "64"])
def test_a_least_size_that_is_none(least):
    with pytest.raises(BundleError, match="instances::min_px"):
        InstanceRule(min_px=least)


class TestSplit:
    @pytest.mark.parametrize("apart", [42, 46, 50])
    def test_two_discs_that_touch(self, apart):
        """Radius 25: the neck is 54% of their width and less. Each part is a half of the whole."""
        both = disc(60, 50, 25) | disc(60, 50 + apart, 25)
        parts = split(both, (1, 1))
        assert parts.max() == 2
        assert np.array_equal(parts > 0, both)
        middle = 50 + apart / 2
        first = parts == parts[60, 50]
        assert (first == (both & (middle > COLUMN)))[np.abs(COLUMN - middle) > 1].all()

    @pytest.mark.parametrize("apart", [38, 30, 20])
    def test_two_discs_in_one_another_are_lobes(self, apart):
        assert split(disc(60, 50, 25) | disc(60, 50 + apart, 25), (1, 1)).max() == 1

    @pytest.mark.parametrize(
        "shape",
        [disc(60, 80, 40), ellipse(20, 70), ellipse(50, 8), disc(60, 80, 55) & ~disc(60, 135, 35)],
        ids=["disc", "ellipse", "upright", "kidney"],
    )
    def test_one_object_stays_one(self, shape):
        assert split(shape, (1, 1)).max() == 1

    def test_a_rough_border_splits_nothing(self):
        rough = disc(60, 80, 30)
        rng = np.random.default_rng(0)
        for angle in rng.uniform(0, 2 * np.pi, 25):
            rough |= disc(60 + 31 * np.sin(angle), 80 + 31 * np.cos(angle), 2)
        assert split(rough, (1, 1)).max() == 1

    def test_a_part_below_the_least_size_stays_with_its_neighbour(self):
        both = disc(60, 60, 30) | disc(60, 99, 9)
        sizes = np.bincount(split(both, (1, 1)).ravel())[1:]
        assert len(sizes) == 2
        assert split(both, (1, 1), least=sizes.min()).max() == 2
        assert split(both, (1, 1), least=sizes.min() + 1).max() == 1

    def test_necks_are_measured_in_mm(self):
        """A voxel twice as high as wide: what is round in mm is not split, whatever it is in voxels."""
        tall = disc(60, 50, 25) | disc(60, 96, 25)
        assert split(tall[::2], (2, 1)).max() == 2
        assert split(disc(60, 80, 40)[::2], (2, 1)).max() == 1

    def test_balls_in_a_volume(self):
        i, j, k = np.indices((24, 24, 44))
        balls = [(i - 12) ** 2 + (j - 12) ** 2 + (k - at) ** 2 <= 100 for at in (12, 30)]
        assert split(balls[0] | balls[1], (1, 1, 1)).max() == 2
        assert split(balls[0], (1, 1, 1)).max() == 1

    def test_in_a_mask_the_parts_are_numbered_by_size(self):
        array = (disc(60, 40, 30) | disc(60, 85, 20) | disc(20, 130, 15)).astype(np.uint8)
        numbers, count = instances(Mask(array, LABELS), 1, InstanceRule())
        assert count == 3
        assert [numbers[at] for at in ((60, 40), (60, 85), (20, 130))] == [1, 2, 3]
        assert np.array_equal(numbers > 0, array > 0)
        assert instances(Mask(array, LABELS), 1, InstanceRule(split_touching=False))[1] == 2


def test_numbers_of_one_category():
    array = np.array([[0, 1, 2, 3, 4]], np.uint8)
    segments = Segments({1: "tissue", 2: "lesion", 3: "cyst", 4: "lesion"}, {"lesion": True, "cyst": True})
    found = numbers_of(Mask(array, {}, segments=segments), "lesion")
    assert found.tolist() == [[0, 0, 1, 0, 2]]
