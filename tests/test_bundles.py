"""Each bundle passes MONAI's own checks and is consistent with itself."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ckpt_export, onnx_export, verify_metadata, verify_net_in_out

from medseg import bundle as bundles
from medseg.errors import UsageError, WeightsError

pytestmark = pytest.mark.seconds

TASKS = bundles.tasks()
ROOT = Path(__file__).parents[1]


def config(task, name):
    return str(bundles.find(task) / "configs" / name)


def network_files(task):
    """The configurations of the method that has a network, whichever is the default."""
    bundle = bundles.open_bundle(task)
    return [str(bundle.config(name)) for name in bundles.inference_files(bundle, "residual_unet")]


@pytest.fixture(params=TASKS)
def task(request):
    return request.param


def test_there_are_bundles():
    assert TASKS == ["breast_ultrasound", "lung_ct", "retinal_vessel"]


def test_has_its_files(task):
    root = bundles.find(task)
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    expected = {
        f"configs/{name}"
        for name in (
            *("metadata.json", "inference.yaml", "train.yaml", "evaluate.yaml", "multi_gpu_train.yaml"),
            "methods/residual_unet.yaml",
        )
    }
    assert names >= expected | {"configs/logging.conf", "models/model.pt", "docs/README.md", "LICENSE"}
    assert not [name for name in names if name.endswith(".py")], "configuration only"
    assert (root / "models" / "model.pt").stat().st_size < 12e6


def test_weights_are_pinned(task):
    """Each method's that has some: as the file that it is shipped with, and that it declares."""
    bundle = bundles.open_bundle(task)
    methods = [bundles.read_method(bundle, name) for name in bundles.method_names(bundle)]
    assert any(method.weights for method in methods)
    for method in methods:
        parser = bundles.parse(bundle, *bundles.inference_files(bundle, method.name))
        pinned = parser["weights_sha256"]
        if method.weights is None:
            assert (parser["weights"], pinned) == (None, None)
        elif not method.is_trained:  # `medseg train` makes them
            assert task == "lung_ct"
            assert pinned is None
        else:
            assert pinned == bundles.sha256(method.weights)
            assert Path(parser.get_parsed_content("weights")) == method.weights


def test_versions_agree(task):
    metadata = bundles.open_bundle(task).metadata
    assert metadata["version"] in metadata["changelog"]
    pins = dict(
        line.strip().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert metadata["monai_version"] == pins["monai"]
    assert metadata["pytorch_version"] == pins["torch"]
    assert metadata["numpy_version"] == pins["numpy"]
    for name, expected in metadata["required_packages_version"].items():
        assert expected == pins.get(name, expected)


def test_the_channels_are_the_labels_of_a_mask(task):
    """MONAI Label shows channel_def of `pred` beside each mask as the names of its values."""
    outputs = bundles.open_bundle(task).metadata["network_data_format"]["outputs"]
    labels = yaml.safe_load(Path(config(task, "inference.yaml")).read_text())["labels"]
    assert {int(value): name for value, name in outputs["pred"]["channel_def"].items()} == labels


# MONAI's checks are called as its command line calls them: they raise where a bundle is at fault.


def test_verify_metadata(task, data_root):
    schema = data_root / "monai_schema" / "meta_schema_20240725.json"
    assert json.loads(Path(config(task, "metadata.json")).read_text())["schema"].endswith(schema.name)
    verify_metadata(meta_file=config(task, "metadata.json"), filepath=str(schema))


def test_verify_metadata_refuses(task, data_root, tmp_path):
    metadata = json.loads(Path(config(task, "metadata.json")).read_text())
    (tmp_path / "metadata.json").write_text(json.dumps(metadata | {"version": 1}))
    schema = data_root / "monai_schema" / "meta_schema_20240725.json"
    with pytest.raises(ValueError, match="not of type 'string'"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))


def test_a_training_may_begin_with_weights(task):
    weights = bundles.find(task) / "models" / "model.pt"
    parser = bundles.parse(bundles.open_bundle(task), "train.yaml", overrides={"start_from": str(weights)})
    begun, kept = parser.get_parsed_content("network").state_dict(), torch.load(weights, weights_only=True)
    assert begun.keys() == kept.keys()
    assert all(torch.equal(begun[name], kept[name]) for name in kept)


@pytest.mark.slow
def test_verify_net_in_out(task):
    verify_net_in_out(
        net_id="network_def",
        meta_file=config(task, "metadata.json"),
        config_file=network_files(task),
        device="cpu",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("export", "name"), [(ckpt_export, "model.ts"), (onnx_export, "model.onnx")])
def test_export(task, export, name, tmp_path):
    exported = tmp_path / name
    shape = bundles.open_bundle(task).metadata["network_data_format"]["inputs"]["image"]
    export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(bundles.find(task) / "models" / "model.pt"),
        meta_file=config(task, "metadata.json"),
        config_file=network_files(task),
        input_shape=[1, shape["num_channels"], *shape["spatial_shape"]],
    )
    assert_same_output(task, exported, [1, shape["num_channels"], *shape["spatial_shape"]])


def assert_same_output(task, exported, shape):
    import numpy as np

    bundle = bundles.open_bundle(task)
    parser = bundles.parse(bundle, *bundles.inference_files(bundle, "residual_unet"))
    network = bundles.load_weights(
        parser.get_parsed_content("network_def"), bundles.find(task) / "models" / "model.pt"
    )
    torch.manual_seed(0)
    image = torch.randn(shape)
    with torch.no_grad():
        expected = network(image).numpy()
    if exported.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    else:
        with torch.no_grad():
            found = torch.jit.load(str(exported))(image).numpy()
    assert np.abs(found - expected).max() < 1e-3


@pytest.fixture
def data_of_retinal_vessel(data_root):
    """The real data, as the manifests name them."""
    return {}


@pytest.fixture
def data_of_breast_ultrasound(data_root):
    """The real data, as the manifest names them."""
    return {}


@pytest.fixture
def data_of_lung_ct(lung_data):
    return {"manifests": [str(lung_data)], "beside": None, "cache_dir": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name", "kind"),
    [(task, "inference.yaml", "infer") for task in TASKS] + [(task, "train.yaml", "train") for task in TASKS],
)
def test_check_properties(task, name, kind, request, tmp_path):
    from monai.bundle import ConfigWorkflow

    overrides = {}
    if kind == "train":
        overrides = request.getfixturevalue(f"data_of_{task}")
    workflow = ConfigWorkflow(
        workflow_type=kind, config_file=config(task, name), output_dir=str(tmp_path), **overrides
    )
    workflow.initialize()
    assert not workflow.check_properties()
    logging.getLogger().handlers.clear()


def test_misspelt_key_gets_the_near_one():
    task = "retinal_vessel"
    with pytest.raises(UsageError, match="Did you mean threshold"):
        bundles.parse(bundles.open_bundle(task), "inference.yaml", overrides={"treshold": 0.4})
    with pytest.raises(UsageError, match="Did you mean overlap"):
        bundles.parse(
            bundles.open_bundle(task), "inference.yaml", overrides={"inferer::inferer::overlapp": 0.4}
        )


def test_a_step_can_be_switched_off():
    lung = bundles.open_bundle("lung_ct")
    files = bundles.inference_files(lung, "residual_unet")
    parser = bundles.parse(lung, *files, overrides={"preprocessing::gate::_disabled_": True})
    names = [type(step).__name__ for step in parser.get_parsed_content("preprocessing").transforms]
    assert names == ["LoadVolumed", "ToGridd"]
    for key in ("labels::_disabled_", "_disabled_", "preprocessing::gaet::_disabled_"):
        with pytest.raises(UsageError):
            bundles.parse(lung, *files, overrides={key: True})


def positions(value, path=""):
    """What of a configuration addresses an entry of a list by its place: override keys and references."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if LIST_POSITION.search(str(key)):
                yield f"{path}: {key}"
            yield from positions(entry, f"{path}::{key}")
    elif isinstance(value, list):
        for entry in value:
            yield from positions(entry, path)
    elif isinstance(value, str) and LIST_POSITION.search(value):
        yield f"{path}: {value}"


LIST_POSITION = re.compile(r"(::|#)\s*-?\d")


@pytest.mark.parametrize("value", [
    {"preprocessing::transforms::1::_disabled_": True},
    {"train#random_transforms#3": None},
    {"a": {"b": ["@train::handlers::0"]}},
    {"a": "$@validate#handlers#1.x + 1"},
    {"a": "%train.yaml::handlers::-1"},
])  # fmt: skip
def test_a_position_is_seen(value):
    assert list(positions(value))


def configurations():
    return sorted(ROOT.glob("bundles/*/configs/**/*.yaml"))


@pytest.mark.parametrize("file", configurations(), ids=lambda file: str(file.relative_to(ROOT / "bundles")))
def test_no_configuration_counts_in_a_list(file):
    """An overlay addresses steps by their names: a step that is added must not shift the others."""
    content = yaml.safe_load(file.read_text())
    assert content
    assert not list(positions(content))


def test_all_configurations_are_looked_at():
    names = {file.name for file in configurations()}
    assert {"inference.yaml", "train.yaml", "evaluate.yaml", "classical.yaml", "residual_unet.yaml"} <= names


def test_nested_override_is_taken():
    task = "retinal_vessel"
    parser = bundles.parse(
        bundles.open_bundle(task), "inference.yaml", overrides={"inferer::inferer::overlap": 0.125}
    )
    assert parser["inferer"]["inferer"]["overlap"] == 0.125


def test_misspelt_option_of_monai_is_refused(monai_bundle, tmp_path):
    task = "retinal_vessel"
    done = monai_bundle("run", "--config_file", config(task, "inference.yaml"), "--output_dirr", tmp_path)
    assert done.returncode != 0
    assert done.stderr.strip().endswith("Did you mean output_dir?")
    assert not list(tmp_path.iterdir())


def test_unknown_task():
    with pytest.raises(UsageError, match="Did you mean retinal_vessel"):
        bundles.open_bundle("retina_vessels")


class TestWeights:
    @pytest.fixture
    def network(self):
        import torch

        return torch.nn.Linear(2, 1)

    def test_other_hash(self, network, tmp_path):
        import torch

        torch.save(network.state_dict(), tmp_path / "model.pt")
        with pytest.raises(WeightsError, match="weights with the SHA-256 abc") as caught:
            bundles.load_weights(network, tmp_path / "model.pt", "abc")
        assert bundles.sha256(tmp_path / "model.pt") in str(caught.value)

    def test_missing(self, network, tmp_path):
        with pytest.raises(WeightsError, match="no file"):
            bundles.load_weights(network, tmp_path / "model.pt")

    def test_of_another_network(self, network, tmp_path):
        import torch

        torch.save(torch.nn.Linear(3, 1).state_dict(), tmp_path / "model.pt")
        with pytest.raises(WeightsError, match="size mismatch"):
            bundles.load_weights(network, tmp_path / "model.pt")

    def test_with_code_in_it(self, network, tmp_path):
        import torch

        torch.save({"model": Path("/")}, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match="UnpicklingError"):
            bundles.load_weights(network, tmp_path / "model.pt")

    def test_the_pinned_one(self, network, tmp_path):
        import torch

        torch.save(network.state_dict(), tmp_path / "model.pt")
        loaded = bundles.load_weights(
            torch.nn.Linear(2, 1), tmp_path / "model.pt", bundles.sha256(tmp_path / "model.pt")
        )
        assert torch.equal(loaded.weight, network.weight)
        assert not loaded.training
