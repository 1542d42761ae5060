"""A sound bundle passes each check, and a broken one fails the check of what is broken."""

import json
import re
import shutil
from pathlib import Path

import pytest
from organ_data import pictures, volumes, write_manifest

from medseg import testing
from medseg.bundle import open_bundle
from medseg.errors import MedsegError

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def proposed(tmp_path_factory, run_medseg):
    """Bundles as medseg proposes them, of pictures and of volumes, small networks; read only."""
    folder = tmp_path_factory.mktemp("proposed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSEG_DATA", str(folder))
        for name, items in (("organ_2d", pictures(folder, 4)), ("organ_3d", volumes(folder, 4))):
            labels = ("background", "organ", "other")[: 2 if name == "organ_2d" else 3]
            manifest = write_manifest(folder, items[:3], items[3:], labels=labels)
            assert run_medseg("new-bundle", name, "--manifest", manifest, "--output_dir", folder) == 0
    return folder


@pytest.fixture
def broken(proposed, tmp_path):
    """A copy of the bundle of pictures that a test may break."""
    shutil.copytree(proposed / "organ_2d", tmp_path / "organ_2d")
    return open_bundle(str(tmp_path / "organ_2d"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["organ_2d", "organ_3d"])
def test_a_proposed_bundle_passes(proposed, name, tmp_path, monkeypatch):
    """Each test of the class, as pytest calls them."""
    monkeypatch.setenv("MEDSEG_DATA", str(proposed))
    checks = type("Checks", (testing.BundleTests,), {"bundle": str(proposed / name)})()
    run = [test for test in dir(checks) if test.startswith("test_")]
    assert len(run) >= 9
    for test in run:
        if test == "test_metadata":
            continue  # MONAI's schema may not be here
        folder = tmp_path / test
        folder.mkdir()
        method = getattr(checks, test)
        method(folder) if "tmp_path" in method.__code__.co_varnames[
            : method.__code__.co_argcount
        ] else method()


def change(bundle, name, old, new):
    file = bundle.config(name)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def fails(check, bundle, match, *arguments):
    with pytest.raises(MedsegError, match=match):
        check(open_bundle(str(bundle.root)), *arguments)


def test_a_file_is_missing(broken):
    (broken.root / "LICENSE").unlink()
    fails(testing.check_files, broken, "none of LICENSE")


def test_code_in_it(broken):
    (broken.root / "scripts.py").write_text("")
    fails(testing.check_files, broken, r"a bundle of configuration alone; got scripts\.py")


class TestMetadata:
    @pytest.fixture(autouse=True)
    def schema(self, data_root):
        """MONAI's, where the real data are."""

    def test_sound(self, broken):
        testing.check_metadata(broken)

    def test_without_jsonschema_it_is_skipped(self, broken, monkeypatch):
        from unittest import SkipTest

        def missing(**arguments):
            raise ImportError("jsonschema")

        monkeypatch.setattr("monai.bundle.verify_metadata", missing)
        with pytest.raises(SkipTest, match="export"):
            testing.check_metadata(broken)

    def test_that_the_schema_refuses(self, broken):
        change(broken, "metadata.json", '"version": "0.1.0"', '"version": 1')
        fails(testing.check_metadata, broken, "not of type 'string'")

    def test_a_version_without_a_change(self, broken):
        change(broken, "metadata.json", '"version": "0.1.0"', '"version": "0.2.0"')
        fails(testing.check_metadata, broken, "a version that the changelog explains; got 0.2.0")

    def test_channels_that_are_no_labels(self, broken):
        change(broken, "metadata.json", '"1": "organ"', '"1": "liver"')
        fails(testing.check_metadata, broken, "a channel_def of `pred`")


class TestConfigurations:
    def test_sound(self, broken):
        testing.check_configurations(broken)

    def test_no_yaml(self, broken):
        broken.config("evaluate.yaml").write_text("a: [")
        fails(testing.check_configurations, broken, r"a configuration in YAML; got evaluate\.yaml")

    def test_a_place_in_a_list(self, broken):
        change(broken, "evaluate.yaml", "inference: {}", "train#handlers#1: null\ninference: {}")
        fails(testing.check_configurations, broken, "places in a list in evaluate.yaml: : train#handlers#1")

    @pytest.mark.parametrize("value", [
        {"preprocessing::transforms::1::_disabled_": True},
        {"train#random_transforms#3": None},
        {"a": {"b": ["@train::handlers::0"]}},
        {"a": "$@validate#handlers#1.x + 1"},
        {"a": "%train.yaml::handlers::-1"},
    ])  # fmt: skip
    def test_a_position_is_seen(self, value):
        assert list(testing.positions(value))

    def test_misspelt_options_are_not_refused(self, broken):
        change(
            broken, "inference.yaml", "  - $check_arguments(@bundle_root, ['inference.yaml'])", "  - $print()"
        )
        fails(testing.check_configurations, broken, r"inference\.yaml without it")


class TestMethods:
    def test_sound(self, broken):
        testing.check_methods(broken)

    def test_an_incomplete_declaration(self, broken):
        change(broken, "methods/unet.yaml", "  kind: learned\n", "")
        fails(testing.check_methods, broken, "one without kind")

    def test_no_method(self, broken):
        shutil.rmtree(broken.config("methods"))
        fails(testing.check_methods, broken, "a method in configs/methods")

    def test_another_name(self, broken):
        change(broken, "methods/unet.yaml", "method: unet", "method: residual_unet")
        fails(testing.check_methods, broken, "`method: unet`")

    def test_a_part_that_can_not_be_built(self, broken):
        change(broken, "methods/kmeans.yaml", "KMeans, classes: 3", "KMeans, clases: 3")
        fails(testing.check_methods, broken, "whose parts can be built")

    def test_weights_that_are_not_declared(self, broken):
        change(broken, "methods/kmeans.yaml", "\nweights: null", "\nweights: models/model.pt")
        fails(testing.check_methods, broken, "`weights: null` for the method kmeans")


class TestWeights:
    def test_none(self, broken):
        testing.check_weights(broken)

    def test_not_pinned(self, broken):
        (broken.root / "models").mkdir()
        (broken.root / "models/model.pt").write_bytes(b"weights")
        fails(testing.check_weights, broken, "pinned as None. Write this digest")

    def test_pinned(self, broken):
        from medseg.bundle import sha256

        self.test_not_pinned(broken)
        digest = sha256(broken.root / "models/model.pt")
        change(broken, "inference.yaml", "weights_sha256: null", f"weights_sha256: {digest}")
        testing.check_weights(broken)


class TestAgreement:
    def test_sound(self, broken):
        testing.check_agreement(broken)

    def test_another_network(self, broken):
        change(broken, "train.yaml", "num_res_units: 2", "num_res_units: 1")
        fails(testing.check_agreement, broken, "one network_def for residual_unet")

    def test_another_network_of_another_method(self, broken):
        change(broken, "methods/unet.train.yaml", "num_res_units: 0", "num_res_units: 1")
        fails(testing.check_agreement, broken, "one network_def for unet")

    def test_other_preprocessing(self, broken):
        change(broken, "inference.yaml", "nonzero: false", "nonzero: true")
        fails(testing.check_agreement, broken, "preprocessing::intensity alike .* nonzero: ")


class TestNetwork:
    def test_sound(self, broken):
        testing.check_network(broken)

    def test_another_number_of_channels(self, broken):
        metadata = json.loads(broken.config("metadata.json").read_text())
        metadata["network_data_format"]["inputs"]["image"]["num_channels"] = 1
        broken.config("metadata.json").write_text(json.dumps(metadata))
        fails(testing.check_network, broken, "a network with the inputs and outputs of metadata.json")


class TestWorkflows:
    def test_without_a_property(self, broken, tmp_path):
        change(broken, "inference.yaml", "dataset_dir:", "folder:")
        source = testing.synthetic_image(broken, tmp_path)
        overrides = {"input": str(source), **testing.weights_to_run(broken, tmp_path)}
        fails(testing.check_workflow, broken, "Property 'dataset_dir'", "infer", overrides)

    def test_training_without_data_is_skipped(self, broken, monkeypatch):
        from unittest import SkipTest

        monkeypatch.delenv("MEDSEG_DATA", raising=False)
        with pytest.raises(SkipTest, match="MEDSEG_DATA"):
            testing.check_workflow(broken, "train", {})


class TestResult:
    def test_measurements_without_units(self, broken, tmp_path):
        measured = "$lambda case: {'organ_area_px': {'value': 1}}"
        change(broken, "inference.yaml", "measure: $measure_areas", f'measure: "{measured}"')
        text = broken.config("inference.yaml").read_text()
        broken.config("inference.yaml").write_text(re.sub(r"plausible: .*", "plausible: {}", text))
        source = testing.synthetic_image(broken, tmp_path)
        fails(
            testing.check_result,
            broken,
            "measurements with units; got organ_area_px",
            source,
            tmp_path / "out",
        )

    def test_a_mask_on_another_grid(self, broken, tmp_path):
        change(
            broken, "inference.yaml", "    _target_: medseg.transforms.FromSquared", "    _target_: Identityd"
        )
        source = testing.synthetic_image(broken, tmp_path)
        fails(testing.check_result, broken, "a mask of the image's size|grid", source, tmp_path / "out")


def test_the_class_is_what_the_page_shows():
    """The docstring's example parses, and pytest collects no class that it did not name."""
    assert re.search(r"class TestMyBundle\(BundleTests\)", testing.__doc__)
    assert not testing.BundleTests.__name__.startswith("Test")
    assert Path(testing.__file__).name == "testing.py"
