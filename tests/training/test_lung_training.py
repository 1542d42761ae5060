"""The lung bundle trains, scores and segments through the code that the retinal bundle uses."""

import json

import numpy as np
import pytest
import torch
import yaml

from medseg.bundle import find, inference_files, load_weights, open_bundle, parse
from medseg.evaluation.past_runs import read_rows

TASK, METHOD = "lung_ct", "residual_unet"
SMALL = [
    "network_def::channels=[4, 8]", "network_def::strides=[2]", "network_def::num_res_units=0", "beside=null",
    "network_spacing_mm=6.0", "crop_voxels=[40, 40, 40]", "patch_voxels=[32, 32, 32]", "num_workers=0",
    "cache_dir=null", "validate::inferer::roi_size=[32, 32, 32]",
]  # fmt: skip
OF_THE_NETWORK = [pair for pair in SMALL if pair.startswith("network")]


def config(name):
    return yaml.safe_load((find(TASK) / "configs" / name).read_text())


def sets(*pairs):
    return [part for pair in pairs for part in ("--set", pair)]


@pytest.mark.parametrize("key", ["network_def", "network_spacing_mm", "range_hu", "labels"])
def test_training_and_inference_share(key):
    assert config("train.yaml")[key] == network()[key]


def network():
    """What segments with the network, whichever method is the default."""
    return parse(open_bundle(TASK), *inference_files(open_bundle(TASK), METHOD)).config


def test_training_validation_and_inference_prepare_images_alike():
    train, theirs = config("train.yaml"), network()
    for section in (train["train"]["deterministic_transforms"], train["validate"]["preprocessing"]):
        load = {key: value for key, value in section["load"].items() if key not in ("label_keys", "labels")}
        assert load == theirs["preprocessing"]["load"]
        assert (
            section["grid"]["spacing_mm"] == theirs["inferer"]["network_spacing_mm"] == "@network_spacing_mm"
        )
        assert section["intensity"] == train["validate"]["preprocessing"]["intensity"]
    assert theirs["inferer"]["value_range"] == "@range_hu"


def test_validation_infers_as_inference():
    """But for the thresholds that the method joins its network with."""
    train, inference = config("train.yaml"), network()
    assert train["validate"]["inferer"] == inference["inferer"]["inferer"]["inferer"]  # coarse, and observed
    theirs, ours = inference["postprocessing"], train["validate"]["postprocessing"]
    assert set(theirs) == {"_target_", "join", "clean", "restore"}
    assert set(ours) == {"_target_", "clean", "restore"}
    assert ours["restore"] == theirs["restore"]
    assert {**ours["clean"], "air": None} == {**theirs["clean"], "air": None}
    assert list(train["validate"]["key_metric"]) == ["val_dice_network_alone"]


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
    known = {"final/dice_left_lung", "final/surface_dice_lungs", "train_loss", "val_dice_network_alone"}
    assert known <= set(tracked.data.metrics)
    assert (run / "cases" / "2.jpg").stat().st_size > 5000

    weights = run / "models" / "model.pt"
    evaluation = ("evaluate", TASK, "--manifest", lung_data, "--method", METHOD, "--weights", weights)
    assert run_medseg(*evaluation, "--output_dir", scores, *sets(*OF_THE_NETWORK)) == 0
    [row] = read_rows(scores / "scores.csv")
    assert row.subject == "person 3"
    assert row.by_label["right_lung"]["dice"] > 0.95  # one step from the shipped weights
    summary = json.loads((scores / "scores.json").read_text())
    assert (summary["split"], summary["method"]) == ("test", METHOD)

    # What the training scored at its end are the masks that segment writes, by the same weights.
    again = tmp_path / "again"
    assert (
        run_medseg(*evaluation, "--split", "validation", "--output_dir", again, *sets(*OF_THE_NETWORK)) == 0
    )
    assert read_rows(again / "scores.csv") == read_rows(run / "scores.csv")


@pytest.mark.slow
def test_weights_know_dense_lung_and_random_ones_do_not(chest_phantom, tmp_path):
    """Half of each lung is painted dense: thresholds alone can't find it."""
    from lung_trials import lung_dice, painted

    from medseg import Segmenter
    from medseg.volume import Volume

    torch.manual_seed(0)
    network = parse(open_bundle(TASK), "train.yaml").get_parsed_content("network_def")
    torch.save(network.state_dict(), tmp_path / "random.pt")
    known, affine = chest_phantom.labels, chest_phantom.affine
    dense = Volume(painted(chest_phantom.array, known, affine, "lower_half")[None], affine)

    def lungs(**options):
        return lung_dice(Segmenter(TASK, "cpu", **options).case(dense).mask.array, known)["lungs"]

    kept, rules = lungs(method=METHOD), lungs(method="classical")
    assert kept > rules + 0.1
    assert lungs(method=METHOD, weights=tmp_path / "random.pt") < rules


@pytest.mark.seconds
def test_the_mask_has_every_label(lung_folder, segment_with_network):
    result = segment_with_network(lung_folder / "3.nii.gz")
    assert set(np.unique(result.mask.array)) == {0, 1, 2, 3}
    assert result.provenance["method"] == METHOD
    assert [note.split(":")[0] for note in result.provenance["postprocessing"]] == ["right_lung"]


@pytest.fixture(scope="module")
def segment_with_network():
    from medseg import Segmenter

    return Segmenter(TASK, "cpu", method=METHOD)


@pytest.mark.seconds
def test_float16_has_room(chest_phantom):
    """A GPU may compute in float16, which ends at 65504: beyond it are no numbers, and no mask."""
    parser = parse(open_bundle(TASK), *inference_files(open_bundle(TASK), METHOD))
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
