"""A stamp in each format: read back, passed over by other programs, and no voxel is another for it."""

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from stamped_results import PROVENANCE

from medseg.io import read_mask, write_mask
from medseg.io.mesh import write_mesh
from medseg.io.raster import write_pages, write_picture
from medseg.io.stamps import read_stamp
from medseg.stamp import KEY, new_stamp
from medseg.volume import Mask

STAMP = new_stamp({"task": "lung_ct", **PROVENANCE})
AFFINE = np.array([[-0.9, 0, 0, 40], [0, -0.9, 0, 30], [0, 0, 2.0, -100], [0, 0, 0, 1.0]])


@pytest.fixture
def mask():
    array = np.zeros((20, 22, 24), np.uint8)
    array[4:10, 5:12, 6:14] = 1
    return Mask(array, {0: "background", 1: "lung"}, affine=AFFINE)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_a_volume(mask, tmp_path, name):
    path = write_mask(mask, tmp_path / name, STAMP)
    assert read_stamp(path) == STAMP
    again = read_mask(path, mask.labels)
    assert np.array_equal(again.array, mask.array)
    assert np.allclose(again.affine, AFFINE)
    assert np.array_equal(itk.array_from_image(itk.imread(str(path))).T, mask.array)
    plain = write_mask(mask, tmp_path / f"plain_{name}")
    assert read_stamp(plain) is None
    assert np.array_equal(read_mask(plain, mask.labels).array, mask.array)


def test_nifti_holds_it_as_a_comment(mask, tmp_path):
    """What dcm2niix's and FSL's readers do: the voxels begin where vox_offset says."""
    path = write_mask(mask, tmp_path / "a.nii", STAMP)
    image = nib.load(path)
    (extension,) = image.header.extensions
    assert extension.get_code() == 6
    content = path.read_bytes()
    start = int(np.frombuffer(content[108:112], "<f4")[0])  # vox_offset
    assert start % 16 == 0
    assert content[start:] == mask.array.tobytes(order="F")
    assert content[348:352] == b"\1\0\0\0"


def test_nrrd_holds_it_as_a_key(mask, tmp_path):
    path = write_mask(mask, tmp_path / "a.nrrd", STAMP)
    assert dict(itk.imread(str(path)))[KEY] == STAMP.text()


def test_pictures(mask, tmp_path):
    flat = Mask(mask.array[6], mask.labels)
    path = write_mask(flat, tmp_path / "a.png", STAMP)
    assert read_stamp(path) == STAMP
    assert Image.open(path).text == {KEY: STAMP.text()}
    assert np.array_equal(np.asarray(Image.open(path)), flat.array)
    assert read_stamp(write_picture(np.zeros((5, 6, 3), np.uint8), tmp_path / "b.png", STAMP)) == STAMP
    pages = write_pages(mask.array, tmp_path / "a.tif", STAMP)
    assert read_stamp(pages) == STAMP
    assert np.array_equal(tifffile.imread(pages), mask.array)


def test_meshes(mask, tmp_path):
    """STL has room for the number alone; the triangles are the same bytes."""
    stl = write_mesh(mask, 1, tmp_path / "a.stl", STAMP)
    assert read_stamp(stl).result == STAMP.result
    plain = write_mesh(mask, 1, tmp_path / "b.stl")
    assert stl.read_bytes()[80:] == plain.read_bytes()[80:]
    assert read_stamp(plain) is None
    assert read_stamp(write_mesh(mask, 1, tmp_path / "a.obj", STAMP)) == STAMP


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "a.nrrd", "a.png", "a.tif", "a.dcm", "a.stl", "a.obj", "a.html", "a.json", "a.txt"]
)
@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"<html>", b"[1]", b"\xff\xfe"], ids=repr)
def test_a_damaged_file_has_none(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content[:500])
    assert read_stamp(path) is None
    assert read_stamp(tmp_path / f"missing_{name}") is None
