"""Dark and bright lines, tubes and blobs."""

import numpy as np
import pytest
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from skimage.filters import frangi, sato

from medseg.methods.features import FeatureStack

NOISE = {
    2: np.random.default_rng(0).normal(size=(40, 37)).astype(np.float32),
    3: np.random.default_rng(0).normal(size=(14, 15, 16)).astype(np.float32),
}


def computed(names, grey, region=None, spacing=1.0):
    names = [names] if isinstance(names, str) else names
    region = np.ones(grey.shape, bool) if region is None else region
    return FeatureStack(names, spacing)(grey[None], region).squeeze()


def line(width, dimensions=2, size=41):
    """1 on a line along the first axis, else 0."""
    place = np.indices((size,) * dimensions)[1:] - size // 2
    return ((place**2).sum(axis=0) <= (width / 2) ** 2).astype(np.float32)


def blob(radius, dimensions=2, size=41):
    return (((np.indices((size,) * dimensions) - size // 2) ** 2).sum(axis=0) <= radius**2).astype(np.float32)


@pytest.mark.parametrize("dimensions", [2, 3])
class TestAsScikitImage:
    def test_eigenvalues(self, dimensions):
        hessian = hessian_matrix(NOISE[dimensions], 2.0, mode="nearest", use_gaussian_derivatives=True)
        expected = 4 * hessian_matrix_eigvals(hessian)
        found = computed(["hessian_largest@2", "hessian_smallest@2"], NOISE[dimensions])
        np.testing.assert_allclose(found, expected[[0, -1]], atol=1e-5)
        if dimensions == 3:
            found = computed("hessian_middle@2", NOISE[3])
            np.testing.assert_allclose(found, expected[1], atol=1e-5)

    @pytest.mark.parametrize(("name", "black"), [("dark_vesselness", True), ("bright_vesselness", False)])
    def test_frangi(self, dimensions, name, black):
        expected = frangi(NOISE[dimensions], sigmas=[2.0], black_ridges=black, mode="nearest")
        found = computed(f"{name}@2", NOISE[dimensions])
        assert expected.max() > 0.2
        np.testing.assert_allclose(found, expected, atol=1e-3)  # scikit-image keeps a rest of other lines

    @pytest.mark.parametrize(("name", "black"), [("dark_ridge", True), ("bright_ridge", False)])
    def test_sato(self, dimensions, name, black):
        expected = sato(NOISE[dimensions], sigmas=[2.0], black_ridges=black, mode="nearest")
        assert expected.max() > 0.1
        np.testing.assert_allclose(computed(f"{name}@2", NOISE[dimensions]), expected, atol=1e-5)

    def test_a_small_scale(self, dimensions):
        """scikit-image convolves with much wider kernels then; the values are the same."""
        expected = sato(NOISE[dimensions], sigmas=[0.8], mode="nearest")
        np.testing.assert_allclose(computed("dark_ridge@0.8", NOISE[dimensions]), expected, atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kind", ["vesselness", "ridge"])
class TestLines:
    def test_dark_and_bright(self, dimensions, kind):
        bright, middle = line(3, dimensions), (20,) * dimensions
        found = {sign: computed([f"dark_{kind}@2", f"bright_{kind}@2"], sign * bright) for sign in (1, -1)}
        assert found[1][1][middle] > 0.2
        assert found[1][0][middle] == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(found[-1], found[1][::-1], atol=1e-6)

    def test_a_blob_is_less_of_a_line(self, dimensions, kind):
        middle = (20,) * dimensions
        of_line = computed(f"bright_{kind}@2", line(5, dimensions))[middle]
        of_blob = computed(f"bright_{kind}@2", blob(2.5, dimensions))[middle]
        assert kind == "ridge" or of_blob < 0.5 * of_line


def test_a_plate_is_no_vessel_in_3d():
    plate = np.zeros((41, 41, 41), np.float32)
    plate[19:22] = 1
    assert computed("bright_vesselness@2", plate)[20, 20, 20] < 0.01
    assert computed("bright_ridge@2", plate)[20, 20, 20] < 0.01


@pytest.mark.parametrize(("dimensions", "width"), [(2, 6), (3, 6)])
def test_the_ridge_peaks_at_the_scale_of_the_line(dimensions, width):
    """A bar of width w at w / (2 sqrt(2 / 2)) = w / 2, a tube of diameter d at d / (2 sqrt(2))."""
    scales = np.arange(1, 5, 0.5)
    found = computed([f"bright_ridge@{scale}" for scale in scales], line(width, dimensions, 31))
    best = scales[found[(slice(None), *(15,) * dimensions)].argmax()]
    expected = width / 2 if dimensions == 2 else width / (2 * np.sqrt(2))
    assert best == pytest.approx(expected, abs=0.5)


def test_a_scale_is_in_mm():
    np.testing.assert_allclose(
        computed("bright_ridge@3", line(4, 3), spacing=1.5), computed("bright_ridge@2", line(4, 3)), atol=1e-6
    )


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("kind", ["vesselness", "ridge"])
@pytest.mark.parametrize(("polarity", "sign"), [("bright", 1), ("dark", -1)])
def test_no_vessels_along_the_border_of_a_round_field_of_view(polarity, sign, kind, scale):
    """A field with one vessel lies on black, which is a strong edge, or a dark one on white."""
    row, column = np.indices((121, 121)) - 60
    field = np.hypot(row, column) < 52
    picture = sign * np.where(field, 10 + 0.02 * row + (np.abs(column) < 2), 0).astype(np.float32)
    found = computed(f"{polarity}_{kind}@{scale}", picture, field)
    ring = field & (np.hypot(row, column) > 44) & (np.abs(column) > 16)
    vessel = found[40:80, 60].mean()
    assert vessel > 0.1
    assert found[ring].max() < 0.12 * vessel
    naive = computed(f"{polarity}_{kind}@{scale}", picture)  # without the region
    assert naive[ring].max() > 2 * naive[40:80, 60].mean()
