"""Pictures as squares and back."""

import pytest
import torch
from lesion_picture import picture

from medseg.transforms import (
    FromSquared,
    ToSquared,
)


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
