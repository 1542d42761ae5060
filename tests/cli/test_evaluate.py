"""`medseg evaluate` without --output_dir: no scores replace those of something else."""

import shutil
from pathlib import Path

import pytest
import torch

from medseg.bundle import find, open_bundle, parse
from medseg.evaluation.past_runs import read_rows
from medseg.evaluation.split import scores_folder

SMALL = {
    "field_diameter_px": 128,
    "inferer::inferer::inferer::roi_size": [128, 128],
    "network_def::channels": [4, 8],
    "network_def::strides": [1],
    "network_def::num_res_units": 0,
}


@pytest.fixture
def weights(tmp_path):
    """Of an untrained network: what counts here is where its scores go."""
    overrides = {key: value for key, value in SMALL.items() if key.startswith("network_def")}
    parser = parse(open_bundle("retinal_vessel"), "train.yaml", overrides=overrides)
    path = tmp_path / "weights.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


def small(weights, manifest, *arguments):
    """An evaluation that says nothing of where it writes."""
    pairs = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    return ["evaluate", "retinal_vessel", "--weights", weights, "--manifest", manifest, *pairs, *arguments]


@pytest.mark.seconds
def test_evaluations_do_not_replace_each_other(run_medseg, phantom_data, weights, tmp_path, monkeypatch):
    """Without --output_dir each data set, split and file of weights has a folder of its own."""
    monkeypatch.chdir(tmp_path)
    other = phantom_data.folder / "other.json"
    shutil.copy(phantom_data.manifest, other)
    for manifest, split in (
        (phantom_data.manifest, "test"),
        (phantom_data.manifest, "validation"),
        (other, "test"),
    ):
        assert run_medseg(*small(weights, manifest, "--split", split)) == 0
    found = {path.parent.parent.name: read_rows(path) for path in tmp_path.rglob("scores.csv")}
    assert {name: len(rows) for name, rows in found.items()} == {
        "phantoms_test": 2, "phantoms_validation": 1, "other_test": 2,
    }  # fmt: skip
    (method,) = (tmp_path / "out" / "evaluation" / "retinal_vessel").iterdir()
    assert method.name == "residual_unet"


@pytest.mark.seconds
def test_several_weights_are_compared_in_the_default_folder(
    run_medseg, phantom_data, weights, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run_medseg(*small(weights, phantom_data.manifest, "--weights", weights)) == 0
    folder = tmp_path / "out/evaluation/retinal_vessel/residual_unet/phantoms_test"
    assert {path.name for path in folder.iterdir()} == {"weights_1", "weights_2", "1_against_2"}


def test_the_default_folder_names_what_is_scored():
    def folder(method=None, manifests="cip_64", split="test", weights=None, fold=None):
        root = find("lung_ct")
        return Path(scores_folder(root, method, manifests, split, weights, fold))

    default = Path("out/evaluation/lung_ct/classical")
    assert folder() == default / "cip_64_test"
    assert folder("residual_unet").parts[-2:] == ("residual_unet", "cip_64_test")
    assert (
        folder(manifests=["cip_64", "/data/own.json"], split="validation")
        == default / "cip_64+own_validation"
    )
    assert folder(weights="/runs/new/models/model.pt") == default / "cip_64_test" / "new_models_model"
    assert folder(weights="/runs/cv", fold=1) == default / "cip_64_test" / "runs_cv_fold_1"
