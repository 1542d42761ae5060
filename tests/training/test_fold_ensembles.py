"""Each learned method of each task: cross-validated, then its folds segment and are scored together."""

import json

import pytest

from medseg.bundle import method_names, open_bundle, read_method, tasks
from medseg.evaluation.past_runs import read_rows

LEARNED = [
    (task, name)
    for task in tasks()
    for name in method_names(open_bundle(task))
    if read_method(open_bundle(task), name).kind == "learned"
]
IN_INFERENCE = {
    "retinal_vessel": ["field_diameter_px=128"],
    "breast_ultrasound": [],
    "lung_ct": [],
}
FITTED = {"svm", "random_forest"}
OF_A_NETWORK = {
    "retinal_vessel": ["patches_per_image=4", "patch_px=64", "batch_size=4", "val_interval=1"],
    "breast_ultrasound": ["batch_size=2", "val_interval=1"],
    "lung_ct": [
        "crop_voxels=[40, 40, 40]", "patch_voxels=[32, 32, 32]", "repeats=2", "val_interval=1",
        "validate::inferer::roi_size=[32, 32, 32]",
    ],
}  # fmt: skip


def sets(*pairs):
    return [part for pair in pairs for part in ("--set", pair)]


def settings(task, method):
    """Of the training alone; of the training and the inference."""
    both, training = list(IN_INFERENCE[task]), ["num_workers=0", "cache_dir=null"]
    if method in FITTED:
        training.append("per_class=600")
    else:
        training += ["epochs=1", *OF_A_NETWORK[task]]
        both += ["network_spacing_mm=6.0"] if task == "lung_ct" else []
        both += ["size_px=64"] if task == "breast_ultrasound" else []
        training += ["validation_size_px=64"] if task == "breast_ultrasound" else []
    return training + (["beside=null"] if task == "lung_ct" else []), both


@pytest.fixture
def manifest(task, request):
    if task == "retinal_vessel":
        return request.getfixturevalue("phantom_data").manifest
    return request.getfixturevalue("lesion_data" if task == "breast_ultrasound" else "lung_data")


def test_all_learned_methods_are_here():
    assert len(LEARNED) == 18
    assert {name for _, name in LEARNED} == {"residual_unet", "unet", "cnn", "rnn", "svm", "random_forest"}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "method"), LEARNED)
def test_folds_and_their_ensemble(task, method, manifest, mlflow_client, run_medseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training, both = settings(task, method)
    folds = tmp_path / "cv"
    command = ("train", task, "--method", method, "--manifest", manifest, "--folds", 2)
    assert run_medseg(*command, "--output_dir", folds, *sets(*training, *both)) == 0
    content = json.loads(manifest.read_text())
    held_out = {item["image"].rpartition(".")[0].removesuffix(".nii") for item in _known(content)}
    assert {row.case for row in read_rows(folds / "scores.csv")} == held_out

    image = manifest.parent / content["test"][0]["image"]
    out = tmp_path / "out"
    segment = ("segment", task, image, "-o", out, "--method", method, "--weights", folds)
    assert run_medseg(*segment, *sets(*both)) == 0
    record = json.loads(next(out.glob("*/measurements.json")).read_text())
    digests = record["provenance"]["weights_sha256"]
    assert len(digests) == 2, "both folds' weights"

    evaluate = ("evaluate", task, "--method", method, "--manifest", manifest, "--split", "test")
    scores = tmp_path / "scores"
    assert run_medseg(*evaluate, "--weights", folds, "--output_dir", scores, *sets(*both)) == 0
    assert len({row.case for row in read_rows(scores / "scores.csv")}) == len(content["test"])


def _known(content):
    return content["training"] + content["validation"]
