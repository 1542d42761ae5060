"""The lung bundle trains, scores and segments through the code that the retinal bundle uses."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml

from medseg.bundle import find, load_weights, open_bundle, parse

TASK = "lung_ct"
SMALL = [
    "network_def::channels=[4, 8]", "network_def::strides=[2]", "network_def::num_res_units=0",
    "spacing_mm=6.0", "crop_voxels=[40, 40, 40]", "patch_voxels=[32, 32, 32]", "num_workers=0",
    "cache_dir=null", "validate::inferer::roi_size=[32, 32, 32]",
]  # fmt: skip


def config(name):
    return yaml.safe_load((find(TASK) / "configs" / name).read_text())


def sets(*pairs):
    return [part for pair in pairs for part in ("--set", pair)]


def steps(section):
    return {step["_target_"].rpartition(".")[2]: step for step in section}


@pytest.mark.parametrize("key", ["network_def", "spacing_mm", "range_hu"])
def test_training_and_inference_share(key):
    assert config("train.yaml")[key] == config("inference.yaml")[key]


@pytest.mark.parametrize("name", ["LoadVolumed", "ToGridd", "ScaleIntensityRanged"])
def test_training_validation_and_inference_prepare_images_alike(name):
    train = config("train.yaml")
    theirs = steps(config("inference.yaml")["preprocessing"]["transforms"])
    for section in (
        train["train"]["deterministic_transforms"],
        train["validate"]["preprocessing"]["transforms"],
    ):
        of_training_alone = ("label_keys", "labels", "source_key")
        ours = {key: value for key, value in steps(section)[name].items() if key not in of_training_alone}
        assert ours == theirs[name]


def test_validation_infers_as_inference():
    train, inference = config("train.yaml"), config("inference.yaml")
    assert train["validate"]["inferer"] == inference["inferer"]
    theirs = steps(inference["postprocessing"]["transforms"])
    assert steps(train["validate"]["postprocessing"]["transforms"]) == {
        name: theirs[name] for name in ("CleanLabelsd", "RestoreGridd")
    }


@pytest.mark.slow
def test_train_evaluate_and_segment(lung_data, mlflow_client, run_medseg, tmp_path):
    run, scores = tmp_path / "run", tmp_path / "scores"
    done = run_medseg(
        *("train", TASK, "--manifest", lung_data, "--epochs", 1, "--output_dir", run),
        *sets(*SMALL, "val_interval=1"),
    )
    assert done == 0
    [tracked] = mlflow_client.search_runs([mlflow_client.get_experiment_by_name(TASK).experiment_id])
    assert tracked.info.status == "FINISHED"
    assert {"final/dice_left_lung", "final/surface_dice_lungs", "train_loss"} <= set(tracked.data.metrics)
    assert (run / "cases" / "2.jpg").stat().st_size > 5000

    weights = run / "models" / "model.pt"
    evaluation = ("evaluate", TASK, "--manifest", lung_data, "--weights", weights, "--output_dir", scores)
    assert run_medseg(*evaluation, *sets(*(pair for pair in SMALL if "voxels" not in pair))) == 0
    [row] = csv.DictReader((scores / "scores.csv").open())
    assert row["subject"] == "person 3"
    assert 0 <= float(row["dice_right_lung"]) <= 1
    assert json.loads((scores / "scores.json").read_text())["split"] == "test"


@pytest.mark.slow
def test_weights_know_lungs_and_random_ones_do_not(lung_data, run_medseg, tmp_path):
    """Not the scores of a finished network: the weights are those of a training that was ended early."""

    def lungs(name, *arguments):
        folder = tmp_path / name
        assert run_medseg("evaluate", TASK, "--manifest", lung_data, "--output_dir", folder, *arguments) == 0
        return json.loads((folder / "scores.json").read_text())["scores"]["dice_lungs"]["mean"]

    torch.manual_seed(0)
    network = parse(open_bundle(TASK), "train.yaml").get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "random.pt")
    no_cache = sets("cache_dir=null")
    assert lungs("kept", *no_cache) > 0.85
    assert lungs("random", "--weights", tmp_path / "random.pt", *no_cache) < 0.6


def test_the_mask_has_every_label(lung_folder, segment_with_network):
    result = segment_with_network(lung_folder / "3.nii.gz")
    assert set(np.unique(result.mask.array)) == {0, 1, 2, 3}
    assert result.provenance["method"] == "network"
    assert isinstance(result.provenance["postprocessing"], list)


@pytest.fixture(scope="module")
def segment_with_network():
    from medseg import Segmenter

    return Segmenter(TASK, "cpu")


def test_float16_has_room(chest_phantom):
    """A GPU may compute in float16, which ends at 65504: beyond it are no numbers, and no mask."""
    parser = parse(open_bundle(TASK), "inference.yaml")
    network = load_weights(parser.get_parsed_content("network_def"), find(TASK) / "models" / "model.pt")
    largest = []
    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv3d, torch.nn.ConvTranspose3d)):
            layer.register_forward_hook(lambda layer, given, made: largest.append(float(made.abs().max())))
    low, high = parser["range_hu"]
    scaled = (np.clip(chest_phantom.array, low, high) - low) / (high - low)
    with torch.inference_mode():
        network(torch.as_tensor(scaled[:96, :80, :112], dtype=torch.float32)[None, None])
    assert len(largest) > 20
    assert 10 < max(largest) < 65504 / 16
