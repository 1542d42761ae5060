"""Small components go, and holes are filled."""

import numpy as np
import torch
from monai.data import MetaTensor

from medseg.case import Origin
from medseg.postprocessing import CleanObjectsd, DropSmallComponentsd


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
