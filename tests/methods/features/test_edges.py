"""Edges of steps and blobs."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace
from skimage import feature, filters

from medseg.methods.features import FeatureStack

NOISE = {
    2: np.random.default_rng(0).normal(size=(30, 33)).astype(np.float32),
    3: np.random.default_rng(0).normal(size=(14, 15, 16)).astype(np.float32),
}


def computed(names, grey, region=None):
    region = np.ones(grey.shape, bool) if region is None else region
    if isinstance(names, str):
        return FeatureStack([names])(grey[None], region)[0]
    return FeatureStack(names)(grey[None], region)


def disc(radius, size=61, dimensions=2):
    place = np.indices((size,) * dimensions) - size // 2
    return (place**2).sum(axis=0) <= radius**2


@pytest.mark.parametrize("dimensions", [2, 3])
class TestAsTheLibraries:
    def test_gradient(self, dimensions):
        expected = 2 * gaussian_gradient_magnitude(NOISE[dimensions], 2, mode="nearest")
        np.testing.assert_allclose(computed("gradient@2", NOISE[dimensions]), expected, atol=1e-6)

    def test_sobel(self, dimensions):
        expected = filters.sobel(NOISE[dimensions], mode="nearest")
        np.testing.assert_allclose(computed("sobel", NOISE[dimensions]), expected, atol=1e-6)

    def test_laplace(self, dimensions):
        expected = 4 * gaussian_laplace(NOISE[dimensions], 2, mode="nearest", truncate=8)
        inner = (slice(5, -5),) * dimensions  # at the ends, two derivatives meet repeated values twice
        np.testing.assert_allclose(
            computed("laplace@2", NOISE[dimensions])[inner], expected[inner], atol=0.02
        )


def test_canny_as_scikit_image():
    picture = disc(15).astype(np.float32)
    expected = feature.canny(picture, 2, 0.1, 0.2, mode="nearest")
    assert expected.any()
    np.testing.assert_array_equal(computed("canny@2", picture), expected)


@pytest.mark.parametrize("gain", [1, 1000])
def test_canny_finds_the_border_of_a_disc(gain):
    found = computed("canny@2", gain * disc(15).astype(np.float32)) > 0
    row, column = np.nonzero(found)
    assert np.abs(np.hypot(row - 30, column - 30) - 15).max() < 1.5
    assert found.sum() > 60


@pytest.mark.parametrize("name", ["gradient@2", "sobel"])
def test_the_gradient_is_largest_at_the_step(name):
    step = np.zeros((20, 40), np.float32)
    step[:, 20:] = 1
    found = computed(name, step)
    assert set(found.argmax(axis=1)) <= {19, 20}
    assert found[:, :8].max() < 0.01


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_laplacian_peaks_at_the_scale_of_a_blob(dimensions, sign):
    """At radius / sqrt(number of axes): Lindeberg, IJCV 30, 1998."""
    radius = {2: 9, 3: 7}[dimensions]
    blob = sign * disc(radius, {2: 61, 3: 35}[dimensions], dimensions).astype(np.float32)
    scales = np.arange(3, 9, 0.5)
    found = computed([f"laplace@{scale}" for scale in scales], blob)
    at_the_middle = found[(slice(None), *(size // 2 for size in blob.shape))] * -sign
    assert scales[at_the_middle.argmax()] == pytest.approx(radius / np.sqrt(dimensions), abs=0.5)
    assert at_the_middle.max() > 0


@pytest.mark.parametrize("name", ["gradient@2", "sobel", "canny@2", "laplace@2"])
def test_the_border_of_a_round_region_is_no_edge(name):
    """A field of two halves on black has one edge, that between them."""
    row = np.indices((61, 61))[0] - 30
    field = disc(25)
    picture = np.where(field, 5 + (row > 0), -100).astype(np.float32)
    found = np.abs(computed(name, picture, field))
    ring = field & ~disc(20) & (np.abs(row) > 9)
    between = found[28:34, 20:40].max(axis=0).min()
    assert found[ring].max() < 0.02 * between
    assert np.abs(computed(name, picture))[field & ~disc(20)].max() >= between  # without the region
