"""The bundles in a real MONAI Label server: its labels, its masks, its trainings."""

import gzip
import io

import nibabel
import numpy as np
import pytest
from doc_pages import ROOT
from fundus_pictures import write_png
from monai.bundle import ConfigParser
from monai_label_server import monai_label

import medseg
from medseg.bundle import sha256, tasks
from medseg.io import nifti
from medseg.phantoms import Chest, breast_ultrasound, chest, fundus

LABELS = {
    "lung_ct": {"left_lung": 1, "right_lung": 2, "airway": 3},
    "breast_ultrasound": {"lesion": 1},
    "retinal_vessel": {"vessel": 1},
}
# Of the bundle's copy: small patches alone, so that the shipped network is what trains.
SMALL = {
    "retinal_vessel": {"patches_per_image": 4, "patch_px": 64, "batch_size": 4, "field_diameter_px": 128},
    "breast_ultrasound": {"batch_size": 4, "size_px": 64},
    "lung_ct": {"crop_voxels": [40, 40, 40], "patch_voxels": [32, 32, 32]},
}


@pytest.mark.parametrize("task", sorted(LABELS))
def test_nothing_beside_the_network_s_weights_is_offered(task):
    """MONAI Label takes the file with the shortest name, and loads it without checking that it fits."""
    assert sorted(LABELS) == tasks()
    assert [path.name for path in (ROOT / "bundles" / task / "models").glob("*.pt")] == ["model.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(LABELS))
def test_labels_masks_and_a_training(task, tmp_path):
    images, truth = cases(task, tmp_path)
    masks = {name: medseg.segment(path, task=task).mask.array for name, path in images.items()}
    with monai_label(tmp_path, task, images.values()) as server:
        assert server.http.get("/info/").json()["models"][task]["labels"] == LABELS[task]
        for name, mask in masks.items():
            assert np.array_equal(voxels(server.infer(name)), mask)
        for name, file in truth.items():
            server.label(name, file)
        make_small(server.bundle, task)
        weights = server.bundle / "models" / "model.pt"
        before = sha256(weights)
        state = server.train(max_epochs=1, val_split=0.5, dataset="Dataset", multi_gpu=False)
        assert state["status"] == "DONE", (tmp_path / "server.log").read_text()[-3000:]
        assert sha256(weights) != before
        assert (server.bundle / "models" / "model.lineage.json").is_file()
        # lung_ct's own method is the rules, which have nothing to learn.
        again = voxels(server.infer(next(iter(masks))))
        assert np.array_equal(again, next(iter(masks.values()))) == (task == "lung_ct")


def cases(task, folder):
    """Name to image, and to its label, as a program for labelling sends it: NIfTI, of pictures PNG."""
    images, truth = {}, {}
    (folder / "truth").mkdir()
    for seed in range(2):
        name = f"case{seed}"
        ending = "nii.gz" if task == "lung_ct" else "png"
        images[name], truth[name] = (folder / where / f"{name}.{ending}" for where in ("", "truth"))
        if task == "lung_ct":
            phantom = chest(Chest(seed=seed, shape=(96, 96, 72), disease={}))
            nifti.write(phantom.array, phantom.affine, images[name])
            nifti.write(phantom.labels, phantom.affine, truth[name])
        else:
            pixels, mask = (fundus(400, seed) if task == "retinal_vessel" else breast_ultrasound(seed))[:2]
            write_png(images[name], pixels)
            write_png(truth[name], mask.astype(np.uint8))
    return images, truth


def voxels(content):
    image = nibabel.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(content)))
    return np.squeeze(np.asarray(image.dataobj)).astype(np.uint8)


def make_small(bundle, task):
    file = str(bundle / "configs" / "train.yaml")
    content = ConfigParser.load_config_files(file)
    values = {**SMALL[task], "num_workers": 0, "autocast": False}
    ConfigParser.export_config_file({**content, **values}, file, fmt="yaml", sort_keys=False)
