"""Support vectors as tensors: the same as scikit-learn's, and saved as weights."""

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import train_test_split
from sklearn.svm import LinearSVC

from medseg.bundle import load_weights
from medseg.errors import DataError
from medseg.methods.support_vectors import SupportVectors


def rings(classes=2, count=3000, seed=0):
    """Features (n, 3): two in a ring around the origin for each class, and noise; and labels (n,)."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    angle, radius = draw.uniform(0, 2 * np.pi, count), 5 * (labels + 1) + draw.normal(0, 0.8, count)
    found = np.stack([radius * np.cos(angle), radius * np.sin(angle), draw.normal(7, 3, count)], axis=1)
    return found.astype(np.float32), labels


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (3, 3)])
def test_the_margin_is_that_of_scikit_learn(classes, outputs):
    samples, labels = rings(classes)
    machine = SupportVectors(features=3, outputs=outputs, landmarks=60, penalty=0.5)
    machine.fit(samples, labels, np.ones(len(labels)), seed=4)
    kept, _ = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=4)
    mean, spread = samples[kept].mean(axis=0), samples[kept].std(axis=0)
    kernel = Nystroem(gamma=1 / 3, n_components=60, random_state=4)
    theirs = LinearSVC(C=0.5, dual=False, random_state=4)
    theirs.fit(kernel.fit_transform((samples[kept] - mean) / spread), labels[kept])
    expected = theirs.decision_function(kernel.transform((samples - mean) / spread)).reshape(-1, outputs)
    np.testing.assert_allclose(machine.margin(torch.from_numpy(samples)).numpy(), expected, atol=2e-3)


def test_classes_that_no_plane_divides_are_learned():
    samples, labels = rings(3)
    machine = SupportVectors(features=3, outputs=3, landmarks=60)
    machine.fit(samples, labels, np.ones(len(labels)), seed=0)
    fresh, truths = rings(3, seed=1)
    assert (machine(torch.from_numpy(fresh)).argmax(1).numpy() == truths).mean() > 0.98


def test_probabilities_are_those_of_whole_images():
    """Both classes are sampled as often, and overlap; a pixel of the first stands for nine."""
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    samples = draw.normal(labels, 1.0)[:, None].astype(np.float32)
    machine = SupportVectors(features=1, landmarks=20)
    machine.fit(samples, labels, np.where(labels == 0, 9.0, 1.0), seed=0)
    found = torch.sigmoid(machine(torch.from_numpy(samples)))[:, 0].numpy()
    mean = np.average(found, weights=np.where(labels == 0, 9.0, 1.0))
    assert mean == pytest.approx(0.1, abs=0.01)


def test_a_constant_feature_is_harmless():
    samples, labels = rings()
    samples[:, 2] = 3.0
    machine = SupportVectors(features=3, landmarks=20)
    machine.fit(samples, labels, np.ones(len(labels)), seed=0)
    assert torch.isfinite(machine(torch.from_numpy(samples))).all()


def test_weights_are_tensors_alone(tmp_path):
    samples, labels = rings()
    machine = SupportVectors(features=3, landmarks=20)
    machine.fit(samples, labels, np.ones(len(labels)), seed=0)
    torch.save(machine.state_dict(), tmp_path / "model.pt")
    loaded = load_weights(SupportVectors(features=3, landmarks=20), tmp_path / "model.pt")
    assert loaded.fitted
    given = torch.from_numpy(samples)
    assert torch.equal(loaded(given), machine(given))


def test_fewer_samples_than_landmarks():
    samples, labels = rings(count=100)
    with pytest.raises(DataError, match="got 80 pixels"):
        SupportVectors(features=3, landmarks=90).fit(samples, labels, np.ones(100), seed=0)
