"""A classifier of pixels: features, region, and refusals."""

import numpy as np
import pytest
import torch

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.features import FeatureStack
from medseg.methods.forest import Forest
from medseg.methods.pixel_classifier import LEAST_LOGIT, PixelClassifier
from medseg.methods.regions import not_black
from medseg.methods.support_vectors import SupportVectors

NAMES = ["intensity", "gaussian@2"]


def picture(seed=0):
    """(3, 48, 60), a bright square in noise and a black border; (48, 60) bool, where the square is."""
    draw = np.random.default_rng(seed)
    image = draw.normal(1, 0.3, (3, 48, 60)).astype(np.float32)
    square = np.zeros((48, 60), bool)
    square[12:30, 20:45] = True
    image[:, square] += 2
    image[:, :4] = image[:, -4:] = image[:, :, :4] = image[:, :, -4:] = 0
    return image, square


def fitted(classifier, chunk=16384):
    network = PixelClassifier(3, FeatureStack(NAMES), classifier, not_black, chunk)
    image, square = picture()
    features, region = network.pixels(image)
    classifier.fit(features[:, region].T, square[region].astype(int), np.ones(region.sum()), seed=0)
    return network


MADE = {
    "support vectors": lambda: SupportVectors(features=2, landmarks=20),
    "forest": lambda: Forest(features=2, trees=10, leaves=20),
}


@pytest.mark.parametrize("kind", list(MADE))
def test_a_square_is_found(kind):
    network = fitted(MADE[kind]())
    image, square = picture(seed=1)
    logits = network(torch.from_numpy(image)[None])
    assert logits.shape == (1, 1, 48, 60)
    assert logits.dtype == torch.float32
    found = logits[0, 0].numpy() > 0
    assert 2 * (found & square).sum() / (found.sum() + square.sum()) > 0.95
    assert (logits[0, 0, :4] == LEAST_LOGIT).all()


@pytest.mark.parametrize("kind", list(MADE))
def test_the_chunk_does_not_change_the_logits(kind):
    network = fitted(MADE[kind]())
    given = torch.from_numpy(picture(seed=1)[0])[None]
    whole = network(given)
    network.chunk = 97
    assert torch.allclose(network(given), whole, atol=1e-5)


def test_a_batch_is_its_images():
    network = fitted(MADE["forest"]())
    images = torch.from_numpy(np.stack([picture(seed)[0] for seed in (1, 2)]))
    assert torch.equal(network(images)[1:], network(images[1:]))


def test_outside_the_region_the_first_of_several_classes_wins():
    classifier = Forest(features=2, outputs=3, trees=3, leaves=5)
    network = PixelClassifier(3, FeatureStack(NAMES), classifier, not_black)
    image, _ = picture()
    features, region = network.pixels(image)
    labels = np.arange(region.sum()) % 3
    classifier.fit(features[:, region].T, labels, np.ones(region.sum()), seed=0)
    logits = network(torch.from_numpy(image)[None])
    assert logits.shape == (1, 3, 48, 60)
    assert (logits[0].argmax(0)[:4] == 0).all()


def constant():
    return np.ones((3, 20, 20))


def nan():
    image = picture()[0]
    image[0, 20, 20] = np.nan
    return image


def infinite():
    image = picture()[0]
    image[2, 20, 20] = np.inf
    return image


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (constant(), "contrast"),
        (np.zeros((3, 20, 20)), "pixels to look at"),
        (np.ones((3, 1, 1)), "pixels to look at"),
        (nan(), "finite"),
        (infinite(), "finite"),
        (picture()[0][:1], "3 channels"),
    ],
    ids=["constant", "black", "one pixel", "NaN", "infinity", "one channel"],
)
def test_unsuitable_images_are_refused(image, word):
    network = fitted(MADE["forest"]())
    with pytest.raises(UnsuitableError, match=word):
        network(torch.from_numpy(image)[None].float())


def test_without_weights_there_is_no_mask():
    network = PixelClassifier(3, FeatureStack(NAMES), MADE["support vectors"](), not_black)
    with pytest.raises(UsageError, match="medseg train"):
        network(torch.from_numpy(picture()[0])[None])
