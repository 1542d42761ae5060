"""Mask and probabilities out of the network's channels."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.case import Origin
from medseg.postprocessing import RequireObjectd, SplitOutputsd

NAMES = ("malignancy", "lesion_probability")


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
