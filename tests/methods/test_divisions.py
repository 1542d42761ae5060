"""Each division on images whose classes are known, and on what it must refuse."""

import functools

import numpy as np
import pytest

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.divisions import one_hot, sample
from medseg.methods.gmm import GaussianMixture
from medseg.methods.hierarchical import Hierarchical
from medseg.methods.kmeans import KMeans
from medseg.methods.random_walker import RandomWalker
from medseg.methods.region_merging import RegionMerging
from medseg.methods.superpixels import Slic
from medseg.methods.thresholds import Threshold

DIVISIONS = {
    "otsu": functools.partial(Threshold, "otsu"),
    "kmeans": functools.partial(KMeans, 2),
    "gmm": functools.partial(GaussianMixture, 2),
    "gmm with a prior": functools.partial(GaussianMixture, 2, 0.5),
    "ward": functools.partial(Hierarchical, "bottom_up", 2, Slic(200), 10),
    "bisecting k-means": functools.partial(Hierarchical, "top_down", 2, Slic(200)),
    "random walker": functools.partial(RandomWalker, 0.3, 0.05),
    "region merging": functools.partial(RegionMerging, 2, 1.0, 4),
}
VOLUMES = [name for name in DIVISIONS if name != "region merging"]


def two_squares(shape=(32, 32)):
    """A bright block in a dark image with a little noise, its mask, and a region that leaves a margin out."""
    inner = tuple(slice(size // 4, 3 * size // 4) for size in shape)
    truth = np.zeros(shape, dtype=bool)
    truth[inner] = True
    noise = np.random.default_rng(1).normal(0, 0.1, shape)
    region = np.zeros(shape, dtype=bool)
    region[(slice(2, -2),) * len(shape)] = True
    return (truth * 5.0 + noise)[None].astype(np.float32), truth, region


@pytest.mark.parametrize("name", DIVISIONS)
def test_a_bright_block_is_a_class_of_its_own(name):
    features, truth, region = two_squares()
    classes = DIVISIONS[name]()(features, region)
    assert classes.shape == (2, 32, 32)
    assert classes.dtype == np.float32
    np.testing.assert_allclose(classes.sum(axis=0), region, atol=1e-5)
    found = classes[classes[:, 12, 12].argmax()] > 0.5
    assert (found == truth).mean() > 0.99


@pytest.mark.parametrize("name", VOLUMES)
def test_and_in_a_volume(name):
    features, truth, region = two_squares((20, 20, 20))
    classes = DIVISIONS[name]()(features, region)
    found = classes[classes[:, 10, 10, 10].argmax()] > 0.5
    assert (found & truth).sum() > 0.95 * truth.sum()
    assert (found & ~truth).sum() < 0.05 * truth.sum()


@pytest.mark.parametrize("name", DIVISIONS)
def test_the_same_image_is_divided_the_same_way(name):
    features, _, region = two_squares()
    once, again = (DIVISIONS[name]()(features, region) for _ in range(2))
    assert (once == again).all()


@pytest.mark.parametrize("name", DIVISIONS)
def test_a_constant_image_is_refused(name):
    with pytest.raises(UnsuitableError):
        DIVISIONS[name]()(np.ones((1, 16, 16), np.float32), np.ones((16, 16), bool))


@pytest.mark.parametrize("name", DIVISIONS)
def test_so_is_one_pixel(name):
    with pytest.raises(UnsuitableError):
        DIVISIONS[name]()(np.ones((1, 1, 1), np.float32), np.ones((1, 1), bool))


@pytest.mark.parametrize(
    "divide", [KMeans(3), GaussianMixture(3), Threshold("otsu", 3)], ids=["k-means", "mixture", "Otsu"]
)
def test_more_classes_than_values_are_refused(divide):
    values = np.tile([0.0, 1.0], (1, 8, 4)).astype(np.float32)
    with pytest.raises(UnsuitableError, match="at least 3 distinct values"):
        divide(values, np.ones((8, 8), bool))


def test_region_merging_takes_no_volume():
    features, _, region = two_squares((8, 8, 8))
    with pytest.raises(UnsuitableError, match="a picture; got an image with 3 axes"):
        RegionMerging(2, 1.0, 4)(features, region)


@pytest.mark.parametrize(
    "make",
    [
        lambda: KMeans(1),
        lambda: GaussianMixture(1),
        lambda: GaussianMixture(2, -0.1),
        lambda: Hierarchical("sideways", 2, Slic(10)),
        lambda: Hierarchical("bottom_up", 2, Slic(10)),
        lambda: Hierarchical("top_down", 2, Slic(10), 5),
        lambda: RegionMerging(1, 1.0, 4),
        lambda: RandomWalker(0.5, 0.5),
        lambda: RandomWalker(0.0, 0.5),
        lambda: Slic(1),
    ],
)
def test_options_that_make_no_sense_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_classes_of_numbers():
    region = np.array([[True, False], [True, True]])
    classes = one_hot(np.array([1, 0, 1]), 2, region)
    assert classes.tolist() == [[[0, 0], [1, 0]], [[1, 0], [0, 1]]]


def test_a_sample_has_no_row_twice():
    rows = np.arange(100)[:, None]
    assert len(np.unique(sample(rows, 30, 0))) == 30
    assert sample(rows, 100, 0) is rows


def test_a_walk_on_a_coarse_grid_finds_the_block_too():
    features, truth, region = two_squares((64, 64))
    found = RandomWalker(0.3, 0.05, most=1024)(features, region)[1] > 0.5
    assert (found == truth).mean() > 0.97


def test_seeds_that_can_not_be_told_apart_are_refused():
    values = np.zeros((1, 10, 10), np.float32)
    values[0, 0, 0] = 1
    with pytest.raises(UnsuitableError, match="lowest and highest values differ"):
        RandomWalker(0.5, 0.1)(values, np.ones((10, 10), bool))
