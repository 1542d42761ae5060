"""Textures of known kinds."""

import warnings

import numpy as np
import pytest
from scipy.stats import entropy
from skimage.feature import local_binary_pattern, structure_tensor, structure_tensor_eigenvalues

from medseg.methods.features import FeatureStack

NOISE = np.random.default_rng(0).normal(size=(40, 37)).astype(np.float32)


def computed(name, grey, region=None):
    return FeatureStack([name])(grey[None], np.ones(grey.shape, bool) if region is None else region)[0]


class TestLocalBinaryPattern:
    def test_as_scikit_image(self):
        low, high = np.percentile(NOISE, (1, 99))
        levels = np.round(255 * np.clip((NOISE - low) / (high - low), 0, 1)).astype(np.uint8)
        expected = local_binary_pattern(levels, 8, 2, method="uniform")[3:-3, 3:-3]
        found = computed("lbp@2", NOISE)[3:-3, 3:-3]
        assert (found == expected).mean() > 0.99  # a level may be rounded the other way
        assert np.array_equal(np.unique(found), range(10))

    def test_light_and_contrast_change_nothing(self):
        assert (computed("lbp@1", 40 * NOISE - 1000) == computed("lbp@1", NOISE)).mean() > 0.99

    def test_turned_by_a_quarter(self):
        np.testing.assert_array_equal(computed("lbp@2", np.rot90(NOISE)), np.rot90(computed("lbp@2", NOISE)))

    def test_the_ends_of_the_image_are_no_pattern(self):
        step = np.zeros((12, 12), np.float32)
        step[:, 6:] = 1
        found = computed("lbp@1", step)
        np.testing.assert_array_equal(found, np.broadcast_to(found[5], (12, 12)))


class TestEntropy:
    @pytest.mark.parametrize("levels", [2, 4])
    def test_of_evenly_frequent_levels(self, levels):
        """The logarithm of their number, in bits."""
        picture = np.random.default_rng(0).integers(levels, size=(60, 60)).astype(np.float32)
        assert computed("entropy@15", picture)[30, 30] == pytest.approx(np.log2(levels), abs=0.02)

    def test_of_the_pixels_in_the_region_alone(self):
        picture = np.random.default_rng(0).integers(2, size=(30, 30)).astype(np.float32)
        region = np.zeros((30, 30), bool)
        region[:, 15:] = True
        found = computed("entropy@3", picture, region)
        row, column = np.indices((30, 30))
        near = region & ((row - 15) ** 2 + (column - 15) ** 2 <= 9)
        assert found[15, 15] == pytest.approx(
            entropy(np.bincount(picture[near].astype(int)), base=2), abs=1e-5
        )

    def test_in_a_volume(self):
        volume = np.zeros((16, 16, 16), np.float32)
        volume[:8] = np.random.default_rng(0).integers(4, size=(8, 16, 16))
        found = computed("entropy@3", volume)
        assert found[3, 8, 8] > 1.8
        assert found[13, 8, 8] == 0


class TestCoherence:
    @pytest.mark.parametrize("shape", [(30, 33), (14, 15, 16)])
    def test_from_the_structure_tensor_of_scikit_image(self, shape):
        picture = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        falling = structure_tensor_eigenvalues(structure_tensor(picture, 2, mode="nearest"))
        expected = (falling[0] - falling[-1]) / (falling[0] + falling[-1])
        # scikit-image smooths in a window of 4 standard deviations, and so does SciPy
        np.testing.assert_allclose(computed("coherence@2", picture), expected, atol=1e-4)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_stripes_are_coherent_and_noise_is_not(self, dimensions):
        shape = (24,) * dimensions
        stripes = np.sin(np.indices(shape).sum(axis=0) / 2).astype(np.float32)
        noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        middle = (slice(8, 16),) * dimensions
        assert computed("coherence@3", stripes)[middle].min() > 0.95
        assert computed("coherence@3", noise)[middle].mean() < 0.5


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("lbp@2", "entropy@2", "coherence@2"):
            computed(name, NOISE)
