"""Another program gives the data and the bundle's folder, as MONAI Label does: weights end in the bundle."""

import json
import logging
import shutil
from pathlib import Path

import monai.bundle
import nibabel
import numpy as np
import pytest
import torch
from doc_pages import ROOT, blocks
from fundus_pictures import write_png
from monai.bundle import ConfigParser

from medseg.bundle import find, sha256
from medseg.data.manifests import given_items, load_items, require_sound
from medseg.data.samples import PreparedDataset
from medseg.errors import DataError
from medseg.io import nifti
from medseg.phantoms import Chest, breast_ultrasound, chest, fundus
from medseg.pipeline import Segmenter

pytestmark = pytest.mark.seconds

LABELS = {0: "background", 1: "vessel"}
# Of the bundle's copy: small patches alone, so that the shipped network is what trains.
SMALL = {
    "retinal_vessel": {"patches_per_image": 4, "patch_px": 64, "batch_size": 4, "field_diameter_px": 128},
    "breast_ultrasound": {"batch_size": 4, "size_px": 64},
    "lung_ct": {"crop_voxels": [40, 40, 40], "patch_voxels": [32, 32, 32]},
}


@pytest.fixture
def label(tmp_path, empty_store, monkeypatch):
    """What MONAI Label 0.8.5 has: a bundle's copy, labelled cases, and its call of monai.bundle.run."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Label(tmp_path)
    root.handlers[:], root.level = (
        handlers,
        level,
    )  # monai.bundle.run takes those of the bundle's logging.conf


class Label:
    def __init__(self, folder):
        self.folder = folder

    def copy(self, task, **values):
        """Of a bundle, with other numbers in train.yaml."""
        bundle = self.folder / "model" / task
        shutil.copytree(find(task), bundle)
        self.change(bundle, **{**SMALL[task], "num_workers": 0, "autocast": False, **values})
        return bundle

    def change(self, bundle, **values):
        file = str(bundle / "configs/train.yaml")
        content = ConfigParser.load_config_files(file)
        ConfigParser.export_config_file({**content, **values}, file, fmt="yaml", sort_keys=False)

    def cases(self, task, count):
        """Images and labels under names of their own: nothing else is known of them."""
        return [self.case(task, seed) for seed in range(count)]

    def case(self, task, seed):
        ending = "nii.gz" if task == "lung_ct" else "png"
        image, label = (self.folder / f"{kind}{seed}.{ending}" for kind in ("image", "label"))
        if task == "lung_ct":
            phantom = chest(Chest(seed=seed, shape=(64, 64, 48), disease={}))
            nifti.write(phantom.array, phantom.affine, image)
            nifti.write(phantom.labels, phantom.affine, label)
        else:
            pixels, mask = (fundus(240, seed) if task == "retinal_vessel" else breast_ultrasound(seed))[:2]
            write_png(image, pixels)
            write_png(label, mask.astype(np.uint8))
        return {"image": str(image), "label": str(label)}

    def train(self, bundle, training, validation, epochs=1):
        """The keys that it replaces."""
        file = str(bundle / "configs/train.yaml")
        handlers = ConfigParser.load_config_files(file)["train"]["handlers"]
        loader = {
            "_target_": "CheckpointLoader",
            "load_path": str(bundle / "models/model.pt"),
            "load_dict": {"model": "$@network"},
            "strict": False,
        }
        monai.bundle.run(
            run_id="run",
            init_id=None,
            final_id=None,
            meta_file=str(bundle / "configs/metadata.json"),
            config_file=file,
            **{
                "bundle_root": str(bundle),
                "train#trainer#max_epochs": epochs,
                "train#dataset#data": training,
                "validate#dataset#data": validation,
                "train#handlers": [loader, *handlers],
                "device": "cpu",
            },
        )


def masks(bundle, image, **options):
    return Segmenter(str(bundle), "cpu", {"weights_sha256": None}, **options)(image).mask.array


def lineage(bundle):
    return json.loads((bundle / "models/model.lineage.json").read_text())


@pytest.mark.parametrize("task", ["retinal_vessel", "breast_ultrasound"])
def test_a_training_on_given_cases(label, task):
    """Twice: the second begins with what the first ended in."""
    bundle, cases = label.copy(task), label.cases(task, 4)
    files = sorted((bundle / "models").glob("*.pt"))
    shipped, known = sha256(bundle / "models/model.pt"), set(lineage(bundle)["images"])
    before = masks(bundle, cases[0]["image"])
    label.train(bundle, cases[:2], cases[3:])
    first = sha256(bundle / "models/model.pt")
    assert first != shipped
    assert not np.array_equal(masks(bundle, cases[0]["image"]), before)
    assert lineage(bundle)["weights_sha256"] == first
    assert len(set(lineage(bundle)["images"]) - known) == 2
    assert set(lineage(bundle)["images"]) > known, "it began with them"
    label.train(bundle, cases[:3], cases[3:])
    assert sha256(bundle / "models/model.pt") != first
    assert len(set(lineage(bundle)["images"]) - known) == 3
    trainings = sorted((bundle / "trainings").iterdir())
    assert [len((folder / "scores.csv").read_text().splitlines()) > 1 for folder in trainings] == [True] * 2
    assert sorted((bundle / "models").glob("*.pt")) == files
    assert not (label.folder / "out").exists()


def test_epochs_are_those_of_the_trainer(label):
    """The schedule reaches its end with them, and they are what is noted."""
    bundle, cases = label.copy("retinal_vessel"), label.cases("retinal_vessel", 2)
    label.train(bundle, cases[:1], cases[1:], epochs=3)
    (training,) = (bundle / "trainings").iterdir()
    noted = json.loads((training / "parameters.json").read_text())
    assert (noted["epochs"], noted["manifests"]) == ("3", "given")
    saved = torch.load(training / "models/checkpoint.pt", weights_only=True)
    rates = [rate for _, rate in saved["standing"]["history"]["learning_rate"]]
    assert rates == pytest.approx([0.0004, 0.0022, 0.004])
    assert saved["lr_scheduler"]["_last_lr"] == pytest.approx([0])


def test_two_cases_without_validation(label, capsys):
    bundle, cases = label.copy("retinal_vessel", batch_size=16), label.cases("retinal_vessel", 2)
    before = sha256(bundle / "models/model.pt")
    label.train(bundle, cases, [])
    assert sha256(bundle / "models/model.pt") != before
    assert "no validation cases: training cases are scored instead" in capsys.readouterr().out


def test_a_training_that_fails_leaves_the_weights(label, monkeypatch):
    bundle, cases = label.copy("retinal_vessel"), label.cases("retinal_vessel", 2)
    files = [bundle / "models/model.pt", bundle / "models/model.lineage.json"]
    before = [sha256(file) for file in files]

    def fail(*_, **__):
        raise ArithmeticError("broken on purpose")

    for place in ("medseg.training.run.evaluate", "monai.losses.DiceCELoss.forward"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(RuntimeError):
                label.train(bundle, cases[:1], cases[1:])
        assert [sha256(file) for file in files] == before


@pytest.mark.parametrize(
    ("fault", "told"),
    [("size", "item 2 label: size"), ("value", "item 2 label"), ("none", "images with labels")],
)
def test_given_cases_are_checked(label, fault, told):
    bundle, cases = label.copy("retinal_vessel"), label.cases("retinal_vessel", 2)
    wrong = np.zeros((240, 100) if fault == "size" else (240, 240), np.uint8)
    wrong[:3] = 1 if fault == "size" else [[1], [7], [9]]
    write_png(cases[1]["label"], wrong)
    given = ([], []) if fault == "none" else (cases[:1], cases[1:])
    with pytest.raises(RuntimeError) as error:
        label.train(bundle, *given)
    causes, cause = [], error.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    (found,) = {str(cause) for cause in causes if isinstance(cause, DataError)}
    assert told in found
    assert not (bundle / "trainings").exists()


def test_items_of_a_manifest_are_not_given(phantom_data, tmp_path):
    """These are checked with their manifest; others among them by themselves."""
    items = load_items(phantom_data.manifest, "training", ["image", "label"])
    other = {key: str(tmp_path / f"{key}.png") for key in ("image", "label")}
    for key, path in other.items():
        shutil.copy(items[0][key], path)
    assert given_items(phantom_data.manifest, [*items, other]) == [other]
    require_sound(phantom_data.manifest, [*items, other], LABELS)
    Path(other["label"]).unlink()
    with pytest.raises(DataError, match="item 1 label"):
        require_sound(phantom_data.manifest, [*items, other], LABELS)
    phantom_data.content["training"][0]["subject"] = "phantom_3"
    phantom_data.save()
    with pytest.raises(DataError, match="subject phantom_3"):
        require_sound(phantom_data.manifest, items, LABELS)


def test_repetition(phantom_folder):
    items = [{"image": f"{phantom_folder}/{seed}.png"} for seed in range(3)]

    def count(**options):
        return len(PreparedDataset(items, monai.transforms.Compose([]), **options))

    assert (count(), count(repeats=4), count(at_least=3), count(at_least=4)) == (3, 12, 3, 6)
    assert count(repeats=4, at_least=10) == 12
    assert len(PreparedDataset([], monai.transforms.Compose([]), at_least=4)) == 0


@pytest.mark.slow
def test_the_rules_for_lungs_learn_nothing(label):
    """MONAI Label and Deploy load the network's weights into them; a training changes these alone."""
    bundle, cases = label.copy("lung_ct"), label.cases("lung_ct", 3)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/inference.yaml"))
    rules = parser.get_parsed_content("network_def")
    rules.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True), strict=True)
    before = sha256(bundle / "models/model.pt")
    label.train(bundle, cases[:2], cases[2:])
    assert sha256(bundle / "models/model.pt") != before


def half_dense(case):
    """The file of a chest whose lungs hold no air in their upper half."""
    scan, labels = nibabel.load(case["image"]), nibabel.load(case["label"])
    hu, lung = scan.get_fdata(), np.isin(labels.get_fdata(), (1, 2))
    lung[..., : lung.shape[2] // 2] = False
    hu[lung] = 30
    file = Path("half_dense.nii.gz")
    nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), scan.affine), file)
    return file


@pytest.mark.slow
def test_a_copy_whose_default_is_the_network(label):
    """As the page on MONAI makes it: the method's masks, a training, and masks by the new weights."""
    page = blocks(ROOT / "docs" / "how-to" / "monai.md", "python")
    (code,) = [code for _, code in page if "copytree" in code]
    exec(code, {})
    bundle, cases = Path("app/model/lung_ct").resolve(), label.cases("lung_ct", 3)
    image = half_dense(cases[0])  # where the network has the say
    before = Segmenter(str(bundle), "cpu")(image)
    expected = Segmenter("lung_ct", "cpu", method="residual_unet")(image)
    assert before.mask.array.any()
    assert np.array_equal(before.mask.array, expected.mask.array)
    assert before.measurements == expected.measurements
    label.change(bundle, **SMALL["lung_ct"], num_workers=0)
    label.train(bundle, cases[:2], cases[2:])
    after = masks(bundle, image)
    assert not np.array_equal(after, before.mask.array)
