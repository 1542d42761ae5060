"""Network, loss and transforms of the breast bundle, one by one."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.case import Origin
from medseg.losses import MaskAndClassLoss
from medseg.networks import ClassifyingSegResNet
from medseg.postprocessing import CleanLesionsd
from medseg.transforms import (
    FromSquared,
    JoinMalignancyd,
    RandBackgroundd,
    RandCalipersd,
    RandShadowd,
    RandSpeckled,
    SplitMalignancyd,
    ToSquared,
)


def picture(shape=(90, 140)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    disc = ((rows - 40) ** 2 + (columns - 90) ** 2 < 400).astype(np.float32)
    meta = {"source_shape": torch.tensor(shape), "origin": Origin()}
    return {"image": MetaTensor(torch.as_tensor(disc[None]), meta=meta), "label": torch.as_tensor(disc[None])}


def test_network_answers_the_question_in_a_channel():
    torch.manual_seed(0)
    network = ClassifyingSegResNet(
        spatial_dims=2, in_channels=1, out_channels=1, init_filters=8, blocks_down=(1, 1, 1), blocks_up=(1, 1)
    ).eval()
    answer = network(torch.rand(2, 1, 32, 48))
    assert answer.shape == (2, 2, 32, 48)
    assert (answer[:, 1].flatten(1) == answer[:, 1, :1, 0]).all()
    answer[:, 1].sum().backward()
    assert network.classifier[1].weight.grad.abs().sum() > 0
    assert network.convInit.conv.weight.grad.abs().sum() > 0  # the encoder learns from it


def test_loss_leaves_out_what_is_not_known():
    loss = MaskAndClassLoss(torch.nn.BCEWithLogitsLoss(), weight=1.0, smoothing=0.0)
    pred = torch.zeros(2, 2, 4, 4)
    label = torch.zeros(2, 2, 4, 4)
    label[:, 1] = torch.tensor([1.0, -1.0])[:, None, None]
    assert float(loss(pred, label)) == pytest.approx(2 * np.log(2), rel=1e-5)
    label[:, 1] = -1
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)
    pred[1, 1] = 100  # of an image whose answer is not known
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)


@pytest.mark.parametrize("shape", [(90, 140), (140, 130), (64, 64), (400, 150)])
def test_there_and_back(shape):
    item = picture(shape)
    item["source_field"] = torch.ones(1, *shape)
    squared = ToSquared("image", 128, label_keys=["label"])(item)
    assert squared["image"].shape == squared["label"].shape == (1, 128, 128)
    squared["pred"] = squared["label"]
    back = FromSquared("pred")(squared)["pred"]
    assert back.shape == (1, *shape)
    assert ((back > 0.5) == (item["label"] > 0.5)).float().mean() > 0.99


def test_field_is_cut_out_and_outside_is_nothing():
    item = picture()
    field = torch.zeros(1, 90, 140)
    field[:, 10:80, 60:130] = 1
    item["field"] = item["source_field"] = field
    squared = ToSquared("image", 70)(item)
    assert torch.equal(squared["image"].as_tensor(), item["image"].as_tensor()[:, 10:80, 60:130])
    squared["pred"] = torch.ones(1, 70, 70)
    assert torch.equal(FromSquared("pred")(squared)["pred"].as_tensor(), field)


def test_malignancy_travels():
    label = torch.ones(1, 4, 4)
    for pathology, value in (("malignant", 1), ("benign", 0), ("none", -1)):
        joined = JoinMalignancyd("label")({"label": label, "pathology": pathology})["label"]
        assert joined.shape == (2, 4, 4)
        assert (joined[1] == value).all()
    assert (JoinMalignancyd("label")({"label": label})["label"][1] == -1).all()
    answer = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 2.0)])
    split = SplitMalignancyd("pred", temperature=2.0)({"pred": answer})
    assert split["pred"].shape == (1, 4, 4)
    assert float(split["malignancy"][0]) == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("transform", [RandSpeckled, RandShadowd, RandCalipersd])
def test_looks_change_the_picture_alone_and_follow_their_seed(transform):
    item = picture()
    item["image"] = item["image"] * 0.4 + 0.2
    change = transform("image", prob=1.0)
    changed = [change.set_random_state(seed=seed)(item) for seed in (1, 1, 2)]
    assert torch.equal(changed[0]["image"], changed[1]["image"])
    assert not torch.equal(changed[0]["image"], changed[2]["image"])
    assert not torch.equal(changed[0]["image"], item["image"])
    assert torch.equal(changed[0]["label"], item["label"])
    assert changed[0]["image"].min() >= 0
    assert changed[0]["image"].max() <= 1


def test_background_has_no_lesion():
    shown = RandBackgroundd("image", prob=1.0)({**picture(), "pathology": "benign"})
    assert shown["image"].max() == 0  # the disc is all that the picture shows
    assert shown["label"].max() == 0
    assert shown["pathology"] == "none"
    full = {"image": torch.ones(1, 8, 8), "label": torch.ones(1, 8, 8), "pathology": "benign"}
    assert RandBackgroundd("image", prob=1.0)(full)["pathology"] == "benign"


def test_specks_go_and_holes_are_filled():
    mask = np.zeros((1, 40, 40), np.float32)
    mask[0, 5:20, 5:20] = 1
    mask[0, 10, 10] = 0
    mask[0, 30, 30] = 1
    image = MetaTensor(torch.zeros(1, 40, 40), meta={})
    cleaned = CleanLesionsd("pred", min_px=10)({"pred": torch.as_tensor(mask), "image": image})
    assert cleaned["pred"].sum() == 15 * 15
    assert cleaned["image"].meta["origin"].texts("note") == ["1 specks of 1 px removed"]
