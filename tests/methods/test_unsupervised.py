"""From an image to logits: region, features, classes and the rule that names the target."""

import numpy as np
import pytest
import torch

from medseg.errors import UnsuitableError, UsageError
from medseg.methods.features import FeatureStack
from medseg.methods.kmeans import KMeans
from medseg.methods.regions import field_of_view, not_black
from medseg.methods.target import Target
from medseg.methods.unsupervised import MOST_LOGIT, Unsupervised, logits


def picture():
    """A dark disk on a bright one, black around, (1, 3, 40, 40); and the dark disk."""
    row, column = np.mgrid[:40, :40]
    radius = np.hypot(row - 20, column - 20)
    grey = np.where(radius < 18, 5.0, 0.0)
    grey[radius < 6] = 1.0
    return torch.as_tensor(np.stack([grey] * 3)[None]).float(), radius < 6


def method(order="lowest", region=not_black):
    target = Target("intensity", order)
    return Unsupervised(FeatureStack(["intensity"], grey=1), KMeans(2), target, region)


def test_the_darker_class_is_the_target():
    image, truth = picture()
    scores = method()(image)
    assert scores.shape == (1, 1, 40, 40)
    assert scores.dtype == torch.float32
    assert ((scores[0, 0] > 0).numpy() == truth).all()


def test_the_brighter_class_is_the_target_if_the_rule_says_so():
    image, truth = picture()
    scores = method("highest")(image)[0, 0].numpy()
    assert ((scores > 0) == ((image[0, 1].numpy() > 0) & ~truth)).all()


def test_each_image_of_a_batch_is_divided_by_itself():
    image, truth = picture()
    scores = method()(torch.cat([image, image * 10]))
    assert ((scores[1, 0] > 0).numpy() == truth).all()


def test_outside_the_region_the_logit_is_the_lowest():
    image, _ = picture()
    scores = method("highest")(image)[0, 0]
    assert (scores[image[0, 0] == 0] == -MOST_LOGIT).all()


def test_a_constant_image_is_refused():
    with pytest.raises(UnsuitableError, match="some contrast"):
        method()(torch.ones(1, 3, 20, 20))


def test_an_image_without_a_field_of_view_is_refused():
    with pytest.raises(UnsuitableError, match="at least 16 pixels"):
        method()(torch.zeros(1, 3, 20, 20))


def test_values_that_are_no_numbers_are_refused():
    image, _ = picture()
    image[0, 0, 20, 20] = float("nan")
    with pytest.raises(UnsuitableError, match="finite numbers"):
        method()(image)


def test_log_odds_are_bounded():
    found = logits(np.array([0.0, 0.5, 1.0, 0.9]), np.array([True, True, True, False]))
    np.testing.assert_allclose(found, [-MOST_LOGIT, 0, MOST_LOGIT, -MOST_LOGIT], atol=1e-4)


def test_a_margin_inside_the_field_of_view():
    image, _ = picture()
    inner, whole = field_of_view(image[0].numpy(), 3), not_black(image[0].numpy())
    assert inner.sum() < whole.sum()
    assert not (inner & ~whole).any()
    assert (whole[20].sum(), inner[20].sum()) == (35, 29)


CLASSES = np.eye(3, dtype=np.float32)[:, None]  # three pixels, a class each
VALUES = np.array([[[5.0, 1.0, 3.0]]], np.float32)
REGION = np.ones((1, 3), bool)


@pytest.mark.parametrize(
    ("order", "count", "expected"),
    [("lowest", 1, [0, 1, 0]), ("highest", 1, [1, 0, 0]), ("lowest", 2, [0, 1, 1])],
)
def test_the_target_is_named_by_a_rule(order, count, expected):
    found = Target("intensity", order, count)(CLASSES, VALUES, ["intensity"], REGION)
    assert found.tolist() == [expected]


@pytest.mark.parametrize("order", ["lowest", "highest"])
def test_an_empty_class_is_never_the_target(order):
    classes = np.concatenate([CLASSES, np.zeros((1, 1, 3), np.float32)])
    for values in (VALUES, VALUES - 10):
        assert Target("intensity", order)(classes, values, ["intensity"], REGION).sum() == 1


def test_targets_that_can_not_be_are_refused():
    with pytest.raises(UsageError, match="Did you mean lowest"):
        Target("intensity", "lowes")
    with pytest.raises(UsageError, match="at least one class"):
        Target("intensity", "lowest", 0)
    with pytest.raises(UsageError, match="a feature that the image is divided by"):
        Target("gradient@1", "lowest")(CLASSES, VALUES, ["intensity"], REGION)
    with pytest.raises(UsageError, match="more than 3 classes"):
        Target("intensity", "lowest", 3)(CLASSES, VALUES, ["intensity"], REGION)
