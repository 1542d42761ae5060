"""A photograph at the network's size, and the network's output back on its grid."""

import numpy as np
import pytest
import torch
from fundus_items import LABELS, NETWORK_PX, dice, item_of, photograph, saved
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose, CopyItemsd
from scipy.ndimage import binary_erosion, gaussian_filter

from medseg.transforms import (
    FindFieldOfViewd,
    LoadVolumed,
    NormalizeFieldOfViewd,
    ResizeFieldOfViewd,
    RestoreFieldOfViewd,
)

pytestmark = pytest.mark.seconds

CUTS = {
    "square": (np.s_[:], np.s_[:]),
    "cut at top and bottom": (np.s_[100:-101], np.s_[:]),
    "cut on one side": (np.s_[:], np.s_[:-133]),
    "odd": (np.s_[3:-4], np.s_[11:-2]),
}


class TestResizeAndRestore:
    @pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
    @pytest.mark.parametrize(("size_px", "diameter_px"), [(701, NETWORK_PX), (701, 500), (400, NETWORK_PX)])
    def test_there_and_back(self, cut, size_px, diameter_px):
        picture, vessels, field = (plane[cut] for plane in photograph(size_px))
        smooth = gaussian_filter(vessels.astype(np.float32), 3) * field
        item = item_of(picture, field, label=vessels, probability=smooth)
        item["image"].meta["field_diameter_px"] = torch.tensor(0.92 * size_px)
        there = ResizeFieldOfViewd(["image", "field_of_view", "label", "probability"], diameter_px)(item)
        assert {there[key].shape[1:] for key in ("image", "field_of_view", "label", "probability")} == {
            there["image"].shape[1:]
        }
        *_, height, width = there["image"].meta["field_box"].tolist()
        assert there["image"].shape[1] / height == pytest.approx(there["image"].shape[2] / width, rel=0.01)
        back = RestoreFieldOfViewd(["label", "probability"])(there)
        found = {key: np.asarray(back[key][0]) for key in ("label", "probability")}
        assert found["probability"].shape == field.shape
        assert not found["probability"][~field].any()
        assert not found["label"][~field].any()
        inner = binary_erosion(field, iterations=5)
        error = np.abs(found["probability"] - smooth)[inner]
        assert error.max() < 0.04
        assert error.mean() < 0.004
        assert dice(found["label"] > 0.5, vessels > 0) >= 0.97

    @pytest.mark.parametrize("diameter_px", [300, NETWORK_PX])
    @pytest.mark.parametrize("pad", [(0, 0), (0, 401), (350, 20)])
    def test_the_field_gets_its_diameter(self, diameter_px, pad):
        picture, _, field = photograph(701)
        picture = np.pad(picture, ((pad[0], 0), (0, pad[1]), (0, 0)))
        field = np.pad(field, ((pad[0], 0), (0, pad[1])))
        item = item_of(picture, field)
        item["image"].meta["field_diameter_px"] = torch.tensor(0.92 * 701)
        small = np.asarray(
            ResizeFieldOfViewd(["image", "field_of_view"], diameter_px)(item)["field_of_view"][0]
        )
        for axis in (0, 1):
            # A row or column counts by the share of it that is in the field.
            assert small.max(axis=axis).sum() == pytest.approx(diameter_px, rel=0.01)
        assert 2 * np.sqrt(small.sum() / np.pi) == pytest.approx(diameter_px, rel=0.01)
        assert max(small.shape) == pytest.approx(1.04 * diameter_px, rel=0.01)

    def test_a_small_structure_comes_back_to_its_own_pixels(self):
        picture, _, field = (plane[37:, 20:] for plane in photograph(701))
        spot = np.zeros(field.shape, np.float32)
        spot[300:309, 205:216] = 1
        item = item_of(picture, field, label=spot)
        back = RestoreFieldOfViewd("label")(ResizeFieldOfViewd(["image", "label"], NETWORK_PX)(item))[
            "label"
        ][0]
        rows, columns = (np.arange(n) for n in spot.shape)
        mass = np.asarray(back)
        assert (mass.sum(axis=1) @ rows) / mass.sum() == pytest.approx(304, abs=0.2)
        assert (mass.sum(axis=0) @ columns) / mass.sum() == pytest.approx(210, abs=0.2)

    def test_a_structure_lies_where_the_box_and_the_scale_put_it(self):
        picture, _, field = photograph(701)
        spot = np.zeros(field.shape, np.float32)
        spot[330:371, 60:71] = 1  # near the edge, where the ways to place pixel centres differ most
        there = ResizeFieldOfViewd(["image", "label"], 200)(item_of(picture, field, label=spot))
        top, left, height, width = there["image"].meta["field_box"].tolist()
        mass = np.asarray(there["label"][0])
        rows, columns = (np.arange(n) + 0.5 for n in mass.shape)
        row, column = (mass.sum(axis=1) @ rows) / mass.sum(), (mass.sum(axis=0) @ columns) / mass.sum()
        assert row == pytest.approx((350.5 - top) * mass.shape[0] / height, abs=0.05)
        assert column == pytest.approx((65.5 - left) * mass.shape[1] / width, abs=0.05)

    def test_thin_lines_keep_their_weight_when_a_photograph_shrinks(self):
        picture, _, field = photograph(701)
        lines = np.zeros(field.shape, np.float32)
        lines[:, 101:600:49] = 1
        there = ResizeFieldOfViewd(["image", "label"], 160)(item_of(picture, field, label=lines))
        _, left, _, width = there["image"].meta["field_box"].tolist()
        row = np.asarray(there["label"][0, 80])
        scale = len(row) / width
        between = ((np.arange(101, 600, 49) + 25 - left) * scale).astype(int)
        np.testing.assert_allclose(np.diff(np.cumsum(row)[between]), scale, rtol=0.03)

    def test_leaves_its_input_alone(self):
        item = item_of(*photograph(400)[::2])
        before = {key: value.clone() for key, value in item.items()}
        ResizeFieldOfViewd(["image", "field_of_view"], 300)(item)
        assert "field_box" not in item["image"].meta
        for key, value in before.items():
            np.testing.assert_array_equal(item[key], value)


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_items_of_two_sizes_pass_the_loader_as_the_evaluator_uses_it(tmp_path, num_workers):
    preprocessing = Compose(
        [
            LoadVolumed("image", label_keys=["label"], labels=LABELS),
            FindFieldOfViewd("image"),
            CopyItemsd("field_of_view", names="source_field_of_view"),
            ResizeFieldOfViewd(["image", "field_of_view"], 300),
            NormalizeFieldOfViewd("image"),
        ]
    )
    items = []
    for size_px, crop in ((300, np.s_[:]), (401, np.s_[60:-50])):
        picture, vessels, _ = (plane[crop] for plane in photograph(size_px))
        shown = picture if size_px == 300 else picture[..., 1]
        image = saved(tmp_path / f"{size_px}.png", shown)
        items.append({"image": image, "label": saved(tmp_path / f"{size_px}_v.png", vessels), "subject": "s"})
    loader = DataLoader(Dataset(items, preprocessing), batch_size=1, num_workers=num_workers)
    shapes, warnings = [], []
    for batch, item in zip(loader, items, strict=True):
        pred = torch.sigmoid(batch["image"][:, 1:2])
        (single,) = decollate_batch({**batch, "pred": pred})
        restored = RestoreFieldOfViewd("pred")(single)
        assert single["image"].meta["filename_or_obj"] == item["image"]
        assert single["subject"] == "s"
        assert restored["pred"].shape == single["label"].shape == single["source_field_of_view"].shape
        assert not restored["pred"][single["source_field_of_view"] == 0].any()
        shapes.append(tuple(restored["pred"].shape))
        warnings.append(single["image"].meta["origin"].texts("warning"))
    assert shapes == [(1, 300, 300), (1, 291, 401)]
    assert [len(lines) for lines in warnings] == [0, 2]
