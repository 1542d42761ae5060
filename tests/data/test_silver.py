"""Silver masks: the rules' own, but where somebody looked and corrected."""

import csv

import numpy as np
import pytest
from PIL import Image

from medseg.data import silver
from medseg.data.silver import Correction, corrected, prism, read_corrections, write_silver, write_slabs
from medseg.io import nifti, read_mask, read_volume

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
AFFINE = np.array([[1.5, 0, 0, -30], [0, 1.5, 0, 15], [0, 0, 1.5, 100], [0, 0, 0, 1.0]])


def square(to, x, y, z, **more):
    """A correction of voxels x0..x1, y0..y1, z0..z1 of a grid with AFFINE."""
    x, y, z = (
        [origin + 1.5 * (low - 0.5), origin + 1.5 * (high + 0.5)]
        for origin, (low, high) in zip(AFFINE[:3, 3], (x, y, z), strict=True)
    )
    outline = [[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]]
    return Correction(to, outline, z, "test", **more)


@pytest.mark.seconds
def test_a_silver_mask_is_the_rules_without_corrections(chest_phantom, tmp_path):
    nifti.write(chest_phantom.array, chest_phantom.affine, tmp_path / "scan.nii.gz")
    write_silver(tmp_path / "made", tmp_path, {"one": "scan.nii.gz"}, "lung_silver")
    image = read_volume(tmp_path / "made" / "images" / "one.nii.gz")
    mask = read_mask(tmp_path / "made" / "labels" / "one.nii.gz", LABELS)
    assert np.array_equal(image.array[0], np.maximum(chest_phantom.array, -1024))
    assert not read_volume(tmp_path / "made" / "corrected" / "one.nii.gz").array.any()
    for label in (1, 2):
        found, truth = mask.array == label, chest_phantom.labels == label
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def test_what_is_there_is_left(chest_phantom, tmp_path):
    for part in ("images", "labels"):
        (tmp_path / "made" / part).mkdir(parents=True)
        (tmp_path / "made" / part / "one.nii.gz").write_bytes(b"corrected by hand")
    write_silver(tmp_path / "made", tmp_path, {"one": "no such scan"}, "lung_silver")
    assert (tmp_path / "made" / "labels" / "one.nii.gz").read_bytes() == b"corrected by hand"


def test_a_prism_is_where_its_voxels_are():
    inside = prism((20, 20, 10), AFFINE, square("background", (3, 6), (8, 9), (2, 4)))
    assert np.argwhere(inside).min(0).tolist() == [3, 8, 2]
    assert np.argwhere(inside).max(0).tolist() == [6, 9, 4]
    assert inside.sum() == 4 * 2 * 3


def test_gas_goes_to_the_background():
    labels, hu = np.ones((20, 20, 10), np.uint8), np.full((20, 20, 10), -900.0)
    hu[4, 8, 3] = 0
    mended = corrected(labels, hu, AFFINE, [square("background", (3, 6), (8, 9), (2, 4), hu=(-1024, -500))])
    assert (labels == 1).all()
    assert (mended == 0).sum() == 23
    assert mended[4, 8, 3] == 1


def test_a_tube_becomes_airway_with_a_wall_of_nobody():
    labels, hu = np.ones((20, 20, 10), np.uint8), np.full((20, 20, 10), -850.0)
    hu[7:12, 7:12], hu[8:11, 8:11] = 0, -1000  # a wall around a lumen
    mended = corrected(labels, hu, AFFINE, [square("airway", (5, 13), (5, 13), (0, 9))])
    assert (mended[8:11, 8:11] == 3).all()
    assert (mended == 3).sum() == 90
    assert (mended[7, 8:11] == 0).all()
    assert mended[5, 5, 5] == 1


def test_missed_lung_is_added_with_its_vessels():
    labels, hu = np.zeros((40, 40, 30), np.uint8), np.full((40, 40, 30), 40.0)
    hu[10:30, 10:30, 5:25] = -850
    hu[20, 20, 5:25] = 40  # a vessel
    mended = corrected(labels, hu, AFFINE, [square("right_lung", (5, 35), (5, 35), (0, 29), hu=(-980, -400))])
    assert (mended[12:28, 12:28, 7:23] == 2).all()
    assert not np.isin(mended, (1, 3)).any()


def test_the_shipped_corrections_can_be_read():
    corrections = read_corrections("lung_silver")
    assert "popi" not in corrections
    assert all(entry.to in silver.LABELS and entry.why for found in corrections.values() for entry in found)


@pytest.fixture
def slices(tmp_path):
    """A slice with two lungs and a trachea, one without, one whose lungs hang together, one of a bad mask."""
    (tmp_path / "slices").mkdir()
    hu = np.full((60, 60), 40)
    lungs = np.zeros((60, 60), bool)
    lungs[15:45, 5:22] = lungs[15:45, 38:55] = True
    hu[lungs], hu[25:35, 26:34] = -850, -1000
    joined = lungs | (np.arange(60) == 16)[:, None]
    rows = []
    for name, values, mask, status, position in (
        ("both", hu, lungs, "ok", "HFS"),
        ("none", np.full((60, 60), 40), np.zeros((60, 60), bool), "none", "FFP"),
        ("joined", hu, joined, "ok", "HFS"),
        ("prone", hu, lungs, "ok", "HFP"),
        ("bad", hu, lungs, "bad", "HFS"),
    ):
        Image.fromarray((values + 2000).astype(np.uint16)).save(tmp_path / "slices" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "slices" / f"{name}_lungs.png")
        rows.append((f"{name}.png", f"{name}_lungs.png", status, "1.5", position))
    with open(tmp_path / "slices" / "slices.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "mask_status", "pixel_mm", "patient_position"])
        table.writerows(rows)
    return tmp_path / "slices"


def test_slabs_of_slices(slices, tmp_path):
    write_slabs(tmp_path / "made", slices)
    names = sorted(path.name for path in (tmp_path / "made" / "labels").iterdir())
    assert names == ["both.nii.gz", "none.nii.gz"]
    mask = read_mask(tmp_path / "made" / "labels" / "both.nii.gz", LABELS).array
    image = read_volume(tmp_path / "made" / "images" / "both.nii.gz")
    assert mask.shape == (60, 60, silver.SLAB)
    assert set(np.unique(mask[:20])) == {0, 1}  # columns of a slice run to the patient's left, x to the right
    assert set(np.unique(mask[40:])) == {0, 2}
    assert (mask[30, 30] == 3).all()
    assert image.array[0][30, 30, 0] == -1000
    assert np.allclose(np.linalg.norm(image.affine[:3, :3], axis=0), (1.5, 1.5, silver.SLAB_MM))
