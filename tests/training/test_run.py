"""The training configuration: what it shares with inference, and that a real, tiny training works."""

import json
import math
import os
import re
import shutil
import traceback
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from monai.losses import DiceCELoss

from medseg.bundle import check_key, load_weights, open_bundle, parse, run_workflow, sha256
from medseg.errors import DataError, UsageError
from medseg.evaluation.past_runs import load_run, read_rows

BUNDLE = open_bundle("retinal_vessel")
CONFIGS = [
    ["train.yaml"],
    ["inference.yaml"],
    ["train.yaml", "evaluate.yaml"],
    ["train.yaml", "multi_gpu_train.yaml"],
]
SMALL_NETWORK = {"channels": [4, 8], "strides": [1], "num_res_units": 0}
# A second: three items, four patches of each an epoch.
TINY = {
    "epochs": 2,
    "val_interval": 1,
    "patches_per_image": 4,
    "patch_px": 64,
    "batch_size": 4,
    "num_workers": 0,
    "autocast": False,
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": [128, 128],
    **{f"network_def::{key}": value for key, value in SMALL_NETWORK.items()},
}


def config(*files):
    parser = ConfigParser()
    parser.read_config([str(BUNDLE.config(name)) for name in files])
    return parser


def walk(node, path=""):
    """Every value of a configuration with its path."""
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from walk(value, f"{path}::{key}".removeprefix("::"))
    else:
        yield path, node


def steps(parser, section):
    """Transforms of a section by the last part of their target's name."""
    entries = [entry for name, entry in parser[section].items() if name != "_target_"]
    return {step["_target_"].split(".")[-1]: step for step in entries}


# --- the configurations ---


@pytest.mark.parametrize("files", CONFIGS, ids="+".join)
def test_no_number_is_a_string(files):
    """YAML 1.1 as PyYAML reads it: 1e-3 is a string, and so is 1.0e3."""
    values = dict(walk(config(*files).config))
    assert len(values) > 50
    strings = [path for path, value in values.items() if isinstance(value, str) and _is_number(value)]
    assert not strings


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_types():
    train = config("train.yaml")
    for key in (
        "seed",
        "epochs",
        "val_interval",
        "patches_per_image",
        "patch_px",
        "batch_size",
        "num_workers",
    ):
        assert type(train[key]) is int, key
    for key in ("learning_rate", "weight_decay", "threshold"):
        assert type(train[key]) is float, key
    assert train["autocast"] is True
    assert train["labels"] == {0: "background", 1: "vessel"}
    assert all(
        type(value) is float for value in config("inference.yaml")["result::plausible::vessel_area_fraction"]
    )


@pytest.mark.parametrize("files", CONFIGS, ids="+".join)
def test_every_reference_has_its_key(files):
    parser = config(*files)
    references = {
        name.lstrip("@")
        for _, value in walk(parser.config)
        if isinstance(value, str)
        for name in ReferenceResolver.match_refs_pattern(value)
    }
    # MONAI's pattern ignores an @ in a text; a plain search must find no more.
    text = "\n".join(str(value) for _, value in walk(parser.config))
    assert references == {name.replace("#", "::") for name in re.findall(r"@([\w#:]*\w)", text)}
    assert len(references) > 15
    for name in references:
        check_key(parser, name)


@pytest.mark.parametrize("key", ["network_def", "threshold", "labels", "field_diameter_px", "flip_axes"])
def test_training_and_inference_share(key):
    assert config("train.yaml")[key] == config("inference.yaml")[key]


@pytest.mark.parametrize("section", ["train::deterministic_transforms", "validate::preprocessing"])
@pytest.mark.parametrize(
    "name", ["LoadVolumed", "FindFieldOfViewd", "ResizeFieldOfViewd", "NormalizeFieldOfViewd"]
)
def test_training_and_inference_prepare_images_alike(section, name):
    ours = dict(steps(config("train.yaml"), section)[name])
    theirs = dict(steps(config("inference.yaml"), "preprocessing")[name])
    only_labels = {"LoadVolumed": ("label_keys", "labels"), "ResizeFieldOfViewd": ("keys",)}.get(name, ())
    for key in only_labels:
        ours.pop(key)
        theirs.pop(key, None)
    assert ours == theirs
    assert "_target_" in ours


@pytest.mark.parametrize("section", ["train::deterministic_transforms", "validate::preprocessing"])
def test_steps_come_in_the_order_of_inference(section):
    order = [
        name
        for name in steps(config("train.yaml"), section)
        if name in steps(config("inference.yaml"), "preprocessing")
    ]
    theirs = [name for name in steps(config("inference.yaml"), "preprocessing") if name in order]
    assert order == theirs
    assert len(order) >= 4


def test_validation_infers_as_inference():
    train, inference = config("train.yaml"), config("inference.yaml")
    assert train["validate::inferer"] == inference["inferer"]["inferer"]  # of what observes it
    assert train["validate::postprocessing"] == inference["postprocessing"]


@pytest.mark.parametrize("epochs", [10, 100])
def test_learning_rate_covers_the_training(epochs):
    """Through the configuration's own schedule and handler, with three iterations an epoch."""
    parser = parse(BUNDLE, "train.yaml", overrides={"epochs": epochs, "device": "cpu"})
    full = parser["learning_rate"]
    handlers = [h for h in parser["train::handlers"] if h["_target_"] == "LrScheduleHandler"]
    assert len(handlers) == 1
    handler = parser.get_parsed_content(f"train::handlers::{parser['train::handlers'].index(handlers[0])}")
    optimizer = parser.get_parsed_content("optimizer")
    engine, rates = Engine(lambda engine, batch: optimizer.step()), []
    handler.attach(engine)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: rates.append(optimizer.param_groups[0]["lr"]))
    engine.run([0, 1, 2], max_epochs=epochs)
    top = rates.index(max(rates))
    assert 0 < top <= 0.3 * epochs
    assert 0 < rates[0] <= 0.2 * full
    assert rates[top] == pytest.approx(full)
    assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)
    assert 0 <= rates[-1] < 0.05 * full
    assert rates[epochs // 2] > 0.4 * full


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ({"epochss": 5}, "Did you mean epochs?"),
        ({"train::dataloader::batch_sampler::batchsize": 2}, "Did you mean batch_size?"),
    ],
)
def test_misspelt_override(phantom_data, override, meant):
    with pytest.raises(UsageError) as error:
        run_workflow(BUNDLE, "train.yaml", overrides=TINY | override)
    assert error.value.got in override
    assert error.value.advice == meant


# --- a training ---


@pytest.fixture(scope="module")
def train(run_medseg, phantom_folder, empty_store):
    """Train on phantoms by the command line, into a folder that gets an MLflow store of its own."""

    def run(output, manifest=phantom_folder / "phantoms.json", **overrides):
        output.mkdir(exist_ok=True)
        if not (output / "mlflow.db").exists():
            shutil.copy(empty_store, output / "mlflow.db")
        pairs = [part for key, value in (TINY | overrides).items() for part in ("--set", f"{key}={value}")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MEDSEG_DATA", str(manifest.parent))
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{output / 'mlflow.db'}")
            patch.chdir(output)
            arguments = ["train", "retinal_vessel", "--manifest", manifest, "--output_dir", output]
            return run_medseg(*arguments, *pairs)

    return run


def test_a_patch_that_the_network_can_not_take(train, tmp_path, capsys):
    network = {"network_def::channels": [4, 8, 8], "network_def::strides": [2, 2], "patch_px": 62}
    assert train(tmp_path / "run", **network) == 2
    assert "multiples of 4 x 4 for this network; got 62 x 62" in capsys.readouterr().err
    assert not (tmp_path / "run/models/checkpoint.pt").exists(), "the corrected command is not refused"


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    assert train(output) == 0
    return output


def runs(output):
    """The training's runs and, for each metric of a run, its values by step."""
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    found = client.get_experiment_by_name("retinal_vessel")
    for run in client.search_runs([found.experiment_id]) if found else []:
        yield (
            run,
            {
                name: {
                    metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)
                }
                for name in run.data.metrics
            },
        )


def state(output):
    return torch.load(output / "models" / "model.pt", weights_only=True)


def test_training_is_tracked(trained):
    ((run, logged),) = runs(trained)
    assert run.info.status == "FINISHED"
    assert {key: run.data.params[key] for key in ("seed", "epochs", "patch_px", "field_diameter_px")} == {
        "seed": "7",
        "epochs": "2",
        "patch_px": "64",
        "field_diameter_px": "128",
    }
    curves = {"train_loss", "learning_rate", "train_dice", "val_dice"}
    stages = {f"seconds/{stage}" for stage in ("load", "transform", "wait", "step", "validate")}
    assert {name for name in logged if not name.startswith(("final/", "system/"))} == curves | stages
    assert all(set(logged[name]) == {1, 2} for name in curves | stages)
    assert set(logged["system/cpu_utilization_percentage"]) == {1, 2}
    assert logged["final/dice"] == {
        0: pytest.approx(json.loads((trained / "scores.json").read_text())["scores"]["dice"]["mean"])
    }
    assert all(0 < loss < 5 for loss in logged["train_loss"].values())
    # Two epochs teach two small layers next to nothing.
    assert all(0.01 < dice < 0.2 for name in ("train_dice", "val_dice") for dice in logged[name].values())
    assert logged["learning_rate"] == pytest.approx({1: 0.0004, 2: 0.0022})


def test_where_a_run_comes_from(trained):
    """The configuration, the data by their content, versions, machine and program."""
    ((run, _),) = runs(trained)
    assert run.data.params["learning_rate"] == "0.004"
    assert run.data.params["network_def.channels"] == "[4, 8]", "changed"
    assert "loss.outputs" not in run.data.params, "nested, and as ever"
    assert len(run.data.params) < 40
    assert not any("output_dir" in name or str(trained) in value for name, value in run.data.params.items())
    tags = run.data.tags
    assert tags["version.torch"] == torch.__version__
    assert tags["machine.cores"] == str(os.cpu_count())
    assert tags["mlflow.source.name"]
    assert tags["weights.sha256"] == sha256(trained / "models" / "model.pt")
    datasets = {entry.dataset.name: entry.dataset.digest for entry in run.inputs.dataset_inputs}
    assert set(datasets) == {"phantoms/training", "phantoms/validation"}
    assert len(set(datasets.values())) == 2


def test_what_the_list_of_runs_shows(trained, train, tmp_path):
    ((run, curves),) = runs(trained)
    assert run.info.run_name.startswith("epochs=2, batch_size=4, ")
    assert "learning_rate" not in run.info.run_name
    dice = json.loads((trained / "scores.json").read_text())["scores"]["dice"]["mean"]
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"dice {dice:.4f}")
    assert "validation, 1 case\n" in note
    # MLflow's compare page begins with the first metric that came.
    assert next(iter(curves)) == "val_dice"
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    tags = client.get_experiment_by_name("retinal_vessel").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert train(tmp_path, learning_rate=0.01) == 0
    ((run, _),) = runs(tmp_path)
    assert run.info.run_name.startswith("learning_rate=0.01, epochs=2, ")
    assert "learning_rate=0.01" in run.data.tags["mlflow.note.content"]


def test_what_a_run_keeps(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained / 'mlflow.db'}")
    ((run, _),) = runs(trained)
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")

    def kept(folder=None):
        return {Path(file.path).name for file in client.list_artifacts(run.info.run_id, folder)}

    pictures = {"worst.jpg", "median.jpg", "best.jpg"}
    assert kept() == {"cases", "curves.png", "images", "parameters.json", "scores", "weights"} | pictures
    copy = client.download_artifacts(run.info.run_id, "parameters.json", str(trained))
    every = json.loads(Path(copy).read_text())
    assert every["loss.outputs"] == "sigmoid"
    assert every.items() >= {k: v for k, v in run.data.params.items() if len(v) < 100}.items()
    assert load_run(run.info.run_id).parameters.items() >= every.items()
    assert kept("cases") == {"3.jpg"}
    assert kept("scores") == {"scores.csv", "scores.json"}
    assert {name.split("+")[0] for name in kept("images")} == {"worst", "median", "best"}
    copy = client.download_artifacts(run.info.run_id, "weights/model.pt", str(trained))
    assert sha256(copy) == run.data.tags["weights.sha256"]


def test_weights_can_be_loaded(trained):
    parser = parse(BUNDLE, "train.yaml", overrides=TINY)
    network = load_weights(parser.get_parsed_content("network_def"), trained / "models" / "model.pt")
    assert not network.training
    saved = state(trained)
    assert set(saved) == set(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
        assert torch.isfinite(tensor).all(), name


OF_THE_NETWORK = {
    key: value for key, value in TINY.items() if key.startswith(("network_def", "field_diameter"))
}


@pytest.fixture
def scored(run_medseg, phantom_folder, tmp_path, monkeypatch):
    """The rows of an evaluation by weights."""
    monkeypatch.setenv("MEDSEG_DATA", str(phantom_folder))

    def run(weights, split, **overrides):
        pairs = [
            part
            for key, value in (OF_THE_NETWORK | overrides).items()
            for part in ("--set", f"{key}={value}")
        ]
        options = ["--manifest", phantom_folder / "phantoms.json", "--split", split, "--weights", weights]
        folder = tmp_path / "scores"
        assert run_medseg("evaluate", "retinal_vessel", *options, "--output_dir", folder, *pairs) == 0
        return read_rows(folder / "scores.csv")

    return run


def test_what_is_scored_at_the_end_is_what_segments(trained, scored):
    """The bundle's inference.yaml with the trained network: the same scores as by `medseg evaluate`."""
    assert scored(trained / "models" / "model.pt", "validation") == read_rows(trained / "scores.csv")


def test_weights_know_whom_they_have_learnt_from(trained, scored, capsys):
    weights = trained / "models" / "model.pt"
    record = json.loads((trained / "models" / "model.lineage.json").read_text())
    assert record["weights_sha256"] == sha256(weights)
    assert (len(record["subjects"]), len(record["images"]), record["is_whole"]) == (3, 3, True)
    assert [row.groups.get("trained") for row in scored(weights, "training")] == ["yes"] * 3
    assert "trained on 3 of 3 cases" in capsys.readouterr().out
    for split in ("validation", "test"):
        assert not any(row.groups for row in scored(weights, split))


def test_weights_know_whom_their_ancestors_have_learnt_from(trained, train, scored, phantom_data, tmp_path):
    """Of a training on one item, begun with weights that have learnt from three."""
    phantom_data.content["training"] = phantom_data.content["validation"]
    phantom_data.content["validation"] = phantom_data.content["test"]
    phantom_data.content["test"] = []
    phantom_data.save()
    weights = trained / "models" / "model.pt"
    done = train(tmp_path / "next", phantom_data.manifest, start_from=weights, batch_size=2, epochs=1)
    assert done == 0
    last = tmp_path / "next" / "models" / "model.pt"
    for split, trained_on in (("training", 3), ("validation", 1), ("test", 0)):
        assert sum(row.groups.get("trained") == "yes" for row in scored(last, split)) == trained_on


def test_the_seed_decides(trained, train, tmp_path):
    assert train(tmp_path / "same") == train(tmp_path / "other", seed=8) == 0
    first, again, other = state(trained), state(tmp_path / "same"), state(tmp_path / "other")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("conv.weight"))


def test_a_training_shorter_than_the_interval_is_validated(train, tmp_path):
    assert train(tmp_path, val_interval=10) == 0
    assert state(tmp_path)
    ((_, logged),) = runs(tmp_path)
    assert set(logged["val_dice"]) == {2}


def test_an_earlier_training_is_not_overwritten(trained, train, capsys):
    before = sha256(trained / "models" / "model.pt")
    assert train(trained) == UsageError.exit_code
    assert "--resume" in capsys.readouterr().err
    assert sha256(trained / "models" / "model.pt") == before
    assert len(list(runs(trained))) == 1


def test_resuming_a_finished_training_changes_nothing(trained, train):
    before = sha256(trained / "models" / "checkpoint.pt")
    assert train(trained, resume="true") == 0
    assert sha256(trained / "models" / "checkpoint.pt") == before
    assert len(list(runs(trained))) == 1


def test_a_kill_before_the_end_was_noted(train, tmp_path, monkeypatch):
    """The training is done, its MLflow run still open: resuming ends it, and trains no more."""
    from medseg.tracking.tracker import Tracker

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "finish", lambda self, status: None)
        assert train(tmp_path) == 0
    ((run, before),) = runs(tmp_path)
    assert run.info.status == "RUNNING"
    assert train(tmp_path, resume="true") == 0
    ((run, after),) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert after == before


def test_resuming_with_other_parameters(trained, train, capsys):
    assert train(trained, resume="true", learning_rate=0.5) == UsageError.exit_code
    assert "learning_rate 0.004 then, 0.5 now" in capsys.readouterr().err


def test_resuming_on_other_data(train, phantom_data, tmp_path, capsys):
    assert train(tmp_path / "out", phantom_data.manifest) == 0
    label = phantom_data.folder / phantom_data.content["training"][0]["label"]
    shutil.copy(phantom_data.folder / phantom_data.content["training"][1]["label"], label)
    assert train(tmp_path / "out", phantom_data.manifest, resume="true") == UsageError.exit_code
    said = capsys.readouterr().err
    assert "1 that differ: data.training" in said
    assert "data.validation" not in said


def test_no_better_score_ends_a_training(train, tmp_path, monkeypatch):
    """A learning rate of almost nothing: the first validation stays the best, or nearly so."""
    scores = iter([0.5, 0.4, 0.6, 0.6, 0.1, 0.9])
    monkeypatch.setattr("monai.handlers.MeanDice.compute", lambda self: torch.tensor(next(scores)))
    monkeypatch.setattr("monai.engines.SupervisedTrainer._register_metrics", lambda *_: None)
    assert train(tmp_path, epochs=6, patience=2) == 0
    ((run, logged),) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert logged["val_dice"] == pytest.approx({1: 0.5, 2: 0.4, 3: 0.6, 4: 0.6, 5: 0.1})
    saved = torch.load(tmp_path / "models" / "checkpoint.pt", weights_only=True)["standing"]
    assert (saved["best_epoch"], saved["epoch"], saved["over"], saved["finished"]) == (3, 5, True, True)


@pytest.mark.slow
@pytest.mark.seconds
def test_a_model_for_the_registry(train, tmp_path):
    assert train(tmp_path, register="vessels") == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    ((run, _),) = runs(tmp_path)
    (version,) = client.search_model_versions("name = 'vessels'")
    assert version.run_id == run.info.run_id
    model = mlflow.pytorch.load_model(str(tmp_path / "mlflow_model"))
    signature = mlflow.models.get_model_info(str(tmp_path / "mlflow_model")).signature
    assert signature.inputs.inputs[0].shape == (-1, 3, -1, -1)
    assert signature.outputs.inputs[0].shape == (-1, 1, -1, -1)
    picture = np.random.default_rng(0).normal(size=(2, 3, 32, 48)).astype(np.float32)
    parser = parse(BUNDLE, "train.yaml", overrides=TINY)
    network = load_weights(parser.get_parsed_content("network_def"), tmp_path / "models" / "model.pt")
    with torch.no_grad():
        expected = network(torch.as_tensor(picture)).numpy()
        assert model(torch.as_tensor(picture)).numpy() == pytest.approx(expected, abs=1e-5)


def break_augmentation(monkeypatch, error):
    """Raise from the middle of the first epoch."""
    from medseg.transforms import RandColourMixd

    calls = []

    def call(self, data):
        calls.append(1)
        if len(calls) == 6:
            raise error
        return data

    monkeypatch.setattr(RandColourMixd, "__call__", call)


def test_a_training_that_fails(train, tmp_path, monkeypatch):
    break_augmentation(monkeypatch, ArithmeticError("broken on purpose"))
    with pytest.raises(RuntimeError) as error:
        train(tmp_path)
    assert "broken on purpose" in "".join(traceback.format_exception(error.value))
    ((run, logged),) = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert logged == {}
    assert not (tmp_path / "models" / "model.pt").exists()


def test_a_training_whose_loss_is_no_number(train, tmp_path, monkeypatch, capsys):
    """The message comes through MONAI's wrapping."""
    monkeypatch.setattr(DiceCELoss, "forward", lambda self, input, target: input.mean() * math.nan)
    assert train(tmp_path) == 1
    assert "got nan in epoch 1" in capsys.readouterr().err
    ((run, _),) = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert not (tmp_path / "models" / "model.pt").exists()


def test_a_training_that_is_stopped(train, tmp_path, monkeypatch, capsys):
    break_augmentation(monkeypatch, KeyboardInterrupt())
    assert train(tmp_path) == 1
    assert "medseg: stopped" in capsys.readouterr().err
    ((run, _),) = runs(tmp_path)
    assert run.info.status == "KILLED"


def test_training_refuses_an_unsound_data_set(train, phantom_data, tmp_path, capsys):
    phantom_data.content["validation"][0]["subject"] = "phantom_0"
    phantom_data.save()
    assert train(tmp_path, phantom_data.manifest) == DataError.exit_code
    assert "subject phantom_0 is in training, validation" in capsys.readouterr().err
    assert list(runs(tmp_path)) == []
    assert not (tmp_path / "models").exists()
