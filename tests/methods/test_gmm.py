"""Gaussian mixtures against scikit-learn and known mixtures; what the spatial prior changes."""

import numpy as np
import pytest
from sklearn import mixture

from medseg.errors import UnsuitableError
from medseg.methods.features import standardised
from medseg.methods.gmm import RIDGE, GaussianMixture, _neighbours

REGION = np.ones((60, 60), bool)


def known_mixture():
    """Two features of two classes, 30% of class 1, and the classes."""
    rng = np.random.default_rng(3)
    truth = rng.random((60, 60)) < 0.3
    noise = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], (60, 60))
    return np.moveaxis(noise + truth[..., None] * [4.0, 2.0], -1, 0).astype(np.float32), truth


def test_the_means_of_a_known_mixture_are_found():
    features, truth = known_mixture()
    classes = GaussianMixture(2)(features, REGION)
    one = classes[0] if (classes[0] * truth).sum() > (classes[1] * truth).sum() else classes[1]
    for feature, shift in zip(features, (4.0, 2.0), strict=True):
        assert (one * feature).sum() / one.sum() == pytest.approx(shift, abs=0.15)
        assert ((1 - one) * feature).sum() / (1 - one).sum() == pytest.approx(0, abs=0.1)
    assert one.mean() == pytest.approx(0.3, abs=0.03)


def test_without_a_prior_it_is_scikit_learns_mixture():
    features, _ = known_mixture()
    rows = standardised(features, REGION).reshape(2, -1).T.astype(np.float64)
    theirs = mixture.GaussianMixture(2, reg_covar=RIDGE, max_iter=200, random_state=0).fit(rows)
    expected = theirs.predict_proba(rows).T.reshape(2, 60, 60)
    np.testing.assert_allclose(GaussianMixture(2, weight=0.0)(features, REGION), expected, atol=1e-5)


def test_a_prior_removes_noise_inside_a_block():
    truth = np.zeros((60, 60), bool)
    truth[15:45, 15:45] = True
    values = (truth * 2.0 + np.random.default_rng(0).normal(0, 1, truth.shape))[None].astype(np.float32)

    def errors(weight):
        classes = GaussianMixture(2, weight)(values, REGION)
        brighter = np.argmax([(own * values[0]).sum() / own.sum() for own in classes])
        return ((classes[brighter] > 0.5) != truth).sum()

    plain, smooth = errors(0.0), errors(1.0)
    assert plain > 300
    assert smooth < plain / 4


def test_neighbours_beyond_the_image_do_not_count():
    ones = np.ones((1, 3, 3), np.float32)
    assert _neighbours(ones)[0].tolist() == [[2, 3, 2], [3, 4, 3], [2, 3, 2]]
    assert _neighbours(np.ones((1, 3, 3, 3), np.float32))[0, 1, 1, 1] == 6


def test_a_mixture_that_does_not_converge_is_an_error_that_says_what_to_do():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 60, 60)).astype(np.float32)
    with pytest.raises(UnsuitableError, match=r"did not in 2 iterations\. Raise the method\'s iterations"):
        GaussianMixture(3, iterations=2)(values, REGION)
