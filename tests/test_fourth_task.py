"""A task that medseg has never heard of: a bundle and a manifest in a folder, and nothing else."""

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.seconds

CHECKOUT = Path(__file__).parents[1]
SPACING_MM = 4.0
SHAPE = (84, 64, 40)


def abdomen(seed):
    """A trunk with two kidneys and a spine, in HU and as labels, in RAS+."""
    random = np.random.default_rng(seed)
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    hu = np.full(SHAPE, -1000.0)
    hu[np.broadcast_to(((i - 42) / 36) ** 2 + ((j - 32) / 24) ** 2 < 1, SHAPE)] = -100
    hu[np.broadcast_to(((i - 42) / 33) ** 2 + ((j - 32) / 21) ** 2 < 1, SHAPE)] = 40
    hu[np.broadcast_to((i - 42) ** 2 + (j - 18) ** 2 < 20, SHAPE)] = 400
    labels = np.zeros(SHAPE, np.uint8)
    for value, side in ((1, -1), (2, 1)):  # the patient's left lies at small i of an array in RAS+
        centre = 42 + 18 * side, 24 + random.integers(-1, 2), 20 + random.integers(-2, 3)
        radii = 6 + random.uniform(0, 1), 5, 12
        labels[
            sum(((axis - c) / r) ** 2 for axis, c, r in zip((i, j, k), centre, radii, strict=True)) < 1
        ] = value
    hu[labels > 0] = 120
    return np.round(hu + random.normal(0, 12, SHAPE)).astype(np.int16), labels


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the bundle, its manifest, and the data that the manifest names."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(CHECKOUT / "docs/examples/kidney_ct", folder / "bundles/kidney_ct")
    shutil.copy(CHECKOUT / "docs/examples/kidneys.json", folder)
    (folder / "data/kidneys").mkdir(parents=True)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1])
    for seed in range(4):
        for array, name in zip(abdomen(seed), (f"{seed}.nii.gz", f"{seed}_kidneys.nii.gz"), strict=True):
            nib.Nifti1Image(array, affine).to_filename(folder / "data/kidneys" / name)
    return folder


@pytest.fixture(scope="module")
def medseg(workplace, run_medseg):
    """The command line in that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.setenv("MEDSEG_DATA", str(workplace / "data"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'runs.db'}")
        yield run_medseg


@pytest.fixture(scope="module")
def trained(medseg, workplace):
    assert medseg("train", "kidney_ct", "--epochs", "1", "--output_dir", "trained") == 0
    return workplace


@pytest.fixture(scope="module")
def segmented(trained, medseg):
    assert medseg("segment", "kidney_ct", "data/kidneys/3.nii.gz", "-o", "out") == 0
    return trained / "out/3"


def test_the_data_are_sound(medseg):
    assert medseg("check-data", "kidneys.json") == 0


def test_it_trains(trained):
    assert (trained / "bundles/kidney_ct/models/model.pt").is_file()
    summary = json.loads((trained / "trained/scores.json").read_text())
    assert {"dice_left_kidney", "dice_right_kidney", "dice_kidneys"} <= set(summary["scores"])
    assert summary["groups"] == ["device"]


def test_it_segments(segmented, workplace):
    record = json.loads((segmented / "measurements.json").read_text())
    assert record["task"] == "kidney_ct"
    mask = nib.load(segmented / "segmentation.nii.gz")
    image = nib.load(workplace / "data/kidneys/3.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    voxel_ml = SPACING_MM**3 / 1000
    for value, name in ((1, "left_kidney"), (2, "right_kidney")):
        volume_ml = record["measurements"][f"{name}_volume_ml"]["value"]
        assert volume_ml == pytest.approx((np.asarray(mask.dataobj) == value).sum() * voxel_ml)


def test_its_plausible_ranges_are_its_own(segmented):
    """After one epoch the volumes are as wrong as can be, which it says."""
    record = json.loads((segmented / "measurements.json").read_text())
    said = " ".join(record["warnings"])
    assert "kidney" in said
    assert "lung" not in said


def test_its_page_is_in_an_abdominal_window(segmented):
    page = (segmented / "report.html").read_text()
    assert "Abdominal window: centre 40 HU, width 400 HU" in page
    assert "Kidney CT" in page
    assert not re.search(r"\b(lung|chest|airway|lesion|vessel)", page, re.IGNORECASE)


def test_it_is_evaluated(trained, medseg):
    assert medseg("evaluate", "kidney_ct", "--output_dir", "scored") == 0
    summary = json.loads((trained / "scored/scores.json").read_text())
    assert summary["split"] == "test"
    assert summary["scores"]["dice_kidneys"]["cases"] == 1
    assert (trained / "scored/cases/3.jpg").is_file()


def test_nobody_asks_for_a_chest(workplace, medseg, capsys):
    assert medseg("inspect", "data/kidneys/3.nii.gz", "--task", "kidney_ct") == 0
    assert "chest" not in capsys.readouterr().out
    assert medseg("inspect", "data/kidneys/3.nii.gz") == 0  # one of the tasks takes it
    assert "kidney_ct: pass" in capsys.readouterr().out


def test_its_gate_refuses_what_is_no_ct(workplace, medseg, capsys):
    array, _ = abdomen(5)
    shown = np.clip((array + 200) / 2, 0, 255).astype(np.uint8)
    nib.Nifti1Image(shown, np.diag([SPACING_MM] * 3 + [1])).to_filename(workplace / "shown.nii.gz")
    assert medseg("inspect", "shown.nii.gz", "--task", "kidney_ct") == 3
    assert "expected a CT in Hounsfield units" in capsys.readouterr().out


def test_it_is_listed(medseg, capsys):
    assert medseg("methods", "kidney_ct") == 0
    assert "a 3D UNet on a grid of 4 mm" in capsys.readouterr().out
    assert medseg("info") == 0
    assert "kidney_ct 0.1.0" in capsys.readouterr().out
