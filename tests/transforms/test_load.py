"""An image as its file or its array in memory has it, upright and with its channels."""

import nibabel as nib
import numpy as np
import pytest
import torch
from fundus_items import LABELS, photograph, saved
from monai.data import MetaTensor

from medseg.case import Finding
from medseg.errors import LabelError, UnreadableError, UnsuitableError
from medseg.transforms import (
    LoadVolumed,
)


class TestLoadVolumed:
    @pytest.fixture
    def files(self, tmp_path):
        picture, vessels, _ = photograph(300)
        return {
            "image": saved(tmp_path / "image.png", picture),
            "label": saved(tmp_path / "label.png", vessels * 255),
        }

    def test_image_and_label(self, files):
        picture, vessels, _ = photograph(300)
        item = LoadVolumed("image", label_keys=["label", "label_2nd"], labels={"0": "b", "1": "v"})(files)
        assert set(item) == {"image", "label"}
        assert (item["image"].dtype, item["label"].dtype) == (torch.uint8, torch.float32)
        np.testing.assert_array_equal(item["image"], picture.transpose(2, 0, 1))
        np.testing.assert_array_equal(item["label"], vessels[None])
        meta = item["image"].meta
        assert meta["filename_or_obj"] == meta["origin"].source == files["image"]
        assert not meta["origin"].findings
        assert meta["source_shape"].tolist() == [300, 300]

    def test_grey_is_repeated_and_said_so(self, tmp_path):
        grey = photograph(300)[0][..., 1]
        image = LoadVolumed("image")({"image": saved(tmp_path / "a.png", grey)})["image"]
        said = Finding("warning", "LoadVolumed", "the picture is grey: 3 colour channels were expected")
        assert image.meta["origin"].findings == (said,)
        np.testing.assert_array_equal(image, np.repeat(grey[None], 3, axis=0))
        alone = LoadVolumed("image", channels=1)({"image": saved(tmp_path / "a.png", grey)})["image"]
        assert not alone.meta["origin"].findings
        assert alone.shape[0] == 1

    def test_several_warnings_come_one_by_one(self, tmp_path):
        grey = np.repeat(photograph(300)[0][..., 1:2], 2, axis=-1)
        image = LoadVolumed("image")({"image": saved(tmp_path / "a.png", grey)})["image"]
        alpha, colours = image.meta["origin"].texts("warning")
        assert "alpha" in alpha
        assert "grey" in colours

    def test_16_bits_stay(self, tmp_path):
        deep = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
        image = LoadVolumed("image", channels=1)({"image": saved(tmp_path / "a.png", deep)})["image"]
        assert image.dtype == torch.int32  # torch computes little on uint16
        np.testing.assert_array_equal(image[0], deep)

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_volume_is_no_photograph_and_the_reverse(self, tmp_path, files, name):
        nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / name)
        volume = {"image": str(tmp_path / name)}
        with pytest.raises(UnsuitableError, match=r"got a volume .* with 1 channel"):
            LoadVolumed("image")(volume)
        assert LoadVolumed("image", channels=1, spatial_dims=3)(volume)["image"].shape == (1, 4, 5, 6)
        with pytest.raises(UnsuitableError, match=r"got a picture .* with 3 channels"):
            LoadVolumed("image", channels=1, spatial_dims=3)(files)
        with pytest.raises(UnsuitableError, match=r"got a picture .* with 3 channels"):
            LoadVolumed("image", channels=1)(files)

    def test_label_of_another_size_or_with_unknown_values(self, tmp_path, files):
        load = LoadVolumed("image", label_keys=["label"], labels=LABELS)
        _, vessels, _ = photograph(300)
        with pytest.raises(LabelError, match=r"size \(300, 300\).*\(300, 299\)"):
            load(files | {"label": saved(tmp_path / "cut.png", vessels[:, 1:])})
        with pytest.raises(LabelError, match=r"with \[7\]"):
            load(files | {"label": saved(tmp_path / "odd.png", vessels * 7)})

    def test_a_missing_file(self, files):
        with pytest.raises(UnreadableError, match="does not exist"):
            LoadVolumed("image")({"image": files["image"] + "x"})


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_whose_last_axis_is_its_colours(channels):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, channels), np.uint8)
    image = MetaTensor(torch.as_tensor(pixels), meta={"original_channel_dim": "no_channel"})
    found = LoadVolumed("image", channels=channels)({"image": image})["image"]
    assert np.array_equal(found.numpy(), np.moveaxis(pixels, -1, 0))


def test_a_picture_to_which_monai_has_added_an_axis():
    image = MetaTensor(torch.rand(1, 20, 30), meta={"original_channel_dim": "no_channel"})
    assert torch.equal(LoadVolumed("image", channels=1)({"image": image})["image"], image)


def test_a_picture_with_its_channels_last():
    with pytest.raises(UnsuitableError, match="Put the channels first"):
        LoadVolumed("image")({"image": np.zeros((20, 30, 3), np.uint8)})


def test_a_volume_without_an_affine():
    with pytest.raises(UnsuitableError, match="a volume with an affine"):
        LoadVolumed("image", channels=1, spatial_dims=3)({"image": np.zeros((8, 9, 10), np.int16)})
