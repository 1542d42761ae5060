"""What is scored is what runs: scores are those of the file that `segment` writes, by numpy alone."""

import json

import nibabel
import numpy as np
import pytest
from fundus_pictures import write_png
from PIL import Image

from medseg.evaluation.past_runs import read_rows
from medseg.phantoms import breast_ultrasound

EXACT = {"abs": 1e-6, "rel": 0}


def dice(found, truth):
    both = np.count_nonzero(found & truth)
    all_of_them = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * both / all_of_them if all_of_them else 1.0


def picture(path):
    return np.asarray(Image.open(path)) > 0


def volume(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.fixture
def both(run_medseg, tmp_path):
    """Evaluate a split, and segment its images: rows of scores by case, and the folder of the results."""

    def run(task, manifest, images, *options):
        out, scores = tmp_path / "out", tmp_path / "scores"
        assert run_medseg("segment", task, *images, "-o", out, "--device", "cpu", *options) == 0
        evaluation = ["evaluate", task, "--manifest", manifest, "--split", "test", "--output_dir", scores]
        assert run_medseg(*evaluation, *options) == 0
        return {row.case: row.by_label for row in read_rows(scores / "scores.csv")}, out

    return run


def manifest_of(folder, labels, items):
    empty = dict.fromkeys(("description", "licence", "publisher", "citation"), "none")
    splits = {"training": [], "validation": [], "test": items}
    content = {"name": "own", "urls": [], "labels": labels, **empty, **splits}
    (folder / "own.json").write_text(json.dumps(content))
    return folder / "own.json"


@pytest.mark.seconds
@pytest.mark.parametrize("options", [(), ("--set", "threshold=0.3", "--method", "residual_unet")])
def test_vessels(both, phantom_data, options):
    """Inside the field that the manifest gives, else everywhere."""
    folder = phantom_data.folder
    found, out = both("retinal_vessel", phantom_data.manifest, [folder / "4.png", folder / "5.png"], *options)
    for case, given in (("4", np.ones((240, 240), bool)), ("5", picture(folder / "5_given_field.png"))):
        mask, truth = picture(out / case / "segmentation.png"), picture(folder / f"{case}_label.png")
        second = picture(folder / f"{case}_label_2nd.png")
        tp, fp, fn, tn = (
            int(np.count_nonzero(part & given))
            for part in (mask & truth, mask & ~truth, ~mask & truth, ~mask & ~truth)
        )
        root = np.sqrt(float(tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        expected = {
            "dice": 2 * tp / (2 * tp + fp + fn),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
            "mcc": (tp * tn - fp * fn) / root,
            "second_observer_dice": dice(second & given, truth & given),
        }
        assert 0.1 < expected["dice"] < 1
        assert list(found[case]) == [""]
        assert {name: found[case][""][name] for name in expected} == pytest.approx(expected, **EXACT)
    assert not picture(folder / "5_given_field.png").all()


@pytest.mark.seconds
def test_a_threshold_makes_other_masks(run_medseg, phantom_data, tmp_path):
    """That evaluate takes it too is what the test before this one sees."""
    masks = []
    for threshold in (0.3, 0.59):
        command = [
            "segment",
            "retinal_vessel",
            phantom_data.folder / "4.png",
            "-o",
            tmp_path / str(threshold),
        ]
        assert run_medseg(*command, "--set", f"threshold={threshold}") == 0
        masks.append(picture(tmp_path / str(threshold) / "4" / "segmentation.png"))
    assert masks[0].sum() > masks[1].sum()


@pytest.mark.seconds
def test_lesions(both, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    items = []
    for seed, pathology in ((0, "benign"), (3, "malignant")):
        pixels, truth, _ = breast_ultrasound(seed)
        write_png(tmp_path / f"{seed}.png", pixels)
        write_png(tmp_path / f"{seed}_label.png", (truth == 1).astype(np.uint8))
        about = {"subject": f"s{seed}", "pathology": pathology}
        items.append({"image": f"{seed}.png", "label": f"{seed}_label.png", **about})
    manifest = manifest_of(tmp_path, {"0": "background", "1": "lesion"}, items)
    images = [tmp_path / item["image"] for item in items]
    found, out = both("breast_ultrasound", manifest, images, "--method", "residual_unet")
    for case, malignant in (("0", 0.0), ("3", 1.0)):
        mask, truth = picture(out / case / "segmentation.png"), picture(tmp_path / f"{case}_label.png")
        measured = json.loads((out / case / "measurements.json").read_text())["measurements"]
        probability = measured["malignancy_probability"]["value"]
        expected = {
            "dice": dice(mask, truth),
            "iou": np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth),
            "malignancy_probability": probability,
            "is_malignant": malignant,
            "brier": (probability - malignant) ** 2,
        }
        assert 0.5 < expected["dice"] < 1
        assert list(found[case]) == [""]
        assert {name: found[case][""][name] for name in expected} == pytest.approx(expected, **EXACT)


VALUES = {"left_lung": [1], "right_lung": [2], "airway": [3], "lungs": [1, 2]}
METHODS = pytest.mark.parametrize("method", ["classical", "residual_unet"])


@pytest.mark.seconds
@METHODS
def test_lungs(both, lung_data, lung_folder, method):
    found, out = both("lung_ct", lung_data, [lung_folder / "3.nii.gz"], "--method", method)
    mask, truth = volume(out / "3" / "segmentation.nii.gz"), volume(lung_folder / "3_label.nii.gz")
    expected = {name: dice(np.isin(mask, values), np.isin(truth, values)) for name, values in VALUES.items()}
    expected["mean"] = np.mean([expected[name] for name in ("left_lung", "right_lung", "airway")])
    assert 0.5 < expected["lungs"] < 1
    assert {name: scores["dice"] for name, scores in found["3"].items()} == pytest.approx(expected, **EXACT)


def labelled(folder, source, values, labels):
    """The phantom's label with other values, and a manifest that names them."""
    image = nibabel.load(source)
    changed = np.zeros(image.shape, np.uint16)
    for old, new in values.items():
        changed[np.asarray(image.dataobj) == old] = new
    nibabel.save(nibabel.Nifti1Image(changed, image.affine), folder / "label.nii.gz")
    (folder / "3.nii.gz").write_bytes((source.parent / "3.nii.gz").read_bytes())
    item = {"image": "3.nii.gz", "label": "label.nii.gz", "subject": "person 3"}
    return manifest_of(folder, labels, [item])


@pytest.mark.seconds
def test_a_reference_of_one_lung(both, lung_folder, tmp_path, monkeypatch):
    """As elastix has it: value 1 is the right lung, and nothing is said of the rest."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    labels = {"0": "background", "1": "right_lung"}
    manifest = labelled(tmp_path, lung_folder / "3_label.nii.gz", {2: 1}, labels)
    found, out = both("lung_ct", manifest, [tmp_path / "3.nii.gz"], "--method", "classical")
    mask, truth = volume(out / "3" / "segmentation.nii.gz"), volume(tmp_path / "label.nii.gz")
    expected = dice(mask == 2, truth == 1)
    assert 0.5 < expected < 1
    assert list(found["3"]) == ["mean", "right_lung"]
    assert [found["3"][name]["dice"] for name in found["3"]] == pytest.approx([expected] * 2, **EXACT)


@pytest.mark.seconds
def test_a_reference_whose_values_share_a_name(both, lung_folder, tmp_path, monkeypatch):
    """As the Chest Imaging Platform has it: several regions are one lung, and some are background."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    labels = {"0": "background", "9": "left_lung", "521": "left_lung", "768": "background"}
    labels |= {"12": "right_lung", "512": "airway"}
    manifest = labelled(tmp_path, lung_folder / "3_label.nii.gz", {1: 9, 2: 12, 3: 512}, labels)
    image = nibabel.load(tmp_path / "label.nii.gz")
    parts = np.array(image.dataobj)
    parts[:, :, ::2][parts[:, :, ::2] == 9] = 521
    parts[0] = np.where(parts[0] == 0, 768, parts[0])
    nibabel.save(nibabel.Nifti1Image(parts, image.affine), tmp_path / "label.nii.gz")
    found, out = both("lung_ct", manifest, [tmp_path / "3.nii.gz"], "--method", "classical")
    mask = volume(out / "3" / "segmentation.nii.gz")
    names = {"left_lung": ([1], [9, 521]), "right_lung": ([2], [12]), "airway": ([3], [512])}
    names["lungs"] = ([1, 2], [9, 521, 12])
    expected = {
        name: dice(np.isin(mask, ours), np.isin(parts, theirs)) for name, (ours, theirs) in names.items()
    }
    assert {name: found["3"][name]["dice"] for name in names} == pytest.approx(expected, **EXACT)
    assert 0.5 < expected["left_lung"] < 1


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "labels", "least"),
    [("elastix", ["right_lung"], 0.97), ("cip_64", ["left_lung", "right_lung", "airway", "lungs"], 0.85)],
)
def test_real_references(run_medseg, data_root, tmp_path, name, labels, least):
    """Scans that trained nothing, with references by other people."""
    options = ["--manifest", name, "--method", "classical", "--output_dir", tmp_path]
    assert run_medseg("evaluate", "lung_ct", *options) == 0
    (row,) = read_rows(tmp_path / "scores.csv")
    assert list(row.by_label) == ["mean", *labels]
    assert row.by_label["mean"]["dice"] > least
