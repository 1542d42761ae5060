"""The wheel carries the bundles: three entries work without the checkout and without a network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg import phantoms

ROOT = Path(__file__).parents[1]
PYTHON_ENTRY = """
import medseg
assert {site!r} in medseg.__file__, medseg.__file__
medseg.segment({source!r}, task={task!r}, device="cpu").save("python")
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "out", "experiments", "*cache*")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    shutil.rmtree(source)
    return next(folder.glob("*.whl"))


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "medseg/bundles/retinal_vessel/models/model.pt" in names
    assert "medseg/bundles/retinal_vessel/configs/inference.yaml" in names
    assert "medseg/data_manifests/chase_db1.json" in names
    for name in ("page.html.j2", "volume.html.j2", "slices.js"):
        assert f"medseg/reports/{name}" in names
    assert "medseg/bundles/lung_ct/configs/methods/classical.yaml" in names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("task", "source", "mask"),
    [
        ("retinal_vessel", "photo.png", "segmentation.png"),
        ("lung_ct", "input/example_chest", "segmentation.nii.gz"),
        ("breast_ultrasound", "input/example_breast.pgm", "segmentation.png"),
    ],
)
def test_three_entries_without_checkout_and_network(site, tmp_path, task, source, mask):
    Image.fromarray(phantoms.fundus(400, seed=3)[0]).save(tmp_path / "photo.png")
    phantoms.example_ct(tmp_path)
    phantoms.example_ultrasound(tmp_path)
    config = site / "medseg" / "bundles" / task / "configs" / "inference.yaml"
    entries = {
        "cli": ["-m", "medseg.cli", "segment", task, source, "-o", "cli", "--device", "cpu"],
        "python": ["-c", PYTHON_ENTRY.format(site=str(site), source=source, task=task)],
        "monai": [
            *("-m", "monai.bundle", "run", "--config_file", str(config)),
            *("--input", source, "--output_dir", "monai"),
        ],
    }
    # A name space without a network card, where the system lets us make one.
    alone = ["unshare", "--net"] if _can_unshare() else []
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for name, entry in entries.items():
        done = subprocess.run(
            [*alone, sys.executable, *entry],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
    case = Path(source).stem
    folders = [tmp_path / "cli" / case, tmp_path / "python", tmp_path / "monai" / case]
    masks = [_values(folder / mask) for folder in folders]
    assert masks[0].any()
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def _values(mask):
    return np.asarray(Image.open(mask) if mask.suffix == ".png" else nib.load(mask).dataobj)


def _can_unshare():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
