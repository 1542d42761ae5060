"""The target of a training: mask and classes in one tensor."""

import pytest
import torch

from medseg.data.picture_targets import JoinTargetsd


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
