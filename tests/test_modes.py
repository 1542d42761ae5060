"""The modes: one object, a number for each, stuff and things in one map."""

import numpy as np
import pytest

from medseg.case import Case
from medseg.errors import BundleError, UnsuitableError, UsageError
from medseg.instances import numbers_of
from medseg.measurements import measure_lesions
from medseg.modes import ModeRules, Seed, seed_of
from medseg.pipeline import Segmenter
from medseg.volume import Mask

LESION = {0: "background", 1: "lesion"}
ORGANS = {0: "background", 1: "left", 2: "right"}
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 5.0, -50], [0, 0, 0, 1]])


@pytest.fixture
def picture():
    """Two lesions of 100 and 16 px, and 4 px that are none."""
    array = np.zeros((20, 30), np.uint8)
    array[5:15, 5:15] = array[2:6, 20:24] = array[17:19, 26:28] = 1
    return Case(Mask(array, LESION), np.zeros((1, 20, 30)))


@pytest.fixture
def volume():
    """A left one of 2 x 2 x 4 voxels and a lone voxel, a right one of 2 x 3 x 4 voxels."""
    array = np.zeros((10, 10, 10), np.uint8)
    array[1:3, 1:3, 1:5], array[0, 9, 9], array[6:8, 4:7, 2:6] = 1, 1, 2
    return Case(Mask(array, ORGANS, affine=AFFINE), np.zeros((1, 10, 10, 10)))


def applied(case, mode, seed=None, **rules):
    return ModeRules(case.mask.labels, **rules).apply(case, mode, seed)


def texts(case):
    return [finding.text for finding in case.findings]


def test_semantic_is_as_it_was(picture):
    assert applied(picture, "semantic") is picture


class TestObject:
    def test_the_largest_of_each_label(self, volume):
        found = applied(volume, "object")
        expected = volume.mask.array.copy()
        expected[0, 9, 9] = 0
        assert np.array_equal(found.mask.array, expected)
        assert found.mask.labels == ORGANS
        assert found.segmented is None
        assert texts(found) == ["0.02 ml of other objects left out"]

    @pytest.mark.parametrize(("seed", "px"), [((9, 9), 100), ((2, 20), 16), ((5.4, 23.4), 16), ((18, 27), 4)])
    def test_at_a_seed_in_px(self, picture, seed, px):
        """Also a small one: whoever points at it means it."""
        found = applied(picture, "object", Seed(seed, "px"))
        assert np.count_nonzero(found.mask.array) == px
        assert texts(found) == [f"{120 - px} px of other objects left out"]

    def test_measurements_are_those_of_the_object(self, picture):
        found = measure_lesions(applied(picture, "object", Seed((3, 21), "px")))
        assert found["lesion_count"]["value"] == 1
        assert found["largest_lesion_area_px"]["value"] == found["lesion_area_total_px"]["value"] == 16

    def test_at_a_seed_in_mm(self, volume):
        """RAS+: i and j run the other way, and the voxel's centre is (10 - 2i, 20 - 2j, -50 + 5k)."""
        found = applied(volume, "object", Seed((10 - 2 * 7 + 0.9, 20 - 2 * 5, -50 + 5 * 3), "mm"))
        assert np.array_equal(found.mask.array > 0, volume.mask.array == 2)
        assert found.mask.labels == {0: "background", 2: "right"}, "the rest was not asked for"

    def test_one_of_two_that_touch(self):
        row, column = np.indices((80, 120))
        discs = [(row - 40) ** 2 + (column - at) ** 2 <= 400 for at in (35, 73)]
        case = Case(Mask((discs[0] | discs[1]).astype(np.uint8), LESION), np.zeros((1, 80, 120)))
        found = applied(case, "object", Seed((40, 80), "px")).mask.array
        assert found[40, 73]
        assert not found[40, 35]

    @pytest.mark.parametrize(
        ("seed", "message"),
        [
            (Seed((2, 16), "px"), r"inside lesion; got 2, 16 px, .* nearest is 3\.6 px away"),
            (Seed((20, 3), "px"), "inside the picture, 20 x 30 px; got 20, 3 px"),
            (Seed((-1, 3), "px"), "inside the picture"),
            (Seed((1, 3, 2), "mm"), "a seed in px for a picture"),
        ],
    )
    def test_a_seed_that_hits_nothing(self, picture, seed, message):
        with pytest.raises(UsageError, match=message):
            applied(picture, "object", seed)

    @pytest.mark.parametrize(
        ("seed", "message"),
        [
            (Seed((8, 18, -25), "mm"), r"inside left or right; .* the nearest is 5\.0 mm away"),
            (Seed((0, 0, 0), "mm"), r"x from -8 to 10, y from 2 to 20, z from -50 to -5 mm; got 0, 0, 0 mm"),
            (Seed((2, 2), "px"), "a seed in mm for a volume"),
        ],
    )
    def test_in_a_volume(self, volume, seed, message):
        with pytest.raises(UsageError, match=message):
            applied(volume, "object", seed)

    def test_nothing_there(self):
        case = Case(Mask(np.zeros((4, 5), np.uint8), LESION), np.zeros((1, 4, 5)))
        assert not applied(case, "object").mask.array.any()
        with pytest.raises(UsageError, match="nothing was found in this image"):
            applied(case, "object", Seed((1, 1), "px"))


@pytest.mark.parametrize(
    ("mode", "px", "mm", "message"),
    [
        ("instance", (1, 2), None, "with the mode object; got mode instance"),
        ("object", (1, 2), (1, 2, 3), "one seed"),
        ("object", (1, 2, 3), None, "row and column in px"),
        ("object", None, (1, 2, float("nan")), "x, y and z in mm"),
    ],
)
def test_seeds_that_are_refused(mode, px, mm, message):
    with pytest.raises(UsageError, match=message):
        seed_of(mode, px, mm)


class TestInstance:
    def test_names_notes_and_union(self, picture):
        found = applied(picture, "instance")
        assert found.segmented.labels == {0: "background", 1: "lesion_1", 2: "lesion_2"}
        assert found.segmented.segments.category == {1: "lesion", 2: "lesion"}
        assert found.segmented.segments.is_thing == {"lesion": True}
        assert found.segmented.array.dtype == np.uint8
        assert np.bincount(found.segmented.array.ravel())[1:].tolist() == [100, 16]
        assert texts(found) == ["lesion: 1 small component (4 px in all) without a number"]
        assert found.mask is picture.mask, "it is the labels that are measured"
        lost = (picture.mask.array > 0) & (found.segmented.array == 0)
        assert np.argwhere(lost).tolist() == [[17, 26], [17, 27], [18, 26], [18, 27]]

    def test_several_labels_of_a_volume(self, volume):
        found = applied(volume, "instance", instances={"min_ml": 0.1})
        assert found.segmented.labels == {0: "background", 1: "left_1", 2: "right_1"}
        assert np.array_equal(found.segmented.affine, AFFINE)
        assert [found.segmented.array[at] for at in ((1, 1, 1), (6, 4, 2), (0, 9, 9))] == [1, 2, 0]
        assert texts(found) == ["left: 1 small component (0.02 ml in all) without a number"]

    def test_the_numbers_are_those_of_the_measurements(self):
        """Where two lesions touch, the list has both."""
        row, column = np.indices((80, 160))
        array = np.zeros((80, 160), np.uint8)
        for at, radius in ((35, 20), (73, 20), (130, 12)):
            array[(row - 40) ** 2 + (column - at) ** 2 <= radius**2] = 1
        case = Case(Mask(array, LESION), np.zeros((1, 80, 160)))
        found = applied(case, "instance")
        sizes = np.bincount(found.segmented.array.ravel())[1:].tolist()
        measured = measure_lesions(found)["lesions"]["value"]
        assert [lesion["area_px"] for lesion in measured] == sizes
        assert len(sizes) == 3
        assert measure_lesions(case)["lesion_count"]["value"] == 2

    @pytest.mark.parametrize(("side", "bits"), [(40, np.uint16), (30, np.uint8)])
    def test_the_smallest_type_that_holds(self, side, bits):
        array = np.zeros((side, side), np.uint8)
        array[::2, ::2] = 1
        case = Case(Mask(array, LESION), np.zeros((1, side, side)))
        found = applied(case, "instance", instances={"min_px": 1}).segmented
        assert found.array.dtype == bits
        assert found.array.max() == len(found.labels) - 1 == (side // 2) ** 2

    def test_more_than_sixteen_bits_hold(self):
        array = np.zeros((514, 514), np.uint8)
        array[::2, ::2] = 1
        case = Case(Mask(array, LESION), np.zeros((1, 514, 514)))
        with pytest.raises(UnsuitableError, match="66049"):
            applied(case, "instance", instances={"min_px": 1})
        assert not applied(case, "instance").segmented.array.any(), "single px are no instances"


class TestPanoptic:
    def test_every_voxel_once(self, volume):
        """Stuff first, then what lies in it."""

        def core(case):
            found = np.zeros(case.mask.array.shape, np.uint8)
            found[6, 5, 3:5], found[1, 1, 1] = 1, 2
            return found

        rules = {"stuff": ["left", "right"], "things": {"dense": core}}
        found = applied(volume, "panoptic", panoptic=rules).segmented
        assert found.labels == {0: "background", 1: "left", 2: "right", 3: "dense_1", 4: "dense_2"}
        assert found.segments.category == {1: "left", 2: "right", 3: "dense", 4: "dense"}
        assert found.segments.is_thing == {"left": False, "right": False, "dense": True}
        assert np.bincount(found.array.ravel())[1:].tolist() == [17 - 1, 24 - 2, 2, 1]
        assert np.array_equal(found.array > 0, volume.mask.array > 0)

    def test_background_as_stuff(self, picture):
        seen = np.zeros((20, 30), bool)
        seen[2:] = True
        case = Case(picture.mask, picture.image, field_of_view=seen)
        found = applied(case, "panoptic", panoptic={"stuff": ["background"]})
        assert found.segmented.labels == {0: "void", 1: "background", 2: "lesion_1", 3: "lesion_2"}
        assert found.segmented.segments.is_thing == {"lesion": True, "background": False}
        array = found.segmented.array
        assert not array[:2].any(), "what was not analysed is void"
        assert (array[2:] == 0).sum() == 4, "and so is a component without a number"
        assert numbers_of(found.segmented, "lesion").max() == 2
        assert texts(found) == ["lesion: 1 small component (4 px in all) without a number"]

    def test_without_rules_all_are_things(self, volume):
        found = applied(volume, "panoptic").segmented
        assert found.labels == {0: "background"}, "16 and 24 voxels are fewer than a cube of 3"
        assert found.segments.is_thing == {"left": True, "right": True}

    def test_things_of_a_label_are_found_otherwise(self, picture):
        def halves(case):
            return case.mask.array * (1 + (np.indices(case.mask.array.shape)[1] > 9))

        found = applied(picture, "panoptic", panoptic={"things": {"lesion": halves}}).segmented
        assert found.labels == {0: "background", 1: "lesion_1", 2: "lesion_2"}
        assert np.bincount(found.array.ravel())[1:].tolist() == [50, 50 + 16 + 4]

    def test_stuff_without_a_voxel_is_no_segment(self, volume):
        volume.mask.array[volume.mask.array == 1] = 0
        found = applied(volume, "panoptic", panoptic={"stuff": ["left", "right"]}).segmented
        assert found.labels == {0: "background", 1: "right"}
        assert list(found.segments.is_thing) == ["left", "right"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"instances": {"min_pixels": 3}}, "instances of min_px, min_ml, split_touching; got min_pixels"),
        ({"panoptic": {"stuf": []}}, "panoptic of stuff, things; got stuf"),
        ({"panoptic": {"stuff": ["liver"]}}, "panoptic::stuff of background, lesion; got liver"),
    ],
)
def test_rules_that_are_misspelt(rules, message):
    with pytest.raises(BundleError, match=message):
        ModeRules(LESION, **rules)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("task", "shape", "is_thing"),
    [
        ("breast_ultrasound", (9, 9), {"lesion": True, "background": False}),
        ("retinal_vessel", (9, 9), {"vessel": True}),
        (
            "lung_ct",
            (9, 9, 9),
            {"left_lung": False, "right_lung": False, "airway": False, "dense_region": True},
        ),
    ],
)
def test_the_rules_of_the_bundles(task, shape, is_thing):
    """They resolve, an empty mask passes through, and the categories' numbers are those of the labels."""
    segmenter = Segmenter(task, "cpu")
    rules, labels = segmenter._build_result.rules, segmenter.labels
    affine = np.eye(4) if len(shape) == 3 else None
    case = Case(Mask(np.zeros(shape, np.uint8), labels, affine=affine), np.zeros((1, *shape)))
    assert rules.apply(case, "panoptic").segmented.segments.is_thing == is_thing
    assert list(is_thing)[: len(labels) - 1] == [name for value, name in labels.items() if value]
