"""Data for several test modules: the real data sets where they are, a phantom one, an MLflow store."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fundus_pictures import phantom, write_png

# Tests need no network.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

CHECKOUT = Path(__file__).parents[1]
# Fixtures that train, serve or start Python: tests that use one are not in make test-fast.
TAKE_SECONDS = {"cross_validate", "monai_bundle", "server", "train", "trained"}


def pytest_collection_modifyitems(items):
    for item in items:
        if TAKE_SECONDS & set(item.fixturenames):
            item.add_marker("seconds")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test that starts Python says so by a marker: make test-fast starts none."""
    if item.get_closest_marker("seconds") or item.get_closest_marker("slow"):
        return (yield)
    start = subprocess.Popen

    def start_other(command, *arguments, **options):
        if command[0] == sys.executable:
            pytest.fail("a test that starts Python is marked `seconds` or `slow`")
        return start(command, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", start_other)
        return (yield)


@dataclass(frozen=True)
class PhantomData:
    """A data set of phantoms; `save` writes its manifest after a change of `content`."""

    folder: Path
    manifest: Path
    content: dict[str, Any]

    def save(self) -> None:
        self.manifest.write_text(json.dumps(self.content))


@pytest.fixture
def data_root(monkeypatch):
    """The folder of the real data sets, also set as MEDSEG_DATA."""
    named = os.environ.get("MEDSEG_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("the real data sets are not here: MEDSEG_DATA names no folder")
    root = Path(named).resolve()
    monkeypatch.setenv("MEDSEG_DATA", str(root))
    return root


@pytest.fixture
def phantom_data(phantom_folder, tmp_path, monkeypatch):
    """A copy of the phantom data set that a test may damage: 3 training, 1 validation, 2 test items.

    MEDSEG_DATA is its folder. Test items have a second observer, the last one a given field too.
    """
    folder = tmp_path / "phantom_data"
    shutil.copytree(phantom_folder, folder)
    monkeypatch.setenv("MEDSEG_DATA", str(folder))
    manifest = folder / "phantoms.json"
    return PhantomData(folder, manifest, json.loads(manifest.read_text()))


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory):
    """The phantom data set itself: read only."""
    folder = tmp_path_factory.mktemp("phantoms")
    splits = {"training": [0, 1, 2], "validation": [3], "test": [4, 5]}
    content = {
        "name": "phantoms",
        "description": "synthetic fundus photographs",
        "labels": {"0": "background", "1": "vessel"},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        "urls": [],
        **{split: [_write_item(folder, seed) for seed in seeds] for split, seeds in splits.items()},
    }
    (folder / "phantoms.json").write_text(json.dumps(content))
    return folder


def _write_item(folder, seed):
    picture, mask, field = phantom(seed)
    item = {"image": f"{seed}.png", "label": f"{seed}_label.png", "subject": f"phantom_{seed}"}
    pixels = {"image": picture, "label": mask * 255}
    if seed in (4, 5):
        pixels["label_2nd"] = np.roll(mask, 1, axis=0)
    if seed == 5:
        pixels["given_field"] = field.astype(np.uint8) * 255
    for key in ("label_2nd", "given_field"):
        if key in pixels:
            item[key] = f"{seed}_{key}.png"
    for key, array in pixels.items():
        write_png(folder / item[key], array)
    return item


@pytest.fixture(scope="session")
def chest_phantom():
    """A healthy chest, whole, of 3.6 mm voxels: read only."""
    from medseg.phantoms import Chest, Scan, chest

    scan = Scan((104, 84, 120), spacing_mm=(3.6, 3.6, 3.2), thickness_mm=3.2, centre_mm=(0, -12, -75))
    return chest(Chest(seed=8, disease={}, position="supine", scan=scan))


@pytest.fixture(scope="session")
def lung_folder(tmp_path_factory):
    """Small chest phantoms as made by data.yaml, and their manifest: read only."""
    from medseg.io import nifti
    from medseg.phantoms import Chest, chest

    folder = tmp_path_factory.mktemp("lung_data")
    splits = {"training": [0, 1], "validation": [2], "test": [3]}
    content = {
        "name": "small_chests",
        "description": "synthetic chest CTs",
        "labels": {"0": "background", "1": "left_lung", "2": "right_lung", "3": "airway"},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        "urls": [],
    }
    for split, seeds in splits.items():
        content[split] = []
        for seed in seeds:
            phantom = chest(Chest(seed=seed, shape=(64, 64, 48), disease={}))
            nifti.write(phantom.array, phantom.affine, folder / f"{seed}.nii.gz")
            nifti.write(phantom.labels, phantom.affine, folder / f"{seed}_label.nii.gz")
            item = {"image": f"{seed}.nii.gz", "label": f"{seed}_label.nii.gz", "subject": f"person {seed}"}
            content[split].append(item)
    (folder / "chests.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def lung_data(lung_folder, monkeypatch):
    """The manifest of lung_folder, which MEDSEG_DATA names."""
    monkeypatch.setenv("MEDSEG_DATA", str(lung_folder))
    return lung_folder / "chests.json"


@pytest.fixture
def lesion_data(tmp_path, monkeypatch):
    """The manifest of four pictures with a lesion, which MEDSEG_DATA names."""
    from PIL import Image

    from medseg.phantoms import breast_ultrasound

    folder = tmp_path / "lesions"
    folder.mkdir()
    monkeypatch.setenv("MEDSEG_DATA", str(folder))
    items = []
    for seed in range(4):
        picture, mask, _ = breast_ultrasound(seed)
        Image.fromarray(picture).save(folder / f"{seed}.png")
        write_png(folder / f"{seed}_label.png", mask.astype(np.uint8) * 255)
        about = {"subject": f"person {seed}", "pathology": "benign"}
        items.append({"image": f"{seed}.png", "label": f"{seed}_label.png", **about})
    content = {
        "name": "lesions",
        "description": "synthetic ultrasound",
        "labels": {"0": "background", "1": "lesion"},
        **dict.fromkeys(("licence", "publisher", "citation"), "none"),
        "urls": [],
        **{"training": items[:2], "validation": items[2:3], "test": items[3:]},
    }
    (folder / "lesions.json").write_text(json.dumps(content))
    return folder / "lesions.json"


@pytest.fixture(scope="session")
def small_volume():
    """Twelve slices of 16x16 pixels with all kinds of HU: read only."""
    from medseg.volume import Volume

    hu = np.random.default_rng(0).integers(-1000, 1000, (1, 16, 16, 12)).astype(np.int16)
    return Volume(hu, affine=np.diag([-1.0, -1.0, 2.5, 1.0]))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow database without runs; making one takes seconds, copying it nothing."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_client(empty_store, tmp_path, monkeypatch):
    """A client of a store of the test's own, which MLFLOW_TRACKING_URI names."""
    from mlflow import MlflowClient

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


@pytest.fixture(scope="session")
def run_medseg():
    """The command line in this process; leaves logging, threads and determinism as they were."""

    def run(*arguments: object) -> int:
        import torch
        from monai.utils import set_determinism

        from medseg.cli import main

        root, threads = logging.getLogger(), torch.get_num_threads()
        handlers, level = root.handlers[:], root.level
        torch.set_num_threads(1)
        try:
            return main([str(argument) for argument in arguments])
        finally:
            torch.set_num_threads(threads)
            set_determinism(None)
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.getLogger("medseg").setLevel(logging.NOTSET)

    return run


@pytest.fixture(scope="session")
def monai_bundle():
    """`python -m monai.bundle` in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monai.bundle", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run
