"""Filters of an image's values, against the libraries and on phantoms."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter, median_filter
from skimage.exposure import equalize_adapthist
from skimage.restoration import denoise_bilateral, denoise_nl_means

from medseg.errors import UnsuitableError, UsageError
from medseg.transforms import (
    AnisotropicDiffusiond,
    BilateralFilterd,
    GaussianFilterd,
    LocalEqualizationd,
    MedianFilterd,
    NonLocalMeansd,
)

FILTERS = [
    AnisotropicDiffusiond,
    BilateralFilterd,
    GaussianFilterd,
    LocalEqualizationd,
    MedianFilterd,
    NonLocalMeansd,
]
DENOISING = [kind for kind in FILTERS if kind is not LocalEqualizationd]
OF_VOLUMES = [kind for kind in FILTERS if kind is not BilateralFilterd]
EACH = pytest.mark.parametrize("kind", FILTERS)
NOISE = np.random.default_rng(0).normal(size=(40, 37)).astype(np.float32)


def applied(transform, *channels, region=None):
    image = MetaTensor(torch.as_tensor(np.stack(channels)), meta={"note": "kept"})
    item = {"image": image} | ({} if region is None else {"region": torch.as_tensor(region[None])})
    found = transform(item)["image"]
    assert found.meta["note"] == "kept"
    assert found.dtype == torch.float32
    return found.numpy()


def disc(shape, radius):
    place = np.indices(shape).reshape(len(shape), -1) - np.reshape([s // 2 for s in shape], (-1, 1))
    return ((place**2).sum(axis=0) < radius**2).reshape(shape)


class TestEachFilter:
    @EACH
    def test_channels_are_filtered_one_by_one(self, kind):
        both = applied(kind("image"), NOISE, 5 * NOISE[::-1] + 2)
        np.testing.assert_array_equal(both[0], applied(kind("image"), NOISE)[0])
        assert np.ptp(both[1]) > 0

    @EACH
    def test_gain_and_offset_are_kept(self, kind):
        plain = applied(kind("image"), NOISE)[0]
        changed = applied(kind("image"), 50 * NOISE + 1000)[0]
        np.testing.assert_allclose(changed, 50 * plain + 1000, atol=0.2)

    @EACH
    def test_what_lies_outside_has_no_influence_and_stays(self, kind):
        region = disc(NOISE.shape, 15)
        transform = kind("image", region_key="region")
        one, two = np.where(region, NOISE, 0), np.where(region, NOISE, -999)
        first, second = (
            applied(transform, image.astype(np.float32), region=region)[0] for image in (one, two)
        )
        np.testing.assert_array_equal(first[region], second[region])
        np.testing.assert_array_equal(second[~region], -999)
        assert not np.array_equal(first[region], NOISE[region])

    @EACH
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
    def test_other_types_of_values(self, kind, dtype):
        values = np.random.default_rng(0).integers(0, 200, (20, 21)).astype(dtype)
        expected = applied(kind("image"), values.astype(np.float32))
        np.testing.assert_array_equal(applied(kind("image"), values), expected)

    @EACH
    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (30, 30)])
    def test_a_constant_image_stays(self, kind, shape):
        image = np.full(shape, 3.7, np.float32)
        np.testing.assert_array_equal(applied(kind("image"), image)[0], image)

    @EACH
    def test_a_few_pixels(self, kind):
        found = applied(kind("image"), np.array([[1, 5, 2]], np.float32))[0]
        assert np.isfinite(found).all()
        assert found.min() >= 1
        assert found.max() <= 5

    @EACH
    def test_almost_constant(self, kind):
        """Percentiles can be equal where values are not."""
        image = np.zeros((40, 40), np.float32)
        image[20, 20] = 1
        assert np.isfinite(applied(kind("image"), image)).all()

    @pytest.mark.parametrize("kind", OF_VOLUMES)
    def test_a_volume(self, kind):
        volume = np.random.default_rng(0).normal(size=(16, 17, 18)).astype(np.float32)
        found = applied(kind("image"), volume)[0]
        assert found.shape == volume.shape
        assert kind is LocalEqualizationd or found.std() < 0.95 * volume.std()

    @EACH
    def test_bad_images(self, kind):
        with pytest.raises(UnsuitableError, match="finite"):
            applied(kind("image"), np.where(NOISE > 2, np.nan, NOISE))
        with pytest.raises(UnsuitableError, match="region"):
            applied(kind("image", region_key="region"), NOISE, region=np.zeros(NOISE.shape, bool))
        with pytest.raises(UsageError, match="Did you mean region"):
            applied(kind("image", region_key="regoin"), NOISE, region=np.ones(NOISE.shape, bool))

    def test_no_bilateral_filter_of_volumes(self):
        with pytest.raises(UnsuitableError, match="AnisotropicDiffusiond"):
            applied(BilateralFilterd("image"), np.random.default_rng(0).normal(size=(4, 5, 6)))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GaussianFilterd, {"sigma": 0}),
        (GaussianFilterd, {"sigma": float("nan")}),
        (MedianFilterd, {"radius": -1}),
        (BilateralFilterd, {"similarity": 0}),
        (NonLocalMeansd, {"patch": 0}),
        (AnisotropicDiffusiond, {"steps": 0}),
        (AnisotropicDiffusiond, {"edge": float("inf")}),
        (LocalEqualizationd, {"tiles": 0}),
        (LocalEqualizationd, {"clip": 2}),
    ],
)
def test_wrong_parameters(kind, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        kind("image", **options)


class TestAsTheLibraries:
    def test_gaussian(self):
        expected = gaussian_filter(NOISE, 1.5, mode="nearest")
        np.testing.assert_allclose(applied(GaussianFilterd("image", sigma=1.5), NOISE)[0], expected)

    def test_median(self):
        expected = median_filter(NOISE, 5, mode="nearest")
        np.testing.assert_array_equal(applied(MedianFilterd("image", radius=2), NOISE)[0], expected)

    def test_bilateral(self):
        image = (NOISE - NOISE.min()) / np.ptp(NOISE)
        spread = 0.2 * np.subtract(*np.percentile(image, (99, 1)))
        expected = denoise_bilateral(image, sigma_color=spread, sigma_spatial=1.5, mode="edge")
        found = applied(BilateralFilterd("image", sigma=1.5, similarity=0.2), image)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_non_local_means(self):
        height = 0.2 * np.subtract(*np.percentile(NOISE, (99, 1)))
        expected = denoise_nl_means(NOISE, patch_size=3, patch_distance=4, h=height)
        found = applied(NonLocalMeansd("image", patch=3, distance=4, similarity=0.2), NOISE)[0]
        inner = (slice(8, -8), slice(8, -8))  # nearer to the ends, the paddings differ
        np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)

    def test_local_equalization(self):
        low, high = NOISE.min(), NOISE.max()
        expected = equalize_adapthist((NOISE - low) / (high - low), (10, 9), 0.02)
        found = applied(LocalEqualizationd("image", tiles=4, clip=0.02), NOISE)[0]
        np.testing.assert_allclose(found, low + (high - low) * expected, atol=1e-5)

    @pytest.mark.parametrize("shape", [(61, 61), (31, 31, 31)])
    def test_diffusion_without_edges_is_a_gaussian(self, shape):
        point = np.zeros(shape, np.float32)
        point[tuple(size // 2 for size in shape)] = 1
        found = applied(AnisotropicDiffusiond("image", steps=24, edge=1e6), point)[0]
        expected = gaussian_filter(point, np.sqrt(24 / (2 * len(shape))))
        np.testing.assert_allclose(found, expected, atol=0.1 * expected.max())


def step(noise):
    """0 on the left, 10 on the right, and noise."""
    image = np.zeros((60, 60), np.float32)
    image[:, 30:] = 10
    return image + noise * np.random.default_rng(0).normal(size=image.shape).astype(np.float32)


@pytest.mark.parametrize("kind", DENOISING)
def test_noise_falls(kind):
    found = applied(kind("image"), step(noise=0.7))[0]
    assert found[10:50, 5:20].std() < 0.5 * 0.7
    assert found[10:50, 5:20].mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("kind", [kind for kind in DENOISING if kind is not GaussianFilterd])
def test_edges_stay_where_a_gaussian_blurs_them(kind):
    def height(found):
        return np.median(found[:, 30] - found[:, 29])

    assert height(applied(kind("image"), step(noise=0.7))[0]) > 8
    assert height(applied(GaussianFilterd("image", sigma=2), step(noise=0.7))[0]) < 3


def test_diffusion_keeps_the_mean_of_the_region():
    region = disc(NOISE.shape, 12)
    found = applied(
        AnisotropicDiffusiond("image", steps=50, edge=1, region_key="region"), NOISE, region=region
    )[0]
    assert found[region].mean() == pytest.approx(NOISE[region].mean(), abs=1e-5)
    assert found[region].std() < 0.5


def test_single_wrong_pixels_go():
    image = step(noise=0)
    image[::7, ::7] = 99
    np.testing.assert_array_equal(applied(MedianFilterd("image"), image)[0][8:50, 8:25], 0)


def test_contrast_rises_in_the_dark():
    """A faint pattern in a dark corner beside a bright one."""
    row, column = np.indices((80, 80))
    image = np.where(column < 40, 0.1, 0.8) + 0.02 * np.sin(row / 2) + 0.02 * np.sin(column / 2)
    found = applied(LocalEqualizationd("image", tiles=4, clip=0.05), image.astype(np.float32))[0]
    assert found[10:70, 5:30].std() > 2 * image[10:70, 5:30].std()
    assert found.min() >= image.min() - 1e-6
    assert found.max() <= image.max() + 1e-6
