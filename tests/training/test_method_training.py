"""Methods with a training of their own: from data to weights to masks, by the commands."""

import json

import pytest
import yaml

from medseg.bundle import find, inference_files, load_weights, open_bundle, parse, tasks, training_files
from medseg.errors import WeightsError

METHODS = ["cnn", "rnn", "unet"]
EACH = pytest.mark.parametrize(("task", "method"), [(task, name) for task in tasks() for name in METHODS])
TINY = {
    "retinal_vessel": [
        "patches_per_image=4", "patch_px=64", "batch_size=4", "field_diameter_px=128",
    ],
    "breast_ultrasound": ["size_px=64", "validation_size_px=64", "batch_size=2"],
    "lung_ct": [
        "beside=null", "network_spacing_mm=6.0", "crop_voxels=[40, 40, 40]", "patch_voxels=[32, 32, 32]",
        "validate::inferer::roi_size=[32, 32, 32]", "repeats=2",
    ],
}  # fmt: skip
ALSO_IN_INFERENCE = {"field_diameter_px", "size_px", "network_spacing_mm"}


@pytest.fixture
def manifest(task, request):
    if task == "retinal_vessel":
        return request.getfixturevalue("phantom_data").manifest
    return request.getfixturevalue("lesion_data" if task == "breast_ultrasound" else "lung_data")


def sets(pairs):
    return [part for pair in pairs for part in ("--set", pair)]


def whole(task, files):
    return parse(open_bundle(task), *files).config


@EACH
def test_training_and_inference_share(task, method):
    """What the network was trained on is what it gets: a training's values would replace others silently."""
    bundle = open_bundle(task)
    training, inference = (
        whole(task, training_files(bundle, method)),
        whole(task, inference_files(bundle, method)),
    )
    for key in ("network_def", "labels", "method", "threshold", "flip_axes", "size_px", "network_spacing_mm"):
        assert training.get(key) == inference.get(key), key
    assert training["config_files"] == training_files(bundle, method)
    if task != "lung_ct":
        assert training["validate"]["inferer"] in (inference["inferer"], inference["inferer"]["inferer"])
        assert training["validate"]["postprocessing"] == inference["postprocessing"]
    else:
        assert training["validate"]["inferer"] == inference["inferer"]["inferer"]


@EACH
def test_an_overlay_changes_only_what_there_is(task, method):
    """A misspelt key would be added and ignored."""
    for name, base in ((f"{method}.yaml", "inference.yaml"), (f"{method}.train.yaml", "train.yaml")):
        overlay = yaml.safe_load((find(task) / "configs" / "methods" / name).read_text())
        known = whole(task, [base])
        added = {"declaration", "network_spacing_mm", "range_hu", "+imports"}
        for key in set(overlay) - added:
            place = known
            for part in key.removesuffix("::_disabled_").split("::"):
                assert part in place, f"{name}: {key}"
                place = place[part]


@EACH
def test_networks_that_fit_and_are_small(task, method):
    bundle = open_bundle(task)
    network = parse(bundle, *inference_files(bundle, method)).get_parsed_content("network_def")
    file = find(task) / "models" / f"{method}.pt"
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert size < 3e6
    if file.is_file():
        load_weights(network, file)


@pytest.mark.slow
@EACH
def test_train_evaluate_and_segment(task, method, manifest, mlflow_client, run_medseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, small = tmp_path / "run", TINY[task]
    command = ("train", task, "--method", method, "--manifest", manifest, "--epochs", 1, "--output_dir", run)
    assert run_medseg(*command, *sets([*small, "num_workers=0", "val_interval=1", "cache_dir=null"])) == 0
    [tracked] = mlflow_client.search_runs([mlflow_client.get_experiment_by_name(task).experiment_id])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["method"] == method
    weights = run / "models" / "model.pt"
    assert weights.with_name("model.lineage.json").is_file()

    content = json.loads(manifest.read_text())
    image = manifest.parent / content["test"][0]["image"]
    out = tmp_path / "out"
    shared = sets(pair for pair in small if pair.partition("=")[0] in ALSO_IN_INFERENCE)
    assert (
        run_medseg("segment", task, image, "-o", out, "--method", method, "--weights", weights, *shared) == 0
    )
    record = json.loads(next(out.glob("*/measurements.json")).read_text())
    assert record["provenance"]["method"] == method

    # What the training scored at its end are the masks of these weights.
    again = ("evaluate", task, "--method", method, "--manifest", manifest, "--weights", weights)
    assert run_medseg(*again, "--split", "validation", "--output_dir", tmp_path / "scores", *shared) == 0
    scores = [(folder / "scores.csv").read_text() for folder in (run, tmp_path / "scores")]
    assert scores[0] == scores[1]


@pytest.mark.seconds
def test_weights_that_are_not_there(run_medseg, lung_folder, tmp_path, capsys):
    """The weights of the lungs' ladder are not shipped: a command makes them."""
    scan = lung_folder / "3.nii.gz"
    assert (
        run_medseg("segment", "lung_ct", scan, "-o", tmp_path / "out", "--method", "cnn")
        == WeightsError.exit_code
    )
    said = capsys.readouterr().err
    assert "cnn/model.pt" in said
    assert "medseg train lung_ct --method cnn" in said
    assert run_medseg("methods", "lung_ct") == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if " cnn " in line]
    assert "learned, 3D, not trained" in line
