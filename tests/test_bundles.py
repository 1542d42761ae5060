"""Each bundle passes MONAI's own checks and is consistent with itself."""

from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, onnx_export

from medseg import bundle as bundles
from medseg.errors import UsageError, WeightsError
from medseg.testing import BundleTests, check_workflow

pytestmark = pytest.mark.seconds

TASKS = bundles.tasks()
WINDOWS = "inferer::inferer::inferer"  # of retinal_vessel
ROOT = Path(__file__).parents[1]


def config(task, name):
    return str(bundles.find(task) / "configs" / name)


def network_files(task):
    """The configurations of the method that has a network, whichever is the default."""
    bundle = bundles.open_bundle(task)
    return [str(bundle.config(name)) for name in bundles.inference_files(bundle, "residual_unet")]


class Shipped(BundleTests):
    """The checks of any bundle, with the network's method and the bundle's own example."""

    network_method = "residual_unet"

    def example(self, folder):
        parser = bundles.parse(self.opened(), "inference.yaml", overrides={"output_dir": str(folder)})
        return Path(parser.get_parsed_content("input"))

    def test_metadata(self, data_root):
        assert (data_root / "monai_schema" / "meta_schema_20240725.json").is_file()
        super().test_metadata()

    @pytest.mark.slow
    def test_network(self):
        super().test_network()

    @pytest.mark.slow
    def test_inference_workflow(self, tmp_path):
        super().test_inference_workflow(tmp_path)

    @pytest.mark.slow
    def test_training_workflow(self, tmp_path, data_root):
        super().test_training_workflow(tmp_path)

    @pytest.mark.slow
    def test_segments(self, tmp_path):
        super().test_segments(tmp_path)


class TestRetinalVessel(Shipped):
    bundle = "retinal_vessel"


class TestBreastUltrasound(Shipped):
    bundle = "breast_ultrasound"


class TestLungCT(Shipped):
    bundle = "lung_ct"

    @pytest.mark.slow
    def test_training_workflow(self, tmp_path, lung_data):
        small = {"manifests": [str(lung_data)], "beside": None, "cache_dir": None}
        check_workflow(self.opened(), "train", {"output_dir": str(tmp_path), **small})


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


def test_methods_have_their_weights(task):
    """All but the lungs' small networks, which `medseg train` makes."""
    bundle = bundles.open_bundle(task)
    methods = [bundles.read_method(bundle, name) for name in bundles.method_names(bundle)]
    assert any(method.weights for method in methods)
    assert task == "lung_ct" or all(method.is_trained for method in methods if method.weights)


def test_versions_agree(task):
    metadata = bundles.open_bundle(task).metadata
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


def test_a_training_may_begin_with_weights(task):
    weights = bundles.find(task) / "models" / "model.pt"
    parser = bundles.parse(bundles.open_bundle(task), "train.yaml", overrides={"start_from": str(weights)})
    begun, kept = parser.get_parsed_content("network").state_dict(), torch.load(weights, weights_only=True)
    assert begun.keys() == kept.keys()
    assert all(torch.equal(begun[name], kept[name]) for name in kept)


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


def test_misspelt_key_gets_the_near_one():
    task = "retinal_vessel"
    with pytest.raises(UsageError, match="Did you mean threshold"):
        bundles.parse(bundles.open_bundle(task), "inference.yaml", overrides={"treshold": 0.4})
    with pytest.raises(UsageError, match="Did you mean overlap"):
        bundles.parse(bundles.open_bundle(task), "inference.yaml", overrides={f"{WINDOWS}::overlapp": 0.4})


def test_a_step_can_be_switched_off():
    lung = bundles.open_bundle("lung_ct")
    files = bundles.inference_files(lung, "residual_unet")
    parser = bundles.parse(lung, *files, overrides={"preprocessing::gate::_disabled_": True})
    names = [type(step).__name__ for step in parser.get_parsed_content("preprocessing").transforms]
    assert names == ["LoadVolumed", "ToGridd"]
    for key in ("labels::_disabled_", "_disabled_", "preprocessing::gaet::_disabled_"):
        with pytest.raises(UsageError):
            bundles.parse(lung, *files, overrides={key: True})


def test_nested_override_is_taken():
    task = "retinal_vessel"
    parser = bundles.parse(
        bundles.open_bundle(task), "inference.yaml", overrides={f"{WINDOWS}::overlap": 0.125}
    )
    assert parser["inferer"]["inferer"]["inferer"]["overlap"] == 0.125


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
