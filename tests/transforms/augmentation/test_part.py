"""Parts of a picture, with a lesion and without."""

import pytest
import torch
from lesion_picture import picture

from medseg.transforms import (
    RandPartd,
)


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
