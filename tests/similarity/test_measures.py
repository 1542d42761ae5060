"""Measures of two images: known values, and other implementations of the same definitions."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from medseg.similarity.alignment import Pair
from medseg.similarity.measures import MEASURES, chi_square, hellinger, measures, ssim


def picture(seed=0, shape=(60, 80)):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).round().astype(np.uint8)


def of(a, b, inside=None):
    return measures(Pair(a[None], b[None], inside, 1.0, ""))[0]


def value(a, b, name):
    return of(a, b)[name]["value"]


BEST = {
    **{"ssim": 1, "normalised_mutual_information": 2, "normalised_cross_correlation": 1},
    **{"histogram_intersection": 1, "histogram_chi_square": 0, "histogram_hellinger": 0},
    **{"histogram_wasserstein": 0, "texture_glcm_hellinger": 0, "texture_lbp_chi_square": 0},
}


@pytest.mark.parametrize("shape", [(60, 80), (20, 24, 28)])
def test_an_image_and_itself(shape):
    found = of(picture(shape=shape), picture(shape=shape))
    assert {name: found[name]["value"] for name in BEST} == pytest.approx(BEST, abs=1e-6)
    assert found["psnr_db"] == {"value": None, "reason": "the images are the same"}
    assert set(found) == set(MEASURES) == {*BEST, "psnr_db"}


def test_an_image_and_its_negative():
    a = picture()
    found = of(a, 255 - a)
    assert found["normalised_cross_correlation"]["value"] == pytest.approx(-1)
    assert found["normalised_mutual_information"]["value"] > 1.9  # one tells the other
    assert found["ssim"]["value"] < 0.2


def test_independent_noise_shares_nothing():
    random = np.random.default_rng(1)
    a, b = (random.integers(0, 256, (256, 256)).astype(np.uint8) for _ in range(2))
    found = of(a, b)
    assert abs(found["normalised_cross_correlation"]["value"]) < 0.02
    assert found["normalised_mutual_information"]["value"] < 1.01
    assert abs(found["ssim"]["value"]) < 0.05
    assert found["histogram_intersection"]["value"] > 0.9  # the same histogram all the same
    assert found["texture_glcm_hellinger"]["value"] < 0.1


def test_a_shift_lowers_what_goes_by_place_alone():
    whole = picture(shape=(60, 100))
    a, b = whole[:, :80], whole[:, 20:]
    assert value(a, b, "ssim") < 0.5
    assert value(a, b, "histogram_intersection") > 0.6
    assert value(a, b, "texture_lbp_chi_square") < 0.02


def test_noise_of_a_known_power():
    a = np.full((200, 200), 100, np.uint8)
    a[::2] = 120
    b = a.copy()
    b[:, ::2] += 10  # mean squared error 50
    assert value(a, b, "psnr_db") == pytest.approx(10 * np.log10(255**2 / 50))


def test_brightness_moves_the_histogram_by_as_much():
    a = (picture() // 2).astype(np.uint8)
    assert value(a, a + 30, "histogram_wasserstein") == pytest.approx(30)
    assert value(a, a + 30, "normalised_cross_correlation") == pytest.approx(1)
    assert value(a, a + 30, "texture_lbp_chi_square") == pytest.approx(0, abs=1e-9)


def test_against_other_implementations():
    a, b = picture(0), picture(1)
    p, q = (np.bincount(image.ravel(), minlength=256) / image.size for image in (a, b))
    found = of(a, b)
    joint = np.histogram2d(a.ravel(), b.ravel(), bins=64)[0] / a.size
    entropy = [-np.sum(h[h > 0] * np.log(h[h > 0])) for h in (joint.sum(0), joint.sum(1), joint)]
    expected = {
        "normalised_mutual_information": (entropy[0] + entropy[1]) / entropy[2],
        "normalised_cross_correlation": np.corrcoef(a.ravel(), b.ravel())[0, 1],
        "histogram_intersection": 1 - np.abs(p - q).sum() / 2,
        "histogram_chi_square": sum((x - y) ** 2 / (x + y) for x, y in zip(p, q, strict=True) if x + y) / 2,
        "histogram_hellinger": np.sqrt(1 - np.sum(np.sqrt(p * q))),
        "histogram_wasserstein": wasserstein_distance(a.ravel().astype(float), b.ravel().astype(float)),
        "ssim": naive_ssim(a.astype(float), b.astype(float), 255),
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-6)


def naive_ssim(a, b, data_range):
    """Window by window, as Wang and others define it."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    scores = []
    for row in range(5, a.shape[0] - 5):
        for column in range(5, a.shape[1] - 5):
            x, y = (image[row - 5 : row + 6, column - 5 : column + 6] for image in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            shared = (weights * (x - mx) * (y - my)).sum()
            scores.append((2 * mx * my + c1) * (2 * shared + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(scores)


def test_slabs_of_a_volume_give_the_same_ssim(monkeypatch):
    a, b = picture(0, (24, 26, 50)), picture(1, (24, 26, 50))
    inside = np.zeros(a.shape, bool)
    inside[2:20, :, 10:45] = True
    in_slabs = [ssim(a, b, 255.0), ssim(a, b, 255.0, inside)]
    monkeypatch.setattr("medseg.similarity.measures._SLAB", 1000)
    assert in_slabs == pytest.approx([ssim(a, b, 255.0), ssim(a, b, 255.0, inside)], rel=1e-6)
    assert in_slabs[0] != in_slabs[1]


@pytest.mark.parametrize("both", [False, True])
def test_a_constant_image_gives_reasons_and_no_nan(both):
    flat = np.full((40, 40), 7, np.uint8)
    found = of(flat, flat if both else picture(shape=(40, 40)))
    for name, entry in found.items():
        assert entry["value"] is None or np.isfinite(entry["value"]), name
    for name in ("normalised_mutual_information", "normalised_cross_correlation"):
        assert "first" in found[name]["reason"]
        assert ("second" in found[name]["reason"]) == both


def test_constant_images_of_other_types():
    flat = np.full((40, 40), -3.5, np.float32)
    found = of(flat, flat)
    assert found["ssim"]["value"] is None
    assert "all values of both images" in found["ssim"]["reason"]
    assert found["histogram_intersection"]["value"] == pytest.approx(1)
    assert found["histogram_wasserstein"]["value"] == pytest.approx(0, abs=1e-6)


def test_an_image_smaller_than_a_window():
    assert "fewer than 11" in of(picture(shape=(8, 30)), picture(1, (8, 30)))["ssim"]["reason"]


def test_what_is_outside_does_not_count():
    a, b = picture(0), picture(0)
    b[:, 50:] = 0
    inside = np.ones(a.shape, bool)
    inside[:, 50:] = False
    found = of(a, b, inside)
    assert {name: found[name]["value"] for name in BEST} == pytest.approx(BEST, abs=1e-6)


def test_colours_are_the_mean_of_the_channels():
    a, b = (np.stack([picture(seed) for seed in seeds]) for seeds in ((0, 1, 2), (3, 4, 5)))
    found, data_range = measures(Pair(a, b, None, 1.0, ""))
    each = [value(one, two, "ssim") for one, two in zip(a, b, strict=True)]
    assert found["ssim"]["value"] == pytest.approx(np.mean(each))
    assert data_range == 255


def test_disjoint_distributions_are_at_distance_1():
    p, q = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.3, 0.7])
    assert chi_square(p, q) == pytest.approx(1)
    assert hellinger(p, q) == pytest.approx(1)
