"""Superpixels: numbers without gaps, bounds, means, and who touches whom."""

import numpy as np
import pytest

from medseg.methods.superpixels import Slic, graph, means


@pytest.fixture
def image():
    values = np.random.default_rng(0).normal(size=(2, 50, 40)).astype(np.float32)
    values[:, :, 18:21] += 20
    region = np.zeros((50, 40), bool)
    region[3:, 2:] = True
    return values, region


def test_numbers_have_no_gaps_and_cover_the_region(image):
    numbers = Slic(100)(*image)
    assert ((numbers > 0) == image[1]).all()
    assert np.unique(numbers).tolist() == list(range(numbers.max() + 1))
    assert 50 < numbers.max() < 150


def test_those_of_little_compactness_follow_a_thin_bright_line(image):
    values, region = image
    numbers = Slic(100, compactness=0.05)(values / 20, region)
    line = np.zeros_like(region)
    line[3:, 18:21] = True
    shares = np.bincount(numbers.ravel(), line.ravel()) / np.bincount(numbers.ravel())
    assert (((shares > 0.5)[numbers] & region) == line).mean() > 0.99


def test_means_of_superpixels():
    numbers = np.array([[1, 1, 0], [2, 2, 2]])
    values = np.array([[[1.0, 3, 100], [4, 5, 6]]])
    assert means(values, numbers).tolist() == [[2.0], [5.0]]


def test_those_that_share_a_face_touch():
    numbers = np.array([[1, 1, 2], [0, 3, 3]])
    assert graph(numbers).toarray().tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert graph(np.array([[1, 0, 2]])).nnz == 0
