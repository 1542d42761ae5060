"""A B-mode picture reaches the network without its frame, and the answer finds its way back."""

from functools import cache

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CopyItemsd
from PIL import Image

from medseg import phantoms
from medseg.case import Origin
from medseg.errors import UnsuitableError
from medseg.transforms import FindUltrasoundRegiond, FromSquared, LoadVolumed, ToSquared

SIZE_PX = 256
LABELS = {0: "background", 1: "lesion"}


@cache
def _phantom(seed=0, framed=True):
    """Picture, lesion and scan; shared, so to be left as they are."""
    return phantoms.breast_ultrasound(seed, framed=framed)


def _save(path, pixels):
    Image.fromarray(pixels).save(path)
    return str(path)


def _loader():
    return LoadVolumed("image", label_keys=["label"], channels=1, labels=LABELS, passed_channels=[3])


def _item(tmp_path, picture, mask):
    return {
        "image": _save(tmp_path / "image.png", picture),
        "label": _save(tmp_path / "label.png", mask * 255),
    }


@pytest.fixture
def item(tmp_path):
    picture, mask, _ = _phantom()
    return _item(tmp_path, picture, mask)


class TestLoading:
    def test_colours_need_permission(self, tmp_path):
        path = _save(tmp_path / "image.png", np.stack([_phantom()[0]] * 3, -1))
        with pytest.raises(UnsuitableError, match="with 1 channel; got"):
            LoadVolumed("image", channels=1)({"image": path})
        assert LoadVolumed("image", channels=1, passed_channels=[3])({"image": path})["image"].shape[0] == 3

    @pytest.mark.seconds
    def test_grey_as_rgb_is_the_same_as_grey(self, tmp_path):
        picture, mask, _ = _phantom()
        found = []
        for pixels in (picture, np.stack([picture] * 3, -1)):
            found.append(
                Compose([_loader(), FindUltrasoundRegiond("image")])(_item(tmp_path, pixels, mask))["image"]
            )
        np.testing.assert_array_equal(*found)
        assert [image.meta["origin"].findings for image in found] == [(), ()]


class TestFindScand:
    def test_frame_goes(self, item):
        picture, _, scan = _phantom()
        found = Compose([_loader(), FindUltrasoundRegiond("image")])(item)
        image, field = found["image"], found["field_of_view"]
        assert (image.dtype, tuple(image.shape)) == (torch.float32, (1, *picture.shape))
        assert (field.dtype, tuple(field.shape)) == (torch.uint8, (1, *picture.shape))
        assert (np.asarray(field[0], bool) == scan).mean() > 0.99
        np.testing.assert_array_equal(image[0], np.where(np.asarray(field[0], bool), picture, 0))

    def test_warnings_follow_those_of_the_reader(self):
        picture = 255 - _phantom()[0]
        meta = {"origin": Origin().warned("reader", "from the reader")}
        image = MetaTensor(torch.as_tensor(picture[None]), meta=meta)
        found = FindUltrasoundRegiond("image")({"image": image})["image"].meta["origin"].texts("warning")
        assert found[0] == "from the reader"
        assert found[1].startswith("the grey values seem to be inverted")
        assert meta["origin"].texts("warning") == ["from the reader"]

    def test_region_of_dicom_limits_it(self):
        picture = _phantom(framed=False)[0]
        meta = {"origin": Origin(region_box=(20, 30, 300, 200))}
        found = FindUltrasoundRegiond("image")(
            {"image": MetaTensor(torch.as_tensor(picture[None]), meta=meta)}
        )
        inside = np.zeros(picture.shape)
        inside[20:320, 30:230] = 1
        np.testing.assert_array_equal(found["field_of_view"][0], inside)


def _resized(item, *more):
    keys = ["image", "field_of_view", "label"]
    steps = [
        _loader(),
        FindUltrasoundRegiond("image"),
        CopyItemsd("field_of_view", names="source_field_of_view"),
    ]
    return Compose([*steps, ToSquared(keys, SIZE_PX), *more])(item)


class TestThereAndBack:
    def test_square_with_the_scan_in_the_middle(self, item):
        resized = _resized(item)
        for key in ("image", "field_of_view", "label"):
            assert (resized[key].dtype, tuple(resized[key].shape)) == (torch.float32, (1, SIZE_PX, SIZE_PX))
        columns = np.flatnonzero(np.asarray(resized["field_of_view"][0]).any(axis=0))
        assert len(columns) == round(SIZE_PX * 360 / 400)
        assert columns[0] == (SIZE_PX - len(columns)) // 2

    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("framed", [False, True])
    def test_there_and_back(self, tmp_path, seed, framed):
        picture, mask, _ = _phantom(seed, framed)
        resized = _resized(_item(tmp_path, picture, mask))
        restored = FromSquared("label")(resized)["label"]
        assert tuple(restored.shape) == (1, *picture.shape)
        back = np.asarray(restored[0]) > 0.5
        assert 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum()) > 0.985
        assert not np.asarray(restored[0])[np.asarray(resized["source_field_of_view"][0]) == 0].any()

    def test_wide_and_odd_sizes(self, tmp_path):
        picture, mask, _ = phantoms.breast_ultrasound(3, (201, 333))
        resized = _resized(_item(tmp_path, picture, mask))
        assert tuple(FromSquared("label")(resized)["label"].shape) == (1, 201, 333)
