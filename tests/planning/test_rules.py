"""What is proposed follows from what was measured."""

from dataclasses import replace

import pytest

from medseg.planning.figures import ClassFigures, Intensity
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import propose


def same(value):
    return (value, value, value)


def organ(value=1, name="organ", volume_ml=(100.0,) * 3, share=(0.02,) * 3, brighter=0.95):
    return ClassFigures(value, name, 20, same(1000.0), volume_ml, share, same(1.0), 1.0, (brighter,))


CT = Fingerprint(
    name="organs", description="phantoms", cases=20, subjects=20,
    items={"training": 16, "validation": 4, "test": 5}, dimensions=3, channels=1, modality="CT",
    labels={0: "background", 1: "organ"}, shape=(same(200.0), same(160.0), same(100.0)),
    spacing_mm=(same(1.5), same(1.5), same(2.0)), one_size=True, anisotropy=1.33,
    median_size_mm=(300.0, 240.0, 200.0), foreground=(Intensity(100.0, 30.0, 20.0, 200.0),),
    threshold=(70.0,), brightness=((-1050.0, -1000.0, -990.0), (-200.0, -100.0, 0.0), (200.0, 300.0, 400.0)),
    zeros=0.0, foreground_share=same(0.02), empty_masks=0, classes=(organ(),),
)  # fmt: skip
PICTURES = replace(
    CT, dimensions=2, modality=None, shape=(same(600.0), same(800.0)), spacing_mm=None, median_size_mm=None,
    channels=1, classes=(organ(volume_ml=None),),
)  # fmt: skip


def value_of(plan, name):
    return next(choice for choice in plan.choices if choice.name == name)


def test_each_value_has_a_reason():
    plan = propose(CT)
    names = [choice.name for choice in plan.choices]
    assert names == [
        "spacing", "patch", "batch", "halvings", "channels", "normalisation", "mirroring", "epochs", "split",
        "untrained methods",
    ]  # fmt: skip
    assert all(choice.value and choice.reason for choice in plan.choices)


class TestSpacing:
    def test_the_median(self):
        small = replace(CT, median_size_mm=(150.0, 150.0, 150.0))
        assert propose(small).spacing_mm == (1.5, 1.5, 2.0)

    def test_thick_slices_take_the_lowest(self):
        """nnU-Net: where the spacing is more than three times that of the others, and the slices are few."""
        thick = replace(
            CT, shape=(same(100.0), same(100.0), same(20.0)), median_size_mm=(100.0, 100.0, 120.0),
            spacing_mm=(same(1.0), same(1.0), (3.0, 6.0, 7.0)),
        )  # fmt: skip
        assert propose(thick).spacing_mm == (1.0, 1.0, 3.0)

    def test_large_images_get_a_coarser_grid(self):
        large = replace(
            CT, spacing_mm=(same(0.7), same(0.7), same(1.0)), shape=(same(512.0), same(512.0), same(400.0)),
            median_size_mm=(358.0, 358.0, 400.0),
        )  # fmt: skip
        plan = propose(large)
        assert min(plan.spacing_mm) > 1.5
        assert "coarser" in value_of(plan, "spacing").reason
        nodule = replace(large, classes=(organ(volume_ml=same(0.5)),))  # a ball of 10 mm
        assert max(propose(nodule).spacing_mm) <= 1.3


class TestNormalisation:
    def test_ct(self):
        plan = propose(CT)
        assert plan.normalisation == "ct"
        assert "20 to 200 HU" in value_of(plan, "normalisation").value

    def test_each_image_by_itself(self):
        assert propose(replace(CT, modality="MR")).normalisation == "image"
        assert propose(replace(CT, modality=None)).normalisation == "image"
        assert propose(PICTURES).normalisation == "image"

    def test_without_its_zeros(self):
        assert propose(replace(CT, modality="MR", zeros=0.4)).normalisation == "nonzero"

    def test_pictures_of_a_ct_are_not_in_hounsfield_units(self):
        assert propose(replace(PICTURES, modality="CT")).normalisation == "image"


@pytest.mark.parametrize("name", ["left_kidney", "kidney right", "Lung L", "eye_l"])
def test_what_has_sides_is_not_mirrored(name):
    both = replace(CT, labels={0: "background", 1: name})
    assert propose(both).mirrored == (1, 2)
    assert propose(replace(PICTURES, labels=both.labels)).mirrored == (0,)


@pytest.mark.parametrize("name", ["cleft", "bright_spot", "liver", "gall"])
def test_what_has_none_is(name):
    assert propose(replace(CT, labels={0: "background", 1: name})).mirrored == (0, 1, 2)


class TestSplit:
    def test_the_manifests_own(self):
        assert propose(CT).fold is None

    @pytest.mark.parametrize(("subjects", "folds"), [(20, 5), (3, 3), (2, 2)])
    def test_folds_where_there_is_no_validation(self, subjects, folds):
        items = {"training": 20, "validation": 0, "test": 0}
        plan = propose(replace(CT, items=items, subjects=subjects))
        assert plan.fold == (0, folds)
        assert f"--folds {folds}" in value_of(plan, "split").reason


class TestPictures:
    def test_a_square(self):
        plan = propose(PICTURES)
        assert plan.spacing_mm is None
        assert plan.size_px == 384
        assert plan.network.patch == (384, 384)
        assert plan.strides[0] == (1, 1)
        assert len(plan.channels) == len(plan.strides) + 1

    def test_small_ones_are_not_enlarged(self):
        """But to the next side that can be halved four times."""
        assert propose(replace(PICTURES, shape=(same(120.0), same(100.0)))).size_px == 128

    def test_small_structures_get_a_larger_square_and_windows(self):
        plan = propose(replace(PICTURES, classes=(organ(volume_ml=None, share=same(0.0002)),)))
        assert 384 < plan.size_px <= 1024
        assert plan.network.patch == (384, 384)


class TestUntrainedMethods:
    def test_brighter_or_darker(self):
        assert propose(CT).order == "highest"
        assert propose(replace(CT, classes=(organ(brighter=0.1),))).order == "lowest"

    def test_none_where_brightness_tells_nothing(self):
        plan = propose(replace(CT, classes=(organ(brighter=0.6),)))
        assert plan.order is None
        assert value_of(plan, "untrained methods").value == "none"

    def test_none_of_several_labels(self):
        labels = {0: "background", 1: "one", 2: "other"}
        assert propose(replace(CT, labels=labels, classes=(organ(), organ(2, "other")))).order is None


def test_ranges_hold_the_data_set():
    plan = propose(CT)
    for (low, high), part in zip(plan.ranges["brightness"], CT.brightness, strict=True):
        assert low < part[0] <= part[2] < high
    assert plan.ranges["spacing_mm"] == [[0.75, 3.0], [0.75, 3.0], [1.0, 4.0]]
    assert plan.plausible == {"organ_volume_ml": [50.0, 200.0]}
    assert propose(PICTURES).ranges["long_side_px"] == [[400.0, 1600.0]]
    assert propose(PICTURES).plausible == {"organ_area_fraction": [0.01, 0.04]}


def test_steps_are_as_many_whatever_the_number_of_cases():
    for cases in (2, 16, 500):
        plan = propose(replace(CT, items={"training": cases, "validation": 2, "test": 0}))
        steps = cases * plan.repeats // plan.batch_size
        assert plan.epochs[0] * steps == pytest.approx(2500, rel=0.2)
        assert plan.epochs[1] > plan.epochs[0]
