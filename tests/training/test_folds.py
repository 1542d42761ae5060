"""Cross-validation: no subject on both sides, every case scored once, and kept when it is interrupted."""

import csv
import json
import shutil

import pytest
from mlflow import MlflowClient

from medseg.bundle import sha256
from medseg.errors import UsageError
from medseg.evaluation.past_runs import read_rows
from medseg.training.folds import fold_items

pytestmark = pytest.mark.seconds

FOLDS = 3
SETTINGS = {
    "epochs": 1,
    "patches_per_image": 4,
    "patch_px": 64,
    "batch_size": 4,
    "num_workers": 0,
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": "[128, 128]",
    "network_def::channels": "[4, 8]",
    "network_def::strides": "[1]",
    "network_def::num_res_units": 0,
}


@pytest.fixture
def two_eyes(phantom_data):
    """Six items of three subjects, of which one's items stand in two splits' worth of data."""
    content = phantom_data.content
    for split, subjects in (("training", ["anna", "anna", "ben"]), ("validation", ["cleo"])):
        for item, subject in zip(content[split], subjects, strict=True):
            item["subject"] = subject
    phantom_data.save()
    return str(phantom_data.manifest)


def subjects(items):
    return {item["subject"] for item in items}


KEYS = ("image", "label", "subject")


def test_a_subject_is_on_one_side(two_eyes):
    held_out = []
    for number in range(3):
        training, validation = (
            fold_items(two_eyes, split, [number, 3], KEYS) for split in ("training", "validation")
        )
        assert not subjects(training) & subjects(validation)
        assert len(training) + len(validation) == 4
        held_out += [item["image"] for item in validation]
    assert len(held_out) == len(set(held_out)) == 4


def test_the_test_split_is_never_touched(two_eyes, phantom_data):
    test = {item["image"] for item in phantom_data.content["test"]}
    used = {
        item["image"].rsplit("/", 1)[1]
        for number in range(2)
        for split in ("training", "validation")
        for item in fold_items([two_eyes], split, [number, 2])
    }
    assert used == {"0.png", "1.png", "2.png", "3.png"}
    assert not used & test


def test_without_folds_the_splits_are_the_manifests(two_eyes):
    assert subjects(fold_items(two_eyes, "training", None, KEYS)) == {"anna", "ben"}
    assert subjects(fold_items(two_eyes, "validation", None, KEYS)) == {"cleo"}


def test_data_sets_are_spread_over_the_folds(tmp_path, monkeypatch):
    """Ten subjects of one set and five of another: each of five folds holds out two and one."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    files = []
    for name, count in (("large", 10), ("small", 5)):
        items = [{"image": f"{name}{n}.png", "label": "l.png", "subject": f"{n}"} for n in range(count)]
        content = dict.fromkeys(("name", "description", "licence", "publisher", "citation", "urls"), "") | {
            "labels": {"1": "vessel"},
            "training": items[1:],
            "validation": items[:1],
            "test": [],
        }
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(content))
    for number in range(5):
        held_out = [item["image"] for item in fold_items(list(map(str, files)), "validation", [number, 5])]
        assert sum("large" in image for image in held_out) == 2
        assert sum("small" in image for image in held_out) == 1


@pytest.mark.parametrize("fold", [[0, 1], [0, 4], [3, 3], [-1, 3]])
def test_impossible_folds(two_eyes, fold):
    with pytest.raises(UsageError, match="2 to 3 folds"):
        fold_items(two_eyes, "training", fold)


# --- folds of the publisher ---


@pytest.fixture
def published(two_eyes, phantom_data):
    """Anna in fold 4, the others in fold 1: not what dealing out would give."""
    for item in phantom_data.content["training"] + phantom_data.content["validation"]:
        item["fold"] = 4 if item["subject"] == "anna" else 1
    phantom_data.save()
    return two_eyes


def test_folds_of_the_publisher(published):
    for number, held_out in enumerate([{"ben", "cleo"}, {"anna"}]):
        assert subjects(fold_items(published, "validation", [number, 2], KEYS)) == held_out
        assert subjects(fold_items(published, "training", [number, 2], KEYS)) == {
            "anna", "ben", "cleo",
        } - held_out  # fmt: skip
    assert "fold" not in fold_items(published, "training", [0, 2], KEYS)[0]


@pytest.mark.parametrize("fold", [[0, 3], [2, 2], [-1, 2], [0, 1]])
def test_other_folds_than_the_publishers(published, fold):
    with pytest.raises(UsageError, match="one of the 2 folds of the data's publisher"):
        fold_items(published, "training", fold)


def test_half_as_many_folds_are_unions(phantom_data):
    for number, item in enumerate(phantom_data.content["training"] + phantom_data.content["validation"]):
        item["fold"] = number + 1
    phantom_data.save()
    halves = [fold_items(str(phantom_data.manifest), "validation", [number, 2], KEYS) for number in range(2)]
    quarters = [
        fold_items(str(phantom_data.manifest), "validation", [number, 4], KEYS) for number in range(4)
    ]
    assert halves == [quarters[0] + quarters[1], quarters[2] + quarters[3]]
    with pytest.raises(UsageError, match="one of the 4 folds"):
        fold_items(str(phantom_data.manifest), "validation", [0, 3], KEYS)


def test_one_item_without_a_fold_deals_subjects_out(published, phantom_data):
    del phantom_data.content["training"][0]["fold"]
    phantom_data.save()
    held_out = [subjects(fold_items(published, "validation", [number, 3], KEYS)) for number in range(3)]
    assert sorted(map(len, held_out)) == [1, 1, 1]


@pytest.mark.data
def test_folds_of_breast_ultrasound(data_root):
    held_out = [fold_items("bus_bra", "validation", [number, 4], ("image", "subject")) for number in range(4)]
    assert list(map(len, held_out)) == [376, 385, 366, 365]
    assert sum(len(subjects(items)) for items in held_out) == 852


# --- a cross-validation ---


@pytest.fixture(scope="module")
def cross_validate(run_medseg, phantom_folder, empty_store):
    def run(folder, *arguments):
        if not (folder / "mlflow.db").exists():
            shutil.copy(empty_store, folder / "mlflow.db")
        pairs = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("MEDSEG_DATA", str(phantom_folder))
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
            command = ["train", "retinal_vessel", "--manifest", phantom_folder / "phantoms.json"]
            return run_medseg(*command, "--output_dir", "cv", *pairs, *arguments)

    return run


@pytest.fixture(scope="module")
def interrupted(cross_validate, tmp_path_factory):
    """The folder of one that was stopped in its second fold."""
    folder = tmp_path_factory.mktemp("cv")
    with pytest.MonkeyPatch.context() as patch:
        from medseg.training import folds

        run = folds.run_workflow

        def stop(bundle, *files, overrides):
            if overrides["fold"][0] == 1:
                raise KeyboardInterrupt
            run(bundle, *files, overrides=overrides)

        patch.setattr(folds, "run_workflow", stop)
        assert cross_validate(folder, "--folds", FOLDS) == 1
    return folder


def runs(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client.search_runs([client.get_experiment_by_name("retinal_vessel").experiment_id])


def is_child(run):
    return "mlflow.parentRunId" in run.data.tags


@pytest.mark.slow
def test_interrupted_and_resumed(interrupted, cross_validate, capsys):
    (parent,) = (run for run in runs(interrupted) if not is_child(run))
    assert parent.info.status == "KILLED"
    first = (interrupted / "cv" / "fold_0" / "models" / "checkpoint.pt").read_bytes()
    assert cross_validate(interrupted, "--folds", FOLDS) == UsageError.exit_code
    assert "--resume" in capsys.readouterr().err
    assert cross_validate(interrupted, "--folds", FOLDS, "--resume") == 0
    assert (interrupted / "cv" / "fold_0" / "models" / "checkpoint.pt").read_bytes() == first
    found = runs(interrupted)
    (parent,) = (run for run in found if not is_child(run))
    children = [run for run in found if is_child(run)]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert len(children) == FOLDS
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.params["fold"] for run in children} == {"[0, 3]", "[1, 3]", "[2, 3]"}
    with (interrupted / "cv" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["case"] for row in rows) == ["0", "1", "2", "3"]
    summary = json.loads((interrupted / "cv" / "scores.json").read_text())
    dice = [float(row["dice"]) for row in rows]
    assert summary["scores"]["dice"]["mean"] == pytest.approx(sum(dice) / 4)
    assert summary["scores"]["dice"]["subjects"] == 4
    assert parent.data.metrics["final/dice"] == pytest.approx(sum(dice) / 4)


def whole(interrupted, cross_validate):
    """The folder of the cross-validation, finished."""
    if not (interrupted / "cv" / "scores.json").exists():
        assert cross_validate(interrupted, "--folds", FOLDS, "--resume") == 0
    return interrupted / "cv"


OF_THE_NETWORK = [
    part
    for key, value in SETTINGS.items()
    if key.startswith(("network_def", "field_diameter"))
    for part in ("--set", f"{key}={value}")
]


@pytest.mark.slow
def test_the_ensemble_of_the_folds(interrupted, cross_validate, run_medseg, phantom_folder, tmp_path):
    """All weights, or those of one fold, in the place of the bundle's."""
    folder = whole(interrupted, cross_validate)
    arguments = ["segment", "retinal_vessel", phantom_folder / "4.png", "--weights", folder, *OF_THE_NETWORK]
    assert run_medseg(*arguments, "-o", tmp_path / "all") == 0
    digests = [sha256(folder / f"fold_{number}" / "models" / "model.pt") for number in range(FOLDS)]
    assert provenance(tmp_path / "all" / "4")["weights_sha256"] == digests
    assert (tmp_path / "all" / "4" / "segmentation.png").is_file()
    assert run_medseg(*arguments, "--fold", 1, "-o", tmp_path / "one") == 0
    assert provenance(tmp_path / "one" / "4")["weights_sha256"] == digests[1]


def provenance(folder):
    return json.loads((folder / "measurements.json").read_text())["provenance"]


@pytest.mark.slow
def test_each_fold_knows_its_own_subjects_alone(
    interrupted, cross_validate, run_medseg, phantom_folder, tmp_path, monkeypatch, capsys
):
    """Of the training split, a fold has seen the cases that it did not hold out; all together, all."""
    folder = whole(interrupted, cross_validate)
    monkeypatch.setenv("MEDSEG_DATA", str(phantom_folder))
    manifest = phantom_folder / "phantoms.json"

    def trained(name, *arguments):
        options = ["--manifest", manifest, "--split", "training", "--weights", folder, *OF_THE_NETWORK]
        assert (
            run_medseg("evaluate", "retinal_vessel", *options, "--output_dir", tmp_path / name, *arguments)
            == 0
        )
        return {
            row.subject for row in read_rows(tmp_path / name / "scores.csv") if row.groups["trained"] == "yes"
        }

    everybody = {f"phantom_{number}" for number in range(3)}
    assert trained("all") == everybody
    assert "trained on 3 of 3 cases" in capsys.readouterr().out
    for number in range(FOLDS):
        held_out = subjects(fold_items(str(manifest), "validation", [number, FOLDS], KEYS))
        assert held_out
        assert trained(f"fold_{number}", "--fold", number) == everybody - held_out


@pytest.mark.slow
def test_held_out_cases_are_not_marked(interrupted, cross_validate):
    """Neither in a fold's scores nor in the pooled ones: nothing that was scored there had trained."""
    folder = whole(interrupted, cross_validate)
    for scores in (folder, *(folder / f"fold_{number}" for number in range(FOLDS))):
        rows = read_rows(scores / "scores.csv")
        assert rows, scores
        assert not any("trained" in row.groups for row in rows)


def test_an_ensemble_of_nothing(run_medseg, phantom_folder, tmp_path, capsys):
    arguments = ["segment", "retinal_vessel", phantom_folder / "4.png", "-o", tmp_path]
    assert run_medseg(*arguments, "--weights", tmp_path) == 1
    assert "medseg train TASK --folds 5" in capsys.readouterr().err


def test_a_fold_of_the_shipped_weights(run_medseg, phantom_folder, tmp_path, capsys):
    """They are one file, not a cross-validation's folder."""
    arguments = ["segment", "retinal_vessel", phantom_folder / "4.png", "-o", tmp_path]
    assert run_medseg(*arguments, "--fold", 0) == 1
    assert "to choose a fold from" in capsys.readouterr().err
