"""What a workflow computes with, from wherever it was set; and weights of a cross-validation."""

import json
import sys

import pytest
import yaml

from medseg import bundle as bundles
from medseg.bundle import (
    configuration,
    given_path,
    inference_keys,
    inference_overrides,
    open_bundle,
    parse,
    run_workflow,
    trained_values,
)
from medseg.bundle.config import running
from medseg.errors import BundleError, MedsegError, UsageError

CONFIG = {
    # Where it reads and writes, and what it is called.
    "imports": ["$import json", "$from pathlib import Path", "$from medseg.bundle import configuration"],
    "bundle_root": None,
    "config_files": ["train.yaml"],
    "dataset_dir": "/data",
    "output_dir": "out",
    "ckpt_dir": "out/models",
    "cache_dir": "cache",
    "experiment": "a",
    "run_name": None,
    "parent_run": None,
    "resume": False,
    "register": None,
    # What it computes with.
    "epochs": 10,
    "learning_rate": 0.004,
    "autocast": True,
    "fold": None,
    "name": "text",
    "labels": {0: "background", 1: "vessel"},
    "network_def": {"_target_": "UNet", "channels": [4, 8], "act": ["prelu", {"init": 0.25}]},
    "optimizer": {"_target_": "AdamW", "lr": "@learning_rate", "params": "$@network_def.parameters()"},
    "train": {
        "batch_size": 8,
        "output_dir": "kept",
        "transforms": [{"_target_": "Flipd", "keys": "image"}, {"_target_": "Zoomd", "range": [[0.5, 2], 1]}],
        "handlers": [],
    },
    "run": ["$Path(@output_dir).write_text(json.dumps(configuration(@bundle_root, @config_files)))"],
}


PARAMETERS = {
    "epochs": "10",
    "learning_rate": "0.004",
    "autocast": "True",
    "fold": "None",
    "name": "text",
    "labels.0": "background",
    "labels.1": "vessel",
    "network_def._target_": "UNet",
    "network_def.channels": "[4, 8]",
    "network_def.act.0": "prelu",
    "network_def.act.1.init": "0.25",
    "optimizer._target_": "AdamW",
    "optimizer.lr": "@learning_rate",
    "optimizer.params": "$@network_def.parameters()",
    "train.batch_size": "8",
    "train.output_dir": "kept",
    "train.transforms.0._target_": "Flipd",
    "train.transforms.0.keys": "image",
    "train.transforms.1._target_": "Zoomd",
    "train.transforms.1.range.0": "[0.5, 2]",
    "train.transforms.1.range.1": "1",
    "train.handlers": "[]",
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A bundle whose workflow writes its configuration to output_dir, which is a file here.

    An audit refuses it for that: it is trusted by its folder.
    """
    folder = tmp_path / "bundle" / "configs"
    monkeypatch.setenv("MEDSEG_TRUSTED_BUNDLES", str(folder.parent))
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"version": "1.0", "task": "nothing"}))
    (folder / "train.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    (folder / "evaluate.yaml").write_text(
        yaml.safe_dump({"epochs": 1, "train::batch_size": 1, "split": "test"})
    )
    return folder.parent


@pytest.fixture
def command_line(monkeypatch):
    """As if this were `python -m monai.bundle run` with these arguments."""

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["/lib/monai/bundle/__main__.py", "run", *arguments])

    return start


def changes(found):
    """What differs from the configuration as it is written."""
    return {name: value for name, value in found.items() if PARAMETERS.get(name) != value}


def test_it_is_flat_and_without_paths_and_names_of_runs(root):
    assert configuration(root, ["train.yaml"]) == PARAMETERS


def test_a_later_file_overrides(root):
    found = configuration(str(root), ["train.yaml", "evaluate.yaml"])
    assert changes(found) == {"epochs": "1", "train.batch_size": "1", "split": "test"}


def test_of_the_shipped_training():
    """Every entry has a name and a value of its own, and none tells where it was computed."""
    bundle = open_bundle("retinal_vessel")
    found = configuration(bundle.root, ["train.yaml"])
    assert found["epochs"] == str(parse(bundle, "train.yaml")["epochs"])
    assert found["train.random_transforms.affine._target_"] == "RandAffined"
    assert len(found) > 100
    assert not {name.split(".")[0] for name in found} & {"output_dir", "imports", "run", "_meta_"}
    assert not [value for value in found.values() if str(bundle.root) in value or " at 0x" in value]


def recorded(root, tmp_path, **overrides):
    file = tmp_path / "parameters.json"
    run_workflow(open_bundle(str(root)), "train.yaml", overrides={**overrides, "output_dir": str(file)})
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, {}),
        ({"epochs": 3, "learning_rate": 1e-3}, {"epochs": "3", "learning_rate": "0.001"}),
        ({"train::batch_size": 2}, {"train.batch_size": "2"}),
        ({"train#batch_size": 2}, {"train.batch_size": "2"}),
        ({"train::transforms::0::keys": "label"}, {"train.transforms.0.keys": "label"}),
        ({"network_def::channels": [2, 4]}, {"network_def.channels": "[2, 4]"}),
        ({"fold": [0, 5], "autocast": False}, {"fold": "[0, 5]", "autocast": "False"}),
        ({"run_name": "a", "cache_dir": None, "resume": True}, {}),
    ],
)
def test_overrides_of_a_workflow(root, tmp_path, overrides, expected):
    assert changes(recorded(root, tmp_path, **overrides)) == expected


def test_overrides_end_with_the_workflow(root, tmp_path, command_line):
    recorded(root, tmp_path, epochs=3)
    assert configuration(root, ["train.yaml"]) == PARAMETERS
    with pytest.raises(RuntimeError):
        recorded(root, tmp_path, epochs=3, run=["$1 / 0"])
    assert configuration(root, ["train.yaml"]) == PARAMETERS
    # A workflow has its own, whatever program it runs in.
    command_line("--epochs", "7")
    assert changes(recorded(root, tmp_path, learning_rate=0.5)) == {"learning_rate": "0.5"}


def test_a_workflow_within_a_workflow(root, tmp_path):
    """As the folds of a cross-validation are."""
    (root / "configs" / "inner.yaml").write_text(yaml.safe_dump(CONFIG))
    token = running.set({"epochs": 4})
    assert changes(recorded(root, tmp_path, epochs=3)) == {"epochs": "3"}
    assert changes(configuration(root, ["train.yaml"])) == {"epochs": "4"}
    running.reset(token)


def test_a_misspelt_override(root, tmp_path):
    with pytest.raises(UsageError, match="Did you mean batch_size"):
        recorded(root, tmp_path, **{"train::batchsize": 2})
    assert not (tmp_path / "parameters.json").exists()


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("epochs", "many", "a number for epochs; got many. The bundle's own value is 10"),
    ("autocast", "perhaps", "true or false for autocast"),
    ("network_def::channels", "wide", "a list of numbers for network_def::channels"),
])  # fmt: skip
def test_text_in_the_place_of_a_number(root, key, value, expected):
    with pytest.raises(UsageError, match=expected):
        parse(open_bundle(str(root)), "train.yaml", overrides={key: value})
    for taken in ("$3", "@train::batch_size", None):
        parse(open_bundle(str(root)), "train.yaml", overrides={key: taken})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epochs", "3"], {"epochs": "3"}),
        (["--epochs=3"], {"epochs": "3"}),
        (["training", "--epochs", "3"], {"epochs": "3"}),
        (["--fold"], {"fold": "True"}),
        (["--fold", "--epochs", "3"], {"fold": "True", "epochs": "3"}),
        (["--epochs", "-3"], {"epochs": "-3"}),
        (["--train#batch_size", "2"], {"train.batch_size": "2"}),
        (["--train::batch_size=2"], {"train.batch_size": "2"}),
        (["--train#transforms#0#keys", "label"], {"train.transforms.0.keys": "label"}),
        (["--network_def#channels", "[2, 4]"], {"network_def.channels": "[2, 4]"}),
        (["--fold", "[0,5]", "--autocast", "False"], {"fold": "[0, 5]", "autocast": "False"}),
        (["--learning_rate", "1.0e-3"], {"learning_rate": "0.001"}),
        (["--name", "some text"], {"name": "some text"}),
        (["--name=a=b"], {"name": "a=b"}),
        (["--name", "@epochs"], {"name": "@epochs"}),
        (["--name", "$@epochs * 2"], {"name": "$@epochs * 2"}),
        (["--name", "$lambda x: x == 'a: b'"], {"name": "$lambda x: x == 'a: b'"}),
        (["--epochs", "3", "--epochs", "4"], {"epochs": "4"}),
        (["--output_dir", "a", "--run_name=b"], {}),
        (["--config_file", "a.yaml", "--meta_file=b", "--logging_file", "c", "--run_id", "d"], {}),
    ],
)
def test_overrides_of_a_command(root, command_line, arguments, expected):
    command_line(*arguments)
    assert changes(configuration(root, ["train.yaml"])) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--learning_rate", "1e-3"], {"learning_rate": "0.001"}),
        (["--learning_rate=1e-3"], {"learning_rate": "0.001"}),
        (["--name", "yes"], {"name": "yes"}),
        (["--name", "1:30"], {"name": "1:30"}),
        (["--name", "a: b"], {"name": "a: b"}),
        (["--name", "[a"], {"name": "[a"}),
        (["--name", "null"], {"name": "null"}),
        (["--name="], {"name": ""}),
    ],
)
def test_values_of_a_command_are_those_that_monai_gets(root, command_line, arguments, expected):
    import fire

    key, value = next(iter(expected.items()))
    assert str(fire.Fire(lambda **values: values, command=arguments)[key]) == value
    command_line(*arguments)
    assert changes(configuration(root, ["train.yaml"])) == expected


@pytest.mark.parametrize(
    "argv",
    [
        ["/bin/medseg", "train", "--epochs", "3"],
        ["/lib/pytest/__main__.py", "tests", "--epochs", "3"],
        ["/lib/monai/bundle/__main__.py", "verify_metadata", "--epochs", "3"],
        ["/lib/monai/bundle/__main__.py"],
        [""],
    ],
)
def test_arguments_of_another_program_are_not_read(root, monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", argv)
    assert configuration(root, ["train.yaml"]) == PARAMETERS


def test_a_misspelt_argument(root, command_line):
    command_line("--epochs", "3", "--train#batchsize=2")
    with pytest.raises(SystemExit, match="Did you mean batch_size"):
        bundles.check_arguments(root, ["train.yaml"])
    command_line("--epochs", "3", "--train#batch_size=2", "--config_file", "a")
    bundles.check_arguments(root, ["train.yaml"])


@pytest.mark.slow
def test_by_monai_itself(root, tmp_path, monai_bundle):
    file = tmp_path / "parameters.json"
    done = monai_bundle(
        *("run", "--config_file", root / "configs" / "train.yaml", "--bundle_root", root),
        *("--output_dir", file, "--epochs=3", "--train#batch_size", "2", "--network_def::channels", "[2,4]"),
        *("--learning_rate", "$1 / 2", "--fold"),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert changes(json.loads(file.read_text())) == {
        "epochs": "3",
        "train.batch_size": "2",
        "network_def.channels": "[2, 4]",
        "learning_rate": "$1 / 2",
        "fold": "True",
    }


def test_paths_are_taken_as_they_were_typed(command_line):
    """MONAI reads values as Python does."""
    command_line("--input", "123", "--output_dir=007", "--weights", "1e3")
    assert given_path("input", 123) == "123"
    assert given_path("output_dir", 7) == "007"
    assert given_path("weights", 1000.0) == "1e3"
    assert given_path("ckpt_dir", "out/models") == "out/models"


def test_paths_that_no_command_gave():
    """As of a Python program."""
    assert given_path("input", 123) == "123"
    assert given_path("input", "a/b") == "a/b"


EVALUATION = ["train.yaml", "evaluate.yaml"]


@pytest.fixture
def used(root):
    """The bundle's inference.yaml: two keys of the training's, and two of its own."""
    content = {
        "bundle_root": None,
        "name": "text",
        "epochs": 10,
        "device": "cpu",
        "weights": None,
        "network_def": {"_target_": "UNet", "channels": [4, 8], "act": ["prelu", {"init": 0.25}]},
        "postprocessing": {"_target_": "medseg.transforms.steps", "threshold": {"threshold": 0.5}},
        "backend": "auto",
    }
    (root / "configs" / "inference.yaml").write_text(yaml.safe_dump(content))
    return root


@pytest.fixture
def said(monkeypatch):
    """As if a workflow ran with these overrides."""
    return lambda overrides: monkeypatch.setattr("medseg.bundle.config._active_overrides", lambda: overrides)


def test_keys_of_the_inference_alone_go_to_it(used):
    given = {"epochs": 3, "backend": "torch", "postprocessing::threshold::threshold": 0.4}
    assert inference_keys(open_bundle(str(used)), EVALUATION, ["inference.yaml"], given) == {
        "epochs": 3,
        "inference": {"backend": "torch", "postprocessing::threshold::threshold": 0.4},
    }
    # What nobody has stays, for the workflow to refuse.
    assert inference_keys(open_bundle(str(used)), EVALUATION, ["inference.yaml"], {"backnd": 1}) == {
        "backnd": 1
    }


def test_what_was_said_counts_for_the_inference(used, said):
    """A shared key; neither a path nor what the inference does not have."""
    said({"name": "other", "learning_rate": 1.0, "device": "cuda", "network_def::channels": [2]})
    found = inference_overrides(used, ["inference.yaml"], {"backend": "torch"})
    assert found == {"name": "other", "network_def::channels": [2], "backend": "torch"}
    said({})
    assert inference_overrides(used, ["inference.yaml"]) == {}


def test_a_network_is_used_as_it_was_trained(used, said):
    assert trained_values(used, ["train.yaml"], ["inference.yaml"]) == {}
    said({"network_def::channels": [2, 4], "learning_rate": 1.0})
    found = trained_values(used, ["train.yaml"], ["inference.yaml"])
    assert found == {"network_def": {**CONFIG["network_def"], "channels": [2, 4]}}


def test_a_bundle_that_cannot_be_read(root):
    (root / "configs" / "metadata.json").write_text("{")
    with pytest.raises(BundleError, match=r"metadata in JSON"):
        configuration(root, ["train.yaml"])


def test_an_error_of_a_step_keeps_its_type(root, tmp_path):
    """MONAI wraps whatever a step raises."""
    step = "$(_ for _ in ()).throw(__import__('medseg.errors').errors.DataError('a', got='b', advice='C.'))"
    with pytest.raises(MedsegError, match=r"expected a; got b\. C\."):
        recorded(root, tmp_path, run=[step])
