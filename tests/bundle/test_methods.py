"""Methods: what each declares, the steps behind it, and what follows from it: training, weights, DICOM."""

import json
import re
import shutil

import numpy as np
import pydicom
import pytest
import yaml

import medseg as package
from medseg.bundle import (
    describe_steps,
    find,
    inference_files,
    method_names,
    open_bundle,
    parse,
    read_method,
    tasks,
    training_files,
)
from medseg.bundle.methods import KINDS
from medseg.errors import BundleError, UsageError
from medseg.io.dicom.seg import FAMILIES
from medseg.phantoms.dicom_series import write_series

pytestmark = pytest.mark.seconds

LUNG = "lung_ct"
METHODS = [(task, name) for task in tasks() for name in method_names(open_bundle(task))]
EACH_METHOD = pytest.mark.parametrize(("task", "name"), METHODS)


@pytest.fixture
def copy(tmp_path):
    """A copy of the lung bundle without its weights, to be damaged."""
    folder = tmp_path / LUNG
    shutil.copytree(find(LUNG) / "configs", folder / "configs")
    return folder


def declare(folder, name="classical", **changes):
    """Change a method's declaration; None takes an entry out."""
    path = folder / "configs" / "methods" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    said = content["declaration"] | changes
    content["declaration"] = {key: value for key, value in said.items() if value != "nothing"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return open_bundle(str(folder))


# --- declarations ---


@EACH_METHOD
def test_each_method_declares_itself(task, name):
    method = read_method(open_bundle(task), name)
    assert method.name == name
    assert method.kind in KINDS
    image = open_bundle(task).metadata["network_data_format"]["inputs"]["image"]
    assert method.dimensions == len(image["spatial_shape"])
    assert len(method.summary) > 20
    assert method.algorithm_family in FAMILIES
    assert (method.weights is not None) == (method.kind == "learned")
    parser = parse(open_bundle(task), *inference_files(open_bundle(task), name))
    assert parser["method"] == name  # it is what the record will say
    assert parser["declaration"]["summary"] == method.summary


@pytest.mark.parametrize("task", tasks())
def test_one_method_is_the_default(task):
    bundle = open_bundle(task)
    methods = [read_method(bundle, name) for name in method_names(bundle)]
    assert [method for method in methods if method.is_default] == [read_method(bundle)]
    assert parse(bundle, "inference.yaml")["method"] == read_method(bundle).name


def test_a_rule_and_a_network():
    rule, network = (read_method(open_bundle(LUNG), name) for name in ("classical", "residual_unet"))
    assert (rule.kind, rule.weights, rule.is_trained) == ("rule", None, False)
    assert (network.kind, network.is_trained, network.dimensions) == ("learned", True, 3)
    assert inference_files(open_bundle(LUNG), "classical") == ["inference.yaml", "methods/classical.yaml"]
    assert inference_files(open_bundle(LUNG)) == ["inference.yaml"]


@pytest.mark.parametrize("key", ["summary", "kind", "dimensions", "weights", "algorithm_family"])
def test_a_declaration_that_is_not_whole(copy, key):
    with pytest.raises(BundleError, match=f"got one without {key}"):
        read_method(declare(copy, **{key: "nothing"}), "classical")


@pytest.mark.parametrize(("key", "value"), [("kind", "magic"), ("algorithm_family", "magic")])
def test_a_declaration_of_what_there_is_not(copy, key, value):
    with pytest.raises(BundleError, match=f"{key} .*magic"):
        read_method(declare(copy, **{key: value}), "classical")


def test_a_method_without_a_declaration(copy, run_medseg, lung_data, monkeypatch, tmp_path, capsys):
    path = copy / "configs" / "methods" / "classical.yaml"
    content = yaml.safe_load(path.read_text())
    del content["declaration"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError, match=r"Complete configs/methods/classical\.yaml"):
        read_method(open_bundle(str(copy)), "classical")
    monkeypatch.chdir(copy)  # a bundle in the working directory comes first
    image = tmp_path / "scan.nii.gz"
    image.write_bytes(b"-")
    evaluation = ["evaluate", LUNG, "--manifest", lung_data, "--output_dir", tmp_path / "out"]
    for command in (["segment", LUNG, image, "-o", tmp_path / "out"], ["info", LUNG], evaluation):
        assert run_medseg(*command, "--method", "classical") == BundleError.exit_code
        said = capsys.readouterr().err
        assert "a declaration with summary, kind" in said
        assert "Traceback" not in said


def test_a_method_whose_file_is_no_yaml(copy):
    (copy / "configs" / "methods" / "classical.yaml").write_text("a: [")
    with pytest.raises(BundleError, match=r"methods/classical\.yaml"):
        read_method(open_bundle(str(copy)), "classical")


def test_weights_that_are_missing_are_not_trained(copy):
    assert not read_method(open_bundle(str(copy)), "residual_unet").is_trained


def test_the_default_is_what_inference_says(copy):
    path = copy / "configs" / "inference.yaml"
    path.write_text(re.sub(r"^method: \w+$", "method: classical", path.read_text(), flags=re.MULTILINE))
    bundle = open_bundle(str(copy))
    assert read_method(bundle).name == "classical"
    assert read_method(bundle).is_default
    assert not read_method(bundle, "residual_unet").is_default


# --- the commands ---


def test_methods_lists_all(run_medseg, capsys):
    assert run_medseg("methods") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [tuple(line.split()[:2]) for line in lines] == METHODS
    for line, (task, name) in zip(lines, METHODS, strict=True):
        method = read_method(open_bundle(task), name)
        assert f"{method.kind}, {method.dimensions}D" in line
        assert line.endswith(f": {method.summary}")
        assert ("the default" in line) is method.is_default
        assert ("no weights" in line) is (method.weights is None)


def test_methods_of_one_task(run_medseg, capsys):
    assert run_medseg("methods", LUNG) == 0
    names = method_names(open_bundle(LUNG))
    assert {"classical", "residual_unet"} <= set(names)
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [[LUNG, n] for n in names]
    assert run_medseg("methods", "lung") == UsageError.exit_code
    assert "Did you mean lung_ct?" in capsys.readouterr().err


def test_methods_tells_what_is_not_trained(copy, run_medseg, monkeypatch, capsys):
    monkeypatch.chdir(copy)
    assert run_medseg("methods", LUNG) == 0
    assert ", not trained" in capsys.readouterr().out


@EACH_METHOD
def test_info_names_what_is_behind_each_step(task, name, run_medseg, capsys):
    """In the order of the configuration; each function exists, and says what it is."""
    assert run_medseg("info", task, "--method", name) == 0
    head, files, _, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{task}, method {name}: {read_method(open_bundle(task), name).summary}"
    assert files.endswith(f"methods/{name}.yaml")
    config = parse(open_bundle(task), *inference_files(open_bundle(task), name)).config
    expected = []
    for part in ("preprocessing", "postprocessing"):
        expected += [
            f"{part}::{step}"
            for step, entry in config[part].items()
            if step != "_target_" and not entry.get("_disabled_")
        ]
        expected += ["network_def", "inferer"] if part == "preprocessing" else ["result", "result::measure"]
    assert [line.split()[0] for line in lines] == expected
    targets = dict(line.split()[:2] for line in lines)
    assert targets["preprocessing::load"] == "medseg.transforms.LoadVolumed"
    for step, target in targets.items():
        if step != "result::measure":
            module, _, function = target.rpartition(".")
            assert callable(getattr(__import__(module, fromlist=[function]), function)), step
    assert re.search(r"preprocessing::load +medseg\.transforms\.LoadVolumed +Read images", "\n".join(lines))


def test_info_leaves_out_what_a_method_switches_off():
    bundle = open_bundle(LUNG)
    rule, network = (describe_steps(bundle, name) for name in ("classical", "residual_unet"))
    assert "postprocessing::join" in network
    assert "postprocessing::clean" in network
    assert "postprocessing::join" not in rule
    assert "postprocessing::clean" not in rule
    assert "medseg.methods.chest.ClassicalLungs" in rule


def test_info_lists_an_added_step_where_it_runs(copy):
    overlay = copy / "configs" / "methods" / "classical.yaml"
    step = {"_target_": "MedianSmoothd", "keys": "image"}
    added = {"+preprocessing": {"denoise": step, "after": {"denoise": "gate"}}}
    overlay.write_text(overlay.read_text() + yaml.safe_dump(added))
    rows = describe_steps(open_bundle(str(copy)), "classical").splitlines()
    names = [row.split()[0] for row in rows if row.startswith("preprocessing")]
    assert names == [f"preprocessing::{step}" for step in ("load", "gate", "denoise", "grid")]


def test_info_of_the_default(run_medseg, capsys):
    assert run_medseg("info", LUNG) == 0
    assert f"{LUNG}, method {read_method(open_bundle(LUNG)).name}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["segment", LUNG, "SCAN", "-o", "OUT"],
        ["evaluate", LUNG, "--manifest", "DATA", "--output_dir", "OUT"],
        ["train", LUNG, "--output_dir", "OUT"],
        ["train", LUNG, "--output_dir", "OUT", "--folds", "2"],
        ["info", LUNG],
    ],
    ids=" ".join,
)
def test_an_unknown_method(run_medseg, lung_data, lung_folder, tmp_path, capsys, command):
    places = {"SCAN": lung_folder / "3.nii.gz", "DATA": lung_data, "OUT": tmp_path / "out"}
    command = [places.get(word, word) for word in command]
    assert run_medseg(*command, "--method", "clasical") == 2
    assert "Did you mean classical?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_training_a_rule_is_refused(run_medseg, lung_data, tmp_path, capsys):
    options = ["--manifest", lung_data, "--method", "classical", "--output_dir", tmp_path / "out"]
    for more in ([], ["--folds", 2]):
        assert run_medseg("train", LUNG, *options, *more) == 2
        said = capsys.readouterr().err
        assert "classical, whose kind is rule" in said
        assert "Train residual_unet instead." in said
    assert not (tmp_path / "out").exists()


def test_what_trains(copy):
    bundle = open_bundle(str(copy))
    assert training_files(bundle) == training_files(bundle, "residual_unet") == ["train.yaml"]
    # A method of one's own brings what its training has otherwise.
    for ending in (".yaml", ".train.yaml"):
        shutil.copy(bundle.config("methods/residual_unet.yaml"), bundle.config(f"methods/other{ending}"))
    assert training_files(bundle, "other") == ["train.yaml", "methods/other.train.yaml"]
    assert "other" in method_names(bundle)
    assert "other.train" not in method_names(bundle)
    bundle.config("methods/other.train.yaml").unlink()
    with pytest.raises(UsageError, match=r"Train residual_unet instead"):
        training_files(bundle, "other")


def test_a_rule_takes_no_weights(run_medseg, lung_folder, tmp_path, capsys):
    weights = find(LUNG) / "models" / "model.pt"
    command = ["segment", LUNG, lung_folder / "3.nii.gz", "-o", tmp_path / "out", "--method", "classical"]
    for options in (["--weights", weights], ["--fold", 0]):
        assert run_medseg(*command, *options) == 2
        assert "classical, which uses none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- what a result says of its method ---


@pytest.fixture(scope="module")
def study(chest_phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods") / "study"
    write_series(chest_phantom, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("classical", ("123104", "DCM", "Morphological Operations")),
        ("residual_unet", ("123110", "DCM", "Artificial Intelligence")),
    ],
)
def test_the_dicom_seg_names_its_algorithm(study, name, family, tmp_path):
    """Family and name by the declaration, in the record too."""
    result = package.Segmenter(LUNG, "cpu", method=name)(study)
    folder = result.save(tmp_path, ["dicom-seg"])
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    assert len(seg.SegmentSequence) == 3
    for segment in seg.SegmentSequence:
        (said,) = segment.SegmentationAlgorithmIdentificationSequence
        (code,) = said.AlgorithmFamilyCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == family
        assert said.AlgorithmName == segment.SegmentAlgorithmName == f"medseg {LUNG} {name}"
    assert seg.ManufacturerModelName == f"medseg {LUNG} {name}"
    record = json.loads((folder / "measurements.json").read_text())["provenance"]
    assert record["method"] == name
    assert record["algorithm_family"] == read_method(open_bundle(LUNG), name).algorithm_family


def test_a_family_of_ones_own(copy, lung_folder, chest_phantom, study, tmp_path):
    """What is declared is what is written, whatever the bundle."""
    bundle = declare(copy, algorithm_family="edge_detection")
    result = package.Segmenter(str(bundle.root), "cpu", method="classical")(study)
    seg = pydicom.dcmread(result.save(tmp_path / "out", ["dicom-seg"]) / "segmentation.dcm")
    (said,) = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert said.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Edge Detection"
    assert np.isin(result.mask.array, [0, 1, 2, 3]).all()
