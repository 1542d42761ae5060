"""A proposed bundle has the form of the shipped ones; it trains, segments and is scored as it is."""

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from organ_data import SIDES, picture, pictures, volume, volumes, write_manifest, write_picture
from PIL import Image

from medseg import bundle as bundles
from medseg.bundle.audit import audit_bundle
from medseg.errors import UsageError
from medseg.planning.bundle import as_yaml, check_name
from medseg.tuning.plan import make_plan

SHIPPED = bundles.shipped_root()
KINDS = ("ct", "mr", "picture", "labels")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, run_medseg):
    """A folder with a bundle of each kind, made by the command line."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MEDSEG_DATA", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'runs.db'}")
        for kind in KINDS:
            (folder / kind).mkdir()
            manifest = data_of(kind, folder / kind)
            arguments = ("new-bundle", f"organ_{kind}", "--manifest", manifest.relative_to(folder))
            assert run_medseg(*arguments) == 0
        yield folder


def data_of(kind, folder):
    """The manifest of a small data set."""
    if kind == "ct":
        items = volumes(folder, 5)
        return under(folder, items[:3], items[3:4], items[4:], labels=SIDES)
    if kind == "mr":
        items = volumes(folder, 4, outside=0.0, spacing_mm=(5.0, 5.0, 16.0), shape=(40, 32, 8))
        return under(folder, items[:3], test=items[3:], labels=SIDES, modality={"0": "MR"})
    if kind == "picture":
        items = pictures(folder, 6)
        return under(folder, items[:4], items[4:5], items[5:])
    items = []
    for number in range(5):  # two labels: a disc, and its middle
        pixels, mask = picture(number, shape=(90, 70), channels=1)
        rows, columns = np.nonzero(mask)
        mask[
            int(rows.mean()) - 4 : int(rows.mean()) + 4, int(columns.mean()) - 4 : int(columns.mean()) + 4
        ] = 3
        mask[(mask == 1) & (np.indices(mask.shape)[0] < rows.mean())] = 2
        items.append(write_picture(folder, f"case{number}", pixels, mask))
    return under(folder, items, labels=("background", "lower", "upper", "middle"))


def under(folder, training, validation=(), test=(), **more):
    """A manifest whose paths start from the folder above."""
    for item in (*training, *validation, *test):
        item |= {key: f"{folder.name}/{item[key]}" for key in ("image", "label")}
    return write_manifest(folder, training, validation, test, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_an_audit_finds_nothing(kind, workplace):
    assert audit_bundle(workplace / "bundles" / f"organ_{kind}").findings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_files_of_a_shipped_one(workplace, kind):
    own = files(workplace / "bundles" / f"organ_{kind}")
    shipped = files(SHIPPED / "retinal_vessel")
    assert {name for name in shipped if name.count("/") < 2 and "models/" not in name} <= own
    assert {"configs/methods/residual_unet.yaml", "configs/methods/unet.yaml"} <= own
    assert not [name for name in own if name.endswith(".py")]


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_its_keys_are_those_of_a_shipped_one(workplace, kind):
    """So that whoever knows one bundle knows all; what is special about a task differs."""
    for name in ("inference.yaml", "train.yaml", "evaluate.yaml", "multi_gpu_train.yaml"):
        own = yaml.safe_load((workplace / "bundles" / f"organ_{kind}" / "configs" / name).read_text())
        shipped = yaml.safe_load((SHIPPED / "retinal_vessel" / "configs" / name).read_text())
        special = {"threshold", "flip_axes", "field_diameter_px", "share_of_start", "patch_px"}
        assert set(shipped) - set(own) <= special
    lines = [line for line in inference(workplace, kind).splitlines() if line.strip().startswith("#")]
    assert len(lines) > 8, "comments: users read it"


def inference(workplace, kind):
    return (workplace / "bundles" / f"organ_{kind}" / "configs" / "inference.yaml").read_text()


@pytest.mark.parametrize("method", ["residual_unet", "unet"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_search_space_fits(workplace, kind, method):
    """Also that the defaults are the values of train.yaml, and that all patches are ones that fit."""
    plan = make_plan(f"organ_{kind}", 3, method=method, given={"epochs": 4})
    names = {"width", "depth", "patch", "loss_name", "learning_rate", "augmentation"}
    assert names | ({"residual_units"} if method == "residual_unet" else set()) == set(plan.space.parameters)
    for patch in plan.space.parameters["patch"].ends():
        values = plan.space.overrides({**plan.space.default, "patch": patch})
        strides = np.prod(values["network_def::strides"], axis=0)
        assert values.keys() & {"size_px", "patch_px", "patch_voxels"}
        for key in values.keys() & {"size_px", "patch_px", "patch_voxels"}:
            assert not (np.array(values[key]) % strides).any()
            assert np.min(values[key]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_template_is_left(workplace, kind):
    for file in (workplace / "bundles" / f"organ_{kind}").rglob("*"):
        if file.is_file() and file.name != "LICENSE":
            text = file.read_text()
            assert not re.search(r"\{[{%#] ", text), file
            assert len(max(text.splitlines(), key=len)) < 400, file


def test_each_kind_has_its_steps(workplace):
    steps = {kind: list(yaml.safe_load(inference(workplace, kind))["preprocessing"]) for kind in KINDS}
    assert steps["ct"] == steps["mr"] == ["_target_", "load", "gate", "grid", "intensity"]
    assert (
        steps["picture"] == steps["labels"] == ["_target_", "load", "gate", "source", "intensity", "square"]
    )
    assert "CheckCTd" in inference(workplace, "ct")
    assert "CheckCTd" not in inference(workplace, "mr")


def test_untrained_methods_are_for_one_label_alone(workplace):
    assert bundles.method_names(bundles.open_bundle("organ_picture")) == [
        "kmeans", "residual_unet", "threshold", "unet",
    ]  # fmt: skip
    assert bundles.method_names(bundles.open_bundle("organ_ct")) == ["residual_unet", "unet"]


def test_without_a_validation_split_it_has_folds(workplace):
    train = yaml.safe_load((workplace / "bundles/organ_mr/configs/train.yaml").read_text())
    assert train["fold"] == [0, 3]
    evaluate = (workplace / "bundles/organ_labels/configs/evaluate.yaml").read_text()
    assert "split: validation" in evaluate
    assert "optimistic" in evaluate


def test_the_card_says_what_was_measured_and_what_is_not_known(workplace):
    card = (workplace / "bundles/organ_ct/docs/README.md").read_text()
    assert "Not yet trained on patients" in card
    assert "10.1038/s41592-020-01008-z" in card
    assert "| left_organ | 4 |" in card
    assert "nnU-Net's low" not in card  # the small images need none
    assert "| mirroring | y, z | not from left to right" in card


def test_it_is_found(workplace, run_medseg, capsys):
    assert run_medseg("info") == 0
    assert "organ_ct 0.1.0: Left organ, right organ in CT volumes" in capsys.readouterr().out
    assert run_medseg("methods", "organ_picture") == 0
    assert "brighter than Otsu's threshold" in capsys.readouterr().out


def test_fingerprint_in_words_and_as_json(workplace, run_medseg, capsys):
    assert run_medseg("fingerprint", "ct/organs.json") == 0
    said = capsys.readouterr().out
    assert "not from left to right" in said
    assert "warning: 4 subjects are few" in said
    assert run_medseg("fingerprint", "ct/organs.json", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fingerprint"]["modality"] == "CT"
    assert found["proposal"]["normalisation"] == "ct"


class TestNames:
    @pytest.mark.parametrize(
        "name", ["Kidney", "kidney-ct", "../kidney", "", "1st", "kidney ct", "kidney/ct"]
    )
    def test_that_are_no_names(self, workplace, name):
        with pytest.raises(UsageError, match="small letters, digits and underscores"):
            check_name(name, "bundles")

    def test_that_are_taken(self, workplace, run_medseg, capsys):
        assert run_medseg("new-bundle", "organ_ct", "--manifest", "ct/organs.json") == 2
        assert "exists" in capsys.readouterr().err
        assert run_medseg("new-bundle", "lung_ct", "--manifest", "ct/organs.json") == 2
        assert "would hide that task" in capsys.readouterr().err

    def test_another_folder(self, workplace, run_medseg, capsys):
        arguments = (
            "new-bundle",
            "organ_2",
            "--manifest",
            "picture/organs.json",
            "--output_dir",
            "elsewhere",
        )
        assert run_medseg(*arguments) == 0
        assert "next is `medseg train elsewhere/organ_2`" in capsys.readouterr().out
        shutil.rmtree("elsewhere")


def test_nothing_is_left_of_a_failure(workplace, run_medseg, capsys, monkeypatch):
    monkeypatch.setattr("medseg.planning.bundle.UNTRAINED", ("no_such_method",))
    assert run_medseg("new-bundle", "organ_3", "--manifest", "picture/organs.json") == 1
    assert "no_such_method" in capsys.readouterr().err
    assert not [path for path in Path("bundles").iterdir() if "organ_3" in path.name]


def test_values_as_yaml():
    for value in (1e-05, 0.1, None, True, "a: b", {1: [1.5, None]}, (1, 2)):
        expected = list(value) if isinstance(value, tuple) else value
        assert yaml.safe_load(as_yaml(value)) == expected
    assert "\n" not in as_yaml({"a": "long " * 50})


SMALL = {
    "ct": ["patches_per_image=2", "patch_voxels=[16,16,16]", "network_def::channels=[4,4,4]"],
    "mr": ["patches_per_image=2", "network_def::channels=[4,4,4]"],
    "picture": ["patches_per_image=2", "size_px=32", "network_def::channels=[4,4,4]"],
    "labels": ["patches_per_image=2", "size_px=32", "network_def::channels=[4,4,4]"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_segments_and_is_scored(workplace, run_medseg, kind, capsys):
    task = f"organ_{kind}"
    strides = "[[1,1],[2,2]]" if kind in ("picture", "labels") else "[[2,2,1],[2,2,2]]"
    own = [word for pair in (*SMALL[kind], f"network_def::strides={strides}") for word in ("--set", pair)]
    assert run_medseg("train", task, "--epochs", 1, "--output_dir", f"{kind}/run", *own) == 0
    weights = workplace / kind / "run" / "models" / "model.pt"
    assert weights.is_file(), "a training with an output_dir leaves the bundle as it is"
    assert not (workplace / "bundles" / task / "models").exists()
    own = [word for word in own if "patch" not in word and word != "--set"]
    own = [word for pair in own for word in ("--set", pair)]
    suffix = "png" if kind in ("picture", "labels") else "nii.gz"
    source = f"{kind}/case3.{suffix}"
    arguments = (task, source, "-o", f"{kind}/out", "--weights", weights)
    assert run_medseg("segment", *arguments, *own) == 0
    out = workplace / kind / "out" / "case3"
    record = json.loads((out / "measurements.json").read_text())
    assert record["task"] == task
    assert (out / "report.html").is_file()
    if suffix == "png":
        assert Image.open(out / "segmentation.png").size == Image.open(source).size
    else:
        mask, image = nib.load(out / "segmentation.nii.gz"), nib.load(source)
        assert mask.shape == image.shape
        np.testing.assert_array_equal(mask.affine, image.affine)
    scored = ("evaluate", task, "--weights", weights, "--output_dir", f"{kind}/scores", *own)
    assert run_medseg(*scored) == 0
    summary = json.loads((workplace / kind / "scores" / "scores.json").read_text())
    assert summary["scores"]["dice"]["cases"] >= 1
    assert run_medseg("inspect", source, "--task", task) == 0


@pytest.mark.seconds
@pytest.mark.parametrize("method", ["threshold", "kmeans"])
def test_untrained_methods_find_the_disc(workplace, run_medseg, method):
    assert (
        run_medseg("evaluate", "organ_picture", "--method", method, "--output_dir", f"scores_{method}") == 0
    )
    summary = json.loads((workplace / f"scores_{method}" / "scores.json").read_text())
    assert summary["scores"]["dice"]["mean"] > 0.95


@pytest.mark.seconds
def test_an_image_unlike_the_data_set_is_warned_of(workplace, run_medseg, capsys):
    array, _, affine = volume(9, shape=(40, 32, 6), spacing_mm=(5.0, 5.0, 40.0))
    nib.Nifti1Image(array, affine).to_filename(workplace / "odd.nii.gz")
    assert run_medseg("inspect", "odd.nii.gz", "--task", "organ_ct") == 6
    assert "the size of a voxel along z is 40 mm, far outside" in capsys.readouterr().out
    nib.Nifti1Image(array + 1000, affine).to_filename(workplace / "none.nii.gz")
    assert run_medseg("inspect", "none.nii.gz", "--task", "organ_ct") == 3
