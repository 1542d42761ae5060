"""Appearance of ultrasound: the picture changes, its label never."""

import pytest
import torch
from lesion_picture import picture

from medseg.transforms import (
    RandCalipersd,
    RandShadowd,
    RandSpeckled,
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
