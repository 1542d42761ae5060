"""Fitting under MONAI's trainer: the pixels that are drawn, the fit, and a class that is missing."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer

from medseg.errors import DataError
from medseg.methods.features import FeatureStack
from medseg.methods.forest import Forest
from medseg.methods.pixel_classifier import PixelClassifier
from medseg.methods.regions import everywhere
from medseg.training.fitting import FitToPixels, log_loss


def network():
    forest = Forest(features=1, trees=5, leaves=8)
    return PixelClassifier(1, FeatureStack(["intensity"]), forest, everywhere)


def batches(count=3, classes=2):
    """Images (1, 1, 20, 30) whose bright pixels, a fifth of all, are the target; and their labels."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        label = (draw.random((1, 1, 20, 30)) < 0.2) & (classes == 2)
        image = draw.normal(0, 0.1, label.shape) + label
        yield {"image": torch.from_numpy(image), "label": torch.from_numpy(label).float()}


def trained(seed=3, classes=2):
    own = network()
    fit = FitToPixels(own, per_class=50, seed=seed)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=list(batches(classes=classes)),
        network=own,
        optimizer=torch.optim.SGD(own.parameters()),
        loss_function=torch.nn.Identity(),
        iteration_update=fit.update,
        train_handlers=[fit],
    )
    trainer.run()
    return own, trainer


def test_an_epoch_fits():
    own, trainer = trained()
    batch = next(batches(count=1))
    found = own(batch["image"]) > 0
    assert (found == (batch["label"] > 0)).float().mean() > 0.99
    assert trainer.state.metrics["fit_loss"] < 0.1
    assert trainer.state.output[0]["loss"] == pytest.approx(math.log(2))


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (trained(seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["classifier.threshold"], other["classifier.threshold"])


def test_without_a_target_nothing_is_fitted():
    with pytest.raises(DataError, match="got 0 of class 1"):
        trained(classes=1)


def test_each_class_is_drawn_as_often_and_weighs_as_much_as_it_has_pixels():
    fit = FitToPixels(network(), per_class=50, seed=0)
    batch = next(batches(count=1))
    fit.update(SimpleNamespace(state=SimpleNamespace(epoch=1, iteration=1)), batch)
    samples, labels, weights = fit.samples[0]
    assert np.bincount(labels).tolist() == [50, 50]
    target = int(batch["label"].sum())
    assert weights[labels == 1].sum() == pytest.approx(target)
    assert weights.sum() == pytest.approx(600)
    assert ((samples[:, 0] > 0.5) == labels).all()


def test_log_loss_of_even_odds():
    labels, weights = np.array([0, 1, 1]), np.array([1.0, 5.0, 2.0])
    assert log_loss(torch.zeros(3, 1), labels, weights) == pytest.approx(math.log(2))
    assert log_loss(torch.zeros(3, 4), labels, weights) == pytest.approx(math.log(4))
    sure = torch.tensor([[-3.0], [3.0], [-3.0]])
    right, wrong = math.log(1 + math.exp(-3)), math.log(1 + math.exp(3))
    assert log_loss(sure, labels, weights) == pytest.approx((6 * right + 2 * wrong) / 8)
