"""The field of view of a photograph, and what is odd about it."""

import numpy as np
import pytest
import torch
from fundus_items import dice, photograph, saved
from monai.transforms import Compose

from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
)


class TestFindFieldOfView:
    @pytest.mark.seconds
    def test_adds_field_diameter_and_warnings(self, tmp_path):
        picture, _, field = photograph(300)
        find = Compose([LoadVolumed("image"), FindFieldOfViewd("image")])
        item = find({"image": saved(tmp_path / "a.png", picture)})
        assert (item["field_of_view"].shape, item["field_of_view"].dtype) == ((1, 300, 300), torch.uint8)
        assert dice(np.asarray(item["field_of_view"][0]) > 0, field) > 0.99
        assert float(item["image"].meta["field_diameter_px"]) == pytest.approx(276, rel=0.02)
        assert not item["image"].meta["origin"].findings

    def test_keeps_the_warnings_of_the_reader(self, tmp_path):
        find = Compose([LoadVolumed("image"), FindFieldOfViewd("image")])
        item = find({"image": saved(tmp_path / "a.png", photograph(300)[0][..., 1])})
        assert item["image"].meta["origin"].texts("warning") == [
            "the picture is grey: 3 colour channels were expected",
            "the picture's colours are not those of a retina (red most, blue least)",
        ]
