"""A forest as tensors: the same as scikit-learn's, and of bounded size."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from medseg.bundle import load_weights
from medseg.methods.forest import Forest


def stripes(classes, count=2000, seed=0):
    """Features (n, 3) and labels, stripes of the first two with an error in one of ten."""
    draw = np.random.default_rng(seed)
    samples = draw.normal(size=(count, 3)).astype(np.float32)
    labels = np.floor(2 * (samples[:, 0] + samples[:, 1])).astype(int) % classes
    wrong = draw.random(count) < 0.1
    return samples, np.where(wrong, draw.integers(0, classes, count), labels)


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (4, 4)])
def test_probabilities_are_those_of_scikit_learn(classes, outputs):
    samples, labels = stripes(classes)
    theirs = RandomForestClassifier(7, max_leaf_nodes=60, max_depth=9, random_state=0).fit(samples, labels)
    forest = Forest(features=3, outputs=outputs, trees=7, leaves=60, depth=9)
    forest.take(theirs)
    fresh, _ = stripes(classes, seed=1)
    expected = theirs.predict_proba(fresh)[:, -outputs:]
    found = forest.probabilities(torch.from_numpy(fresh)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_value_at_a_threshold_goes_the_same_way():
    """Thresholds lie between neighbouring values, where single precision can round to either."""
    samples = (np.float32(1000) + np.arange(8) * np.spacing(np.float32(1000))).astype(np.float32)[:, None]
    labels = np.arange(8) % 2
    theirs = RandomForestClassifier(5, random_state=0, bootstrap=False).fit(samples, labels)
    assert theirs.score(samples, labels) == 1
    forest = Forest(features=1, trees=5, leaves=8, depth=8)
    forest.take(theirs)
    assert ((forest(torch.from_numpy(samples))[:, 0] > 0).numpy() == labels).all()


def test_the_size_does_not_depend_on_the_samples(tmp_path):
    forest = Forest(features=3, trees=5, leaves=20)
    sizes = []
    for count in (200, 4000):
        samples, labels = stripes(2, count)
        forest.fit(samples, labels, np.ones(count), seed=0)
        torch.save(forest.state_dict(), tmp_path / "model.pt")
        sizes.append((tmp_path / "model.pt").stat().st_size)
    assert sizes[0] == sizes[1]
    loaded = load_weights(Forest(features=3, trees=5, leaves=20), tmp_path / "model.pt")
    given = torch.from_numpy(samples)
    assert torch.equal(loaded(given), forest(given))


def test_probabilities_are_those_of_whole_images():
    """Both classes are sampled as often, and overlap; a pixel of the first stands for nine."""
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    samples = draw.normal(labels, 1.0)[:, None].astype(np.float32)
    forest = Forest(features=1, trees=20, leaves=20)
    weights = np.where(labels == 0, 9.0, 1.0)
    forest.fit(samples, labels, weights, seed=0)
    found = torch.sigmoid(forest(torch.from_numpy(samples)))[:, 0].numpy()
    assert np.average(found, weights=weights) == pytest.approx(0.1, abs=0.01)
