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
# All entries in one process, as their command lines start them: the imports are paid once.
ENTRIES = """
import runpy, sys
import medseg
from pathlib import Path
from medseg.cli import main

site, cases = {site!r}, {cases!r}
assert site in medseg.__file__, medseg.__file__
for task, source in cases:
    assert main(["segment", task, source, "-o", "cli", "--device", "cpu"]) == 0
    medseg.segment(source, task=task, device="cpu").save(Path("python", Path(source).stem))
    config = Path(site, "medseg", "bundles", task, "configs", "inference.yaml")
    options = ["--config_file", str(config), "--input", source, "--output_dir", "monai"]
    sys.argv = ["monai.bundle", "run", *options]
    runpy.run_module("monai.bundle", run_name="__main__")
"""
CASES = [
    ("retinal_vessel", "photo.png", "segmentation.png"),
    ("lung_ct", "input/example_chest", "segmentation.nii.gz"),
    ("breast_ultrasound", "input/example_breast.pgm", "segmentation.png"),
]

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
    assert "medseg/py.typed" in names
    for name in ("page.html.j2", "volume.html.j2", "slices.js"):
        assert f"medseg/reports/{name}" in names
    for name in ("index.html", "niivue.umd.js", "niivue.LICENSE.txt"):
        assert f"medseg/review/assets/{name}" in names
    for method in ("classical", "residual_unet"):
        assert f"medseg/bundles/lung_ct/configs/methods/{method}.yaml" in names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def results(site, tmp_path_factory):
    """The folder of what each entry made, without the checkout and without a network."""
    folder = tmp_path_factory.mktemp("results")
    Image.fromarray(phantoms.fundus(400, seed=3)[0]).save(folder / "photo.png")
    phantoms.example_ct(folder)
    phantoms.example_ultrasound(folder)
    # A name space without a network card, where the system lets us make one.
    alone = ["unshare", "--net"] if _can_unshare() else []
    entries = ENTRIES.format(site=str(site), cases=[(task, source) for task, source, _ in CASES])
    done = subprocess.run(
        [*alone, sys.executable, "-c", entries],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize(("task", "source", "mask"), CASES)
def test_three_entries_give_the_same_mask(results, task, source, mask):
    masks = [_values(results / entry / Path(source).stem / mask) for entry in ("cli", "python", "monai")]
    assert masks[0].any()
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def _values(mask):
    return np.asarray(Image.open(mask) if mask.suffix == ".png" else nib.load(mask).dataobj)


def _can_unshare():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
