"""The stack: names to features, and what holds for every feature."""

import numpy as np
import pytest
from doc_pages import ROOT, rows

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.features import FeatureStack, standardised
from medseg.methods.features.catalogue import FEATURES

RNG = np.random.default_rng(0)
NOISE = {2: RNG.normal(size=(3, 40, 37)).astype(np.float32), 3: RNG.normal(size=(1, 17, 18, 19))}


def example(feature):
    return f"{feature.name}@2" if feature.scaled else feature.name


def cases():
    """Each feature in each of its dimensions, with an image that has the channels it needs."""
    return [
        pytest.param(example(feature), dimensions, id=f"{feature.name} in {dimensions}D")
        for feature in FEATURES.values()
        for dimensions in feature.dimensions
    ]


def computed(name, image, region=None):
    everywhere = np.ones(image.shape[1:], bool)
    image = image.astype(np.float32)
    return FeatureStack([name], grey=0)(image, everywhere if region is None else region)[0]


def middle(shape):
    """A region that is round, or a ball."""
    place = np.indices(shape).reshape(len(shape), *shape)
    centre = np.reshape([(size - 1) / 2 for size in shape], (-1, *(1,) * len(shape)))
    return ((place - centre) ** 2).sum(axis=0) < (min(shape) / 2.5) ** 2


class TestEveryFeature:
    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_numbers_inside_and_0_outside(self, name, dimensions):
        image = NOISE[dimensions]
        region = middle(image.shape[1:])
        found = computed(name, image, region)
        assert found.dtype == np.float32
        assert found.shape == image.shape[1:]
        assert np.isfinite(found).all()
        assert not found[~region].any()
        assert np.ptp(found[region]) > 0 or name.startswith("canny")  # white noise has no edges

    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_what_lies_outside_has_no_influence(self, name, dimensions):
        image = NOISE[dimensions]
        region = middle(image.shape[1:])
        other = np.where(region, image, 1000 * np.abs(image))
        np.testing.assert_array_equal(computed(name, image, region), computed(name, other, region))

    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_a_constant_image(self, name, dimensions):
        image = np.full_like(NOISE[dimensions], 3.7)
        found = computed(name, image)
        assert np.isfinite(found).all()
        if name.partition("@")[0] not in {"intensity", "gaussian", "local_mean", *OF_A_CONSTANT}:
            assert not found.any()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_a_few_pixels(self, name, dimensions, shape):
        image = np.random.default_rng(1).normal(
            size=(len(NOISE[dimensions]), *shape, *(1,) * (dimensions - 2))
        )
        assert np.isfinite(computed(name, image)).all()

    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_a_region_of_one_pixel(self, name, dimensions):
        image = NOISE[dimensions]
        region = np.zeros(image.shape[1:], bool)
        region[(5,) * dimensions] = True
        assert np.isfinite(computed(name, image, region)).all()

    @pytest.mark.parametrize(("name", "dimensions"), cases())
    def test_no_numbers_and_no_region_are_errors(self, name, dimensions):
        image = NOISE[dimensions].copy()
        with pytest.raises(UnsuitableError, match="region"):
            computed(name, image, np.zeros(image.shape[1:], bool))
        image[(0,) * image.ndim] = np.nan
        with pytest.raises(UnsuitableError, match="finite"):
            computed(name, image)

    def test_a_feature_is_the_same_alone_and_among_others(self):
        for dimensions, image in NOISE.items():
            names = [example(f) for f in FEATURES.values() if dimensions in f.dimensions]
            if dimensions == 3:
                names = [name for name in names if FEATURES[name.partition("@")[0]].channels is None]
            region = middle(image.shape[1:])
            together = FeatureStack(names, grey=0)(image.astype(np.float32), region)
            for name, found in zip(names, together, strict=True):
                np.testing.assert_array_equal(found, computed(name, image, region), err_msg=name)

    def test_names_are_in_snake_case_and_summaries_are_one_line(self):
        for name, feature in FEATURES.items():
            assert name == feature.name
            assert name.isidentifier()
            assert name.islower()
            assert "\n" not in feature.summary


# The features of place and shape, and those that are channels, have values in a constant image too.
OF_A_CONSTANT = {
    *("red", "green", "blue", "lbp", "distance", "row", "column", "depth", "i", "j", "k"),
    *(name for name in FEATURES if name.startswith("superpixel_")),
}


class TestSpacing:
    """A smooth image sampled at half the spacing has the same features at the same places."""

    @pytest.mark.parametrize(
        ("name", "tolerance"),
        [
            *(
                ("intensity", 0),
                ("gaussian@4", 0.01),
                ("gradient@4", 0.02),
                ("sobel", 0.02),
                ("laplace@4", 0.02),
            ),
            *(("hessian_largest@4", 0.02), ("hessian_smallest@4", 0.02), ("dark_vesselness@4", 0.03)),
            *(("bright_vesselness@4", 0.03), ("dark_ridge@4", 0.02), ("bright_ridge@4", 0.02)),
            *(("local_mean@4", 0.03), ("local_std@4", 0.08), ("black_tophat@6", 0.06)),
            *(("white_tophat@6", 0.06), ("coherence@4", 0.03), ("distance", 0.06)),
        ],
    )
    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_half_the_spacing(self, name, tolerance, dimensions):
        size = {2: 60, 3: 24}[dimensions]
        coarse, fine = (self._waves(size, spacing, dimensions) for spacing in (1.0, 0.5))
        one = FeatureStack([name], spacing=1.0)(coarse, np.ones(coarse.shape[1:], bool))[0]
        two = FeatureStack([name], spacing=0.5)(fine, np.ones(fine.shape[1:], bool))[0]
        at = (slice(None, None, 2),) * dimensions
        away = (slice(size // 4, -(size // 4)),) * dimensions  # from the image's ends
        error = np.abs(one - two[at])[away]
        assert error.mean() <= tolerance * max(np.ptp(one[away]), 1e-9)

    @staticmethod
    def _waves(size, spacing, dimensions):
        place = np.indices((round(size / spacing),) * dimensions) * spacing
        return np.sin(place[0] / 5)[None].astype(np.float32) * np.cos(place[1] / 7).astype(np.float32)

    def test_a_scale_is_in_mm(self):
        image = NOISE[3].astype(np.float32)
        region = np.ones(image.shape[1:], bool)
        in_mm = FeatureStack(["gaussian@3"], spacing=1.5)(image, region)
        in_voxels = FeatureStack(["gaussian@2"])(image, region)
        np.testing.assert_array_equal(in_mm, in_voxels)


class TestNames:
    @pytest.mark.parametrize(
        ("names", "match"),
        [
            ([], "named once"),
            (["sobel", "sobel"], "named once"),
            (["sobell"], "Did you mean sobel"),
            (["gradient"], "gradient@2"),
            (["gradient@"], "gradient@2"),
            (["gradient@0"], "gradient@2"),
            (["gradient@-1"], "gradient@2"),
            (["gradient@nan"], "gradient@2"),
            (["gradient@inf"], "gradient@2"),
            (["gradient@two"], "gradient@2"),
            (["sobel@2"], "such as sobel"),
            (["sobel@"], "such as sobel"),
        ],
    )
    def test_wrong_names(self, names, match):
        with pytest.raises(UsageError, match=match):
            FeatureStack(names)

    def test_a_feature_of_pictures_in_a_volume(self):
        with pytest.raises(UnsuitableError, match="2 axes for the feature lbp"):
            computed("lbp@1", NOISE[3])

    def test_colours_of_a_grey_picture(self):
        with pytest.raises(UnsuitableError, match="3 channels for the feature hue"):
            computed("hue", NOISE[2][:1])

    def test_the_grey_channel(self):
        region = np.ones(NOISE[2].shape[1:], bool)
        np.testing.assert_array_equal(FeatureStack(["intensity"], grey=1)(NOISE[2], region)[0], NOISE[2][1])
        mean = FeatureStack(["intensity"])(NOISE[2], region)[0]
        np.testing.assert_allclose(mean, NOISE[2].mean(axis=0))


def test_standardised_features():
    region = middle((40, 37))
    features = np.stack([NOISE[2][0] * 7 + 3, np.full((40, 37), 5.0)])
    found = standardised(features, region)
    assert found[0][region].mean() == pytest.approx(0, abs=1e-5)
    assert found[0][region].std() == pytest.approx(1, abs=1e-5)
    assert not found[1].any()


def test_the_page_lists_every_feature():
    listed = rows(ROOT / "docs" / "ladder" / "features.md", "feature")
    expected = {f"{f.name}@SCALE" if f.scaled else f.name: f for f in FEATURES.values()}
    assert list(listed) == list(expected)
    for name, feature in expected.items():
        axes = ", ".join(f"{number}D" for number in feature.dimensions)
        assert [cell.strip() for cell in listed[name][1:3]] == [axes, feature.summary]
