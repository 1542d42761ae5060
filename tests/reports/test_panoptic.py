"""panoptic.json in COCO's form, and the map in colours."""

import json

import numpy as np
import pytest
from PIL import Image

from medseg.errors import UnsuitableError
from medseg.reports import write_panoptic
from medseg.reports.panoptic import ids_to_rgb
from medseg.volume import Mask, Segments

LESION = {"lesion": True, "background": False}


@pytest.fixture
def picture():
    array = np.ones((6, 9), np.uint16)
    array[0], array[1:4, 2:7], array[4, 8] = 0, 2, 300
    names = {0: "void", 1: "background", 2: "lesion_1", 300: "lesion_299"}
    return Mask(array, names, segments=Segments({1: "background", 2: "lesion", 300: "lesion"}, LESION))


def test_a_picture(picture, tmp_path):
    write_panoptic(picture, tmp_path, "case_1")
    record = json.loads((tmp_path / "panoptic.json").read_text())
    assert record["categories"] == [
        {"id": 1, "name": "lesion", "isthing": 1},
        {"id": 2, "name": "background", "isthing": 0},
    ]
    assert record["images"] == [{"id": 1, "file_name": "case_1", "height": 6, "width": 9}]
    (annotation,) = record["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (1, "panoptic.png")
    assert annotation["segments_info"] == [
        {"id": 1, "category_id": 2, "area": 54 - 9 - 15 - 1, "bbox": [0, 1, 9, 5], "iscrowd": 0},
        {"id": 2, "category_id": 1, "area": 15, "bbox": [2, 1, 5, 3], "iscrowd": 0},
        {"id": 300, "category_id": 1, "area": 1, "bbox": [8, 4, 1, 1], "iscrowd": 0},
    ]


def test_the_map_holds_the_ids(picture, tmp_path):
    """As panopticapi reads it: id = R + 256 G + 256^2 B."""
    write_panoptic(picture, tmp_path, "case_1")
    colours = np.asarray(Image.open(tmp_path / "panoptic.png")).astype(np.uint32)
    assert colours.shape == (6, 9, 3)
    assert np.array_equal(colours @ np.array([1, 256, 256**2], np.uint32), picture.array)
    assert ids_to_rgb(np.array([[65535]]))[0, 0].tolist() == [255, 255, 0]


def test_a_volume(tmp_path):
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2:5, 3] = 1
    mask = Mask(
        array, {0: "background", 1: "left"}, affine=np.eye(4), segments=Segments({1: "left"}, {"left": False})
    )
    write_panoptic(mask, tmp_path, "scan")
    assert [path.name for path in tmp_path.iterdir()] == ["panoptic.json"]
    record = json.loads((tmp_path / "panoptic.json").read_text())
    assert record["info"]["area"] == "voxels"
    assert record["info"]["bbox"].startswith("i, j, k of the first voxel")
    assert record["images"] == [{"id": 1, "file_name": "scan", "i": 4, "j": 5, "k": 6}]
    (annotation,) = record["annotations"]
    assert annotation["file_name"] == "segmentation.nii.gz"
    assert annotation["segments_info"] == [
        {"id": 1, "category_id": 1, "area": 6, "bbox": [1, 2, 3, 2, 3, 1], "iscrowd": 0}
    ]


def test_nothing_found(tmp_path):
    """The categories stay, so that their numbers are the same for every image."""
    mask = Mask(np.zeros((6, 9), np.uint8), {0: "background"}, segments=Segments({}, LESION))
    write_panoptic(mask, tmp_path, "case")
    record = json.loads((tmp_path / "panoptic.json").read_text())
    assert record["annotations"][0]["segments_info"] == []
    assert [category["id"] for category in record["categories"]] == [1, 2]


def test_labels_are_no_segments(tmp_path):
    with pytest.raises(UnsuitableError, match="values are segments"):
        write_panoptic(Mask(np.ones((2, 2), np.uint8), {1: "lesion"}), tmp_path, "case")
