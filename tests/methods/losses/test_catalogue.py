"""Losses by name: known values, gradients, precision, and what the bundles train with."""

import math
import warnings

import numpy as np
import pytest
import torch
from doc_pages import ROOT
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.losses import DiceCELoss, SoftDiceclDiceLoss
from scipy.ndimage import distance_transform_edt

from medseg.bundle import open_bundle, parse
from medseg.errors import UsageError
from medseg.methods.losses import DEFAULT, MaskAndClassificationLoss, loss_names, named_loss
from medseg.methods.losses.catalogue import BOUNDARY_SHARE, CENTRELINE_EROSIONS, CENTRELINE_SHARE

NAMES = loss_names()
SHAPES = {"2D": (24, 20), "3D": (12, 14, 10)}
CERTAIN = 30.0  # a logit whose probability is 1 in float32
LUNG = {"outputs": "softmax", "include_background": False, "batch": True}
PICTURE = {"outputs": "sigmoid", "batch": True}


def labels_of(shape, outputs, batch=2):
    """Two bars in each image, labels 1 and 2 of a softmax, both 1 of a sigmoid; (B, 1, spatial...)."""
    label = torch.zeros(batch, 1, *shape)
    label[:, :, 3:6, 2:-2] = 1
    label[:, :, 8:10, 3:-3] = 2 if outputs == "softmax" else 1
    return label


def certain(label, outputs):
    """The logits of a network that is right and sure."""
    if outputs == "sigmoid":
        return CERTAIN * (2 * label - 1)
    numbers = torch.arange(3).view(1, 3, *[1] * (label.ndim - 2))
    return CERTAIN * (label == numbers).float()


def logits_of(label, outputs):
    generator = torch.Generator().manual_seed(3)
    channels = 3 if outputs == "softmax" else 1
    return torch.randn(len(label), channels, *label.shape[2:], generator=generator)


@pytest.fixture(params=["sigmoid", "softmax"])
def outputs(request):
    return request.param


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def shape(request):
    return request.param


@pytest.mark.seconds
@pytest.mark.parametrize("name", NAMES)
def test_gradient_descent_leads_to_the_reference(name, shape, outputs):
    label = labels_of(shape, outputs)
    logits = logits_of(label, outputs).requires_grad_()
    loss = named_loss(name, outputs=outputs, batch=True)
    first = loss(logits, label)
    assert first.shape == ()
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, label).backward()
        assert torch.isfinite(logits.grad).all()
        optimizer.step()
    assert loss(logits, label) < 0.1 * first
    found = logits.argmax(1, keepdim=True) if outputs == "softmax" else logits > 0
    # The skeleton of clDice is made of minima and maxima, through which few pixels get a gradient.
    assert (found == label).float().mean() > (0.97 if name == "centreline_dice" else 0.99)


@pytest.mark.parametrize("name", NAMES)
def test_smallest_at_the_reference(name, shape, outputs):
    """No wrong pixel, no less certain answer, and no empty mask is cheaper."""
    label = labels_of(shape, outputs)
    loss = named_loss(name, outputs=outputs)
    right = certain(label, outputs)
    least = float(loss(right, label))
    worse = [
        right / 20,
        torch.roll(right, 1, dims=2),
        torch.roll(right, 1, dims=1) if outputs == "softmax" else -right,
    ]
    worse.append(certain(torch.zeros_like(label), outputs))
    for logits in worse:
        assert float(loss(logits, label)) > least
    if name != "boundary":  # whose surface term is negative inside the reference
        assert least == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 1], ids=["empty", "full"])
def test_references_without_a_border(name, value, shape, outputs):
    """One of the batch's two references is empty, or full: finite, with a gradient, and lower when right."""
    label = labels_of(shape, outputs)
    label[0] = value
    logits = logits_of(label, outputs).requires_grad_()
    loss = named_loss(name, outputs=outputs, include_background=outputs == "sigmoid")
    found = loss(logits, label)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    assert loss(certain(label, outputs), label) < found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(name, dtype, shape, outputs):
    """Under autocast the loss is that of the same logits in float32."""
    label = labels_of(shape, outputs)
    logits = logits_of(label, outputs).to(dtype)
    loss = named_loss(name, outputs=outputs, batch=True)
    exact = float(loss(logits.float(), label))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, label)
    assert float(found) == pytest.approx(exact, rel=0.01 if name == DEFAULT else 1e-6)


def test_large_patches_in_float16():
    """100000 pixels of the foreground, a number that float16 doesn't have."""
    label = torch.ones(1, 1, 320, 320)
    logits = torch.full_like(label, 2.0, dtype=torch.float16)
    for name in NAMES:
        if name != DEFAULT:
            assert math.isfinite(named_loss(name, outputs="sigmoid")(logits, label)), name


@pytest.mark.parametrize("name", NAMES)
def test_meta_tensors(name):
    """As MONAI's loaders give them."""
    label = labels_of(SHAPES["2D"], "sigmoid")
    logits = logits_of(label, "sigmoid")
    loss = named_loss(name, outputs="sigmoid")
    assert float(loss(MetaTensor(logits), MetaTensor(label))) == pytest.approx(float(loss(logits, label)))


# Two pixels with probabilities of 0.8 and 0.4; the first one is foreground.
P = (0.8, 0.4)
BY_HAND = {
    "dice": 1 - 2 * 0.8 / (1 + 1.2),
    "cross_entropy": (-math.log(0.8) - math.log(0.6)) / 2,
    "dice_ce": 1 - 2 * 0.8 / (1 + 1.2) + (-math.log(0.8) - math.log(0.6)) / 2,
    "focal": (0.2**2 * -math.log(0.8) + 0.4**2 * -math.log(0.6)) / 2,
    "tversky": 1 - 0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2),
    "mse": (0.2**2 + 0.4**2) / 2,
    # The foreground pixel lies on the border, its neighbour 1 px outside.
    "boundary": 1 - 2 * 0.8 / (1 + 1.2) + BOUNDARY_SHARE * (0 * 0.8 + 1 * 0.4) / 2,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_known_values(name):
    logits = torch.logit(torch.tensor(P)).view(1, 1, 1, 2)
    label = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert float(named_loss(name, outputs="sigmoid")(logits, label)) == pytest.approx(BY_HAND[name], abs=1e-4)


@pytest.mark.parametrize("name", BY_HAND)
def test_two_classes_of_a_softmax_are_a_sigmoid(name):
    """Logits (0, x) have the probabilities of sigmoid(x); without the background, overlaps are the same."""
    logits = torch.logit(torch.tensor(P)).view(1, 1, 1, 2)
    label = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    loss = named_loss(name, outputs="softmax", include_background=False)
    # MONAI's focal loss is the mean over channels, and only the truth's counts in a softmax.
    factor = 2 if name == "focal" else 1
    assert factor * float(loss(both, label)) == pytest.approx(BY_HAND[name], abs=1e-4)


def test_surface_term_against_distances_of_scipy():
    label = labels_of(SHAPES["2D"], "sigmoid", batch=1)
    logits = logits_of(label, "sigmoid")
    inside = label[0, 0].numpy() > 0
    distances = distance_transform_edt(~inside) - np.maximum(distance_transform_edt(inside) - 1, 0)
    surface = float((torch.sigmoid(logits)[0, 0] * torch.from_numpy(distances)).mean())
    dice = float(named_loss("dice", outputs="sigmoid")(logits, label))
    found = float(named_loss("boundary", outputs="sigmoid")(logits, label))
    assert found == pytest.approx(dice + BOUNDARY_SHARE * surface, rel=1e-5)


@pytest.mark.parametrize("spatial", SHAPES.values(), ids=SHAPES)
def test_centreline_term_is_that_of_monai(spatial):
    """With the smoothing of MONAI's combined loss, ours has its value."""
    label = labels_of(spatial, "sigmoid")
    logits = logits_of(label, "sigmoid")
    found = named_loss("centreline_dice", outputs="sigmoid")
    dice = found.loss.losses[0]
    dice.smooth_nr = dice.smooth_dr = 1.0
    theirs = SoftDiceclDiceLoss(iter_=CENTRELINE_EROSIONS, alpha=CENTRELINE_SHARE, sigmoid=True)
    assert float(found(logits, label)) == pytest.approx(float(theirs(logits, label)), rel=1e-6)


def test_a_broken_line_costs_more_than_a_thin_one():
    """What clDice is for: two masks that miss as many pixels, one of which breaks the line."""
    label = torch.zeros(1, 1, 21, 41)
    label[..., 9:12, 4:37] = 1
    broken, thin = label.clone(), label.clone()
    broken[..., 9:12, 15:26] = 0
    thin[..., 9, 4:37] = 0
    assert broken.sum() == thin.sum()
    losses = {}
    for name in ("dice", "centreline_dice"):
        loss = named_loss(name, outputs="sigmoid")
        losses[name] = [float(loss(certain(mask, "sigmoid"), label)) for mask in (broken, thin)]
    assert losses["dice"][0] == pytest.approx(losses["dice"][1])
    assert losses["centreline_dice"][0] > losses["centreline_dice"][1] + 0.05


def test_the_middle_of_a_wide_vessel_is_part_of_its_centreline():
    """A vessel of 17 px, wider than any at a field of view of 832 px, needs 8 erosions."""
    label = torch.zeros(1, 1, 33, 60)
    label[..., 8:25, 4:56] = 1
    hollow = label.clone()
    hollow[..., 14:19, 4:56] = 0
    loss = named_loss("centreline_dice", outputs="sigmoid").loss.losses[1]
    assert float(loss(certain(hollow, "sigmoid"), label)) > 0.3


def test_a_background_without_centreline():
    """Of a softmax, clDice leaves channel 0 out even where Dice counts it."""
    loss = named_loss("centreline_dice", outputs="softmax", include_background=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(logits_of(label := labels_of((24, 20), "softmax"), "softmax"), label)
    dice, centreline = loss.loss.losses
    assert dice.include_background
    assert not centreline.include_background


def test_batch_joins_the_overlap_of_images():
    label = torch.zeros(2, 1, 8, 8)
    label[0, :, :4] = 1
    logits = certain(label, "sigmoid")
    logits[1, :, 0, 0] = CERTAIN  # one pixel in an image whose reference is empty
    mean = float(named_loss("dice", outputs="sigmoid")(logits, label))
    joined = float(named_loss("dice", outputs="sigmoid", batch=True)(logits, label))
    assert mean == pytest.approx(0.5, abs=1e-3)
    assert joined == pytest.approx(1 - 64 / 65, abs=1e-3)


def settings_of(module):
    """The class of a loss and all that it was built with, its parts included."""
    public = {
        name: value if isinstance(value, (bool, int, float, str, type(None))) else type(value).__name__
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
    return type(module), public, {name: settings_of(part) for name, part in module.named_children()}


# What each trained with before a loss had a name.
BEFORE = {
    "retinal_vessel": DiceCELoss(sigmoid=True, batch=True),
    "breast_ultrasound": MaskAndClassificationLoss(DiceCELoss(sigmoid=True, batch=True)),
    "lung_ct": DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True),
}
OVERLAYS = {
    ("breast_ultrasound", method): DiceCELoss(sigmoid=True, batch=True) for method in ("unet", "cnn", "rnn")
}


@pytest.mark.parametrize("task", BEFORE)
def test_bundles_train_with_the_loss_that_they_had(task):
    loss = parse(open_bundle(task), "train.yaml").get_parsed_content("loss")
    assert settings_of(loss) == settings_of(BEFORE[task])


@pytest.mark.parametrize(("task", "method"), OVERLAYS, ids="-".join)
def test_methods_train_with_the_loss_that_they_had(task, method):
    files = ["train.yaml", f"methods/{method}.train.yaml"]
    loss = parse(open_bundle(task), *files).get_parsed_content("loss")
    assert settings_of(loss) == settings_of(OVERLAYS[task, method])


def test_the_example_trains_with_the_loss_that_it_had():
    parser = ConfigParser()
    parser.read_config(str(ROOT / "docs/examples/kidney_ct/configs/train.yaml"))
    loss = parser.get_parsed_content("loss")
    assert settings_of(loss) == settings_of(DiceCELoss(to_onehot_y=True, softmax=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", BEFORE)
def test_every_bundle_builds_every_loss(task, name):
    loss = parse(open_bundle(task), "train.yaml", overrides={"loss_name": name}).get_parsed_content("loss")
    if task == "breast_ultrasound":
        loss = loss.mask_loss
    expected = named_loss(name, **(LUNG if task == "lung_ct" else PICTURE))
    assert settings_of(loss) == settings_of(expected)


@pytest.mark.parametrize("task", BEFORE)
def test_the_comment_names_every_loss(task):
    lines = (open_bundle(task).config("train.yaml")).read_text().splitlines()
    (row,) = (number for number, line in enumerate(lines) if line.startswith("loss_name:"))
    comment = " ".join(lines[row - 4 : row])
    assert [name for name in NAMES if name not in comment] == []


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"name": "tverksy", "outputs": "sigmoid"}, "Did you mean tversky?"),
        ({"name": "hinge", "outputs": "sigmoid"}, "Known names: boundary, centreline_dice, cross_entropy,"),
        ({"name": "dice", "outputs": "softmx"}, "Did you mean softmax?"),
    ],
)
def test_unknown_names(arguments, advice):
    with pytest.raises(UsageError) as caught:
        named_loss(**arguments)
    assert advice in str(caught.value)
