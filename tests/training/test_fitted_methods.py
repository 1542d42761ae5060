"""Classifiers of pixels, by the commands: configurations, training, the same weights once more, masks."""

import json

import pytest
import torch
import yaml

from medseg.bundle import find, inference_files, load_weights, open_bundle, parse, tasks, training_files

METHODS = ["svm", "random_forest"]
EACH = pytest.mark.parametrize(("task", "method"), [(task, name) for task in tasks() for name in METHODS])
TINY = {"retinal_vessel": ["field_diameter_px=128"], "lung_ct": []}


def configuration(task, files):
    return parse(open_bundle(task), *files).config


@EACH
def test_training_and_inference_share(task, method):
    bundle = open_bundle(task)
    training = configuration(task, training_files(bundle, method))
    inference = configuration(task, inference_files(bundle, method))
    for key in ("network_def", "features", "labels", "method", "threshold", "flip_axes", "size_px"):
        assert training.get(key) == inference.get(key), key
    assert training["config_files"] == training_files(bundle, method)
    assert training["validate"]["inferer"] in (inference["inferer"], inference["inferer"].get("inferer"))
    assert training["validate"]["postprocessing"] == inference["postprocessing"]
    if task == "lung_ct":
        assert training["network_spacing_mm"] == inference["spacing_mm"]
        assert inference["network_def"]["features"]["spacing"] == inference["spacing_mm"]
        assert inference["network_def"]["region"]["spacing_mm"] == inference["spacing_mm"]
        assert (
            training["validate"]["preprocessing"]["intensity"].items()
            <= {
                **inference["preprocessing"]["clip"],
                "a_min": "$@range_hu[0]",
                "a_max": "$@range_hu[1]",
            }.items()
        )
        assert training["range_hu"] == [inference["preprocessing"]["clip"][key] for key in ("a_min", "a_max")]


@EACH
def test_a_training_overlay_changes_only_what_there_is(task, method):
    """A misspelt key would be added and ignored."""
    overlay = yaml.safe_load((find(task) / "configs" / "methods" / f"{method}.train.yaml").read_text())
    known = configuration(task, ["train.yaml"])
    added = {
        "features",
        "per_class",
        "pictures",
        "train::fit",
        "train::trainer::iteration_update",
        "+imports",
    }
    for key in set(overlay) - added:
        place = known
        for part in key.removesuffix("::_disabled_").split("::"):
            assert part in place, key
            place = place[part]


@EACH
def test_weights_are_small_and_fit(task, method):
    bundle = open_bundle(task)
    network = parse(bundle, *inference_files(bundle, method)).get_parsed_content("network_def")
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert size < 1.5e6
    assert len(network.features.names) == parse(bundle, *inference_files(bundle, method)).get_parsed_content(
        "network_def::classifier::features"
    )
    file = find(task) / "models" / method / "model.pt"
    if file.is_file():
        load_weights(network, file)
        assert network.classifier.fitted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "method"),
    [("retinal_vessel", "svm"), ("retinal_vessel", "random_forest"), ("lung_ct", "svm")],
)
def test_train_segment_and_train_again(
    task, method, request, mlflow_client, run_medseg, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fixture = "phantom_data" if task == "retinal_vessel" else "lung_data"
    given = request.getfixturevalue(fixture)
    manifest = getattr(given, "manifest", given)
    small = [part for pair in TINY[task] for part in ("--set", pair)]
    quick = [
        part for pair in ("num_workers=0", "cache_dir=null", "per_class=100") for part in ("--set", pair)
    ]

    def train(folder, *more):
        command = ("train", task, "--method", method, "--manifest", manifest, "--output_dir", folder)
        assert run_medseg(*command, *small, *quick, *more) == 0
        return folder / "models" / "model.pt"

    weights = train(tmp_path / "run")
    [tracked] = mlflow_client.search_runs([mlflow_client.get_experiment_by_name(task).experiment_id])
    assert tracked.info.status == "FINISHED"
    assert 0 < tracked.data.metrics["fit_loss"] < 0.5
    assert weights.with_name("model.lineage.json").is_file()
    train(tmp_path / "run", "--resume")
    again = torch.load(train(tmp_path / "again"), weights_only=True)
    assert all(
        torch.equal(value, again[name]) for name, value in torch.load(weights, weights_only=True).items()
    )

    image = manifest.parent / json.loads(manifest.read_text())["test"][0]["image"]
    command = ("segment", task, image, "-o", tmp_path / "out", "--method", method, "--weights", weights)
    assert run_medseg(*command, *small) == 0
    record = json.loads(next((tmp_path / "out").glob("*/measurements.json")).read_text())
    assert record["provenance"]["method"] == method
