"""Scores of a split: right numbers, in the right field, in files that any program can read."""

import csv
import json
from types import SimpleNamespace

import mlflow
import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medseg.bundle import open_bundle, parse
from medseg.errors import DataError, WeightsError
from medseg.fundus import find_field
from medseg.io import read_mask, read_volume
from medseg.metrics import bootstrap_interval, confusion
from medseg.surface import score_labels
from medseg.training.comparison import compare_runs
from medseg.training.evaluation import (
    SCORES_CSV,
    SCORES_JSON,
    CasePictures,
    CaseScores,
    draw_volume,
    score_photograph,
    score_volume,
    table,
)
from medseg.training.manifests import load_items
from medseg.training.results import save_mlflow_model

SHAPE = (40, 50)
LABELS = {0: "background", 1: "vessel"}
SCORES = [
    "dice",
    "cl_dice",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "mcc",
    "roc_auc",
    "average_precision",
]
SMALL_NETWORK = {"channels": [4, 8], "strides": [1], "num_res_units": 0}
SMALL = {
    "field_diameter_px": 128,
    "validate::inferer::inferer::roi_size": [128, 128],
    **{f"network_def::{key}": value for key, value in SMALL_NETWORK.items()},
}


def bars():
    truth = np.zeros(SHAPE, bool)
    truth[10:14, 5:45] = truth[25:28, 5:45] = True
    return truth


def tensor(plane):
    return MetaTensor(torch.as_tensor(np.asarray(plane, dtype=np.float32))[None])


def case(name="one", subject="anna", prediction=None, probability=None, truth=None, **more):
    """A batch item and an output item of MONAI's evaluator; the prediction is perfect if none is given."""
    truth = bars() if truth is None else truth
    prediction = truth if prediction is None else prediction
    probability = 0.1 + 0.8 * prediction if probability is None else probability
    image = MetaTensor(torch.zeros(3, *SHAPE), meta={"filename_or_obj": f"/data/{name}.nii.gz"})
    planes = {"source_field": np.ones(SHAPE), **more}
    batch = {"image": image, "subject": subject, **{key: tensor(plane) for key, plane in planes.items()}}
    output = {"pred": prediction, "probability": probability, "label": truth}
    return batch, {key: tensor(plane) for key, plane in output.items()}


def evaluate(folder, *cases, split="test", score=score_photograph):
    """Run CaseScores as an evaluator does; its rows of the CSV and its JSON."""
    run_handler(CaseScores(folder, split, {"learning_rate": "0.1"}, score), *cases)
    return results(folder)


def run_handler(handler, *cases):
    outputs = iter([output for _, output in cases])
    engine = Engine(lambda engine, batch: [next(outputs)])
    engine.data_loader = loader(*cases)
    handler.attach(engine)
    engine.run([[batch] for batch, _ in cases])


def loader(*cases):
    data = [{"image": batch["image"].meta["filename_or_obj"]} for batch, _ in cases]
    return SimpleNamespace(dataset=SimpleNamespace(data=data, digests=["abc"]))


def results(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    with (folder / SCORES_CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / SCORES_JSON).read_text(), parse_constant=refuse)


def test_perfect(tmp_path):
    rows, summary = evaluate(tmp_path / "new" / "folder", case("a"), case("b", "ben"))
    assert [(row["case"], row["subject"]) for row in rows] == [("a", "anna"), ("b", "ben")]
    assert list(rows[0]) == ["case", "subject", *SCORES]
    assert all(float(row[score]) == 1 for row in rows for score in SCORES)
    assert summary["split"] == "test"
    assert list(summary["scores"]) == SCORES
    expected = {"mean": 1.0, "low": 1.0, "high": 1.0, "cases": 2, "subjects": 2}
    assert all(entry == expected for entry in summary["scores"].values())


def test_random(tmp_path):
    rng = np.random.default_rng(0)
    _, summary = evaluate(tmp_path, case(prediction=rng.random(SHAPE) < 0.14, probability=rng.random(SHAPE)))
    assert 0 < summary["scores"]["dice"]["mean"] < 0.25
    assert abs(summary["scores"]["mcc"]["mean"]) < 0.1
    assert summary["scores"]["roc_auc"]["mean"] == pytest.approx(0.5, abs=0.06)


def test_a_known_score(tmp_path):
    """One of two equal bars found: Dice 2/3, sensitivity 1/2."""
    truth = np.zeros(SHAPE, bool)
    truth[5:8, 5:45] = truth[20:23, 5:45] = True
    found = truth.copy()
    found[20:] = False
    rows, _ = evaluate(tmp_path, case(prediction=found, truth=truth))
    assert float(rows[0]["dice"]) == pytest.approx(2 / 3)
    assert float(rows[0]["sensitivity"]) == 0.5
    assert float(rows[0]["specificity"]) == 1


def test_which_field(tmp_path):
    """The data set's own where it has one, else the one that medseg finds; nothing outside it counts."""
    field = np.zeros(SHAPE)
    field[:, :25] = 1
    wrong = bars()
    wrong[:, 25:] = ~wrong[:, 25:]
    rows, _ = evaluate(
        tmp_path,
        case("given", prediction=wrong, given_field=field),
        case("found", prediction=wrong, source_field=field),
        case("given first", prediction=wrong, given_field=field, source_field=1 - field),
        case("whole", prediction=wrong),
    )
    dice = {row["case"]: float(row["dice"]) for row in rows}
    assert dice["given"] == dice["found"] == dice["given first"] == 1
    assert dice["whole"] == pytest.approx(confusion(wrong, bars()).dice)
    assert dice["whole"] < 0.5


def test_undefined_scores(tmp_path):
    """On a case without vessels: empty in the CSV, left out of the means, null where no case is left."""
    nothing = np.zeros(SHAPE, bool)
    rows, summary = evaluate(tmp_path / "both", case("ill"), case("healthy", "ben", bars(), truth=nothing))
    healthy = next(row for row in rows if row["case"] == "healthy")
    assert (healthy["sensitivity"], healthy["roc_auc"]) == ("", "")
    assert float(healthy["dice"]) == 0
    assert summary["scores"]["sensitivity"]["cases"] == 1
    assert summary["scores"]["dice"] | {"low": 0, "high": 1} == {
        "mean": 0.5, "low": 0, "high": 1, "cases": 2, "subjects": 2,
    }  # fmt: skip
    _, summary = evaluate(tmp_path / "healthy", case("healthy", truth=nothing))
    assert summary["scores"]["sensitivity"] == {
        "mean": None, "low": None, "high": None, "cases": 0, "subjects": 0,
    }  # fmt: skip


def test_second_observer(tmp_path):
    """Scored against the first, as a mark to compare with, where there is one."""
    second = np.roll(bars(), 1, axis=0)
    rows, summary = evaluate(tmp_path, case("a"), case("b", "ben", label_2nd=second))
    assert rows[0]["second_observer_dice"] == ""
    assert float(rows[1]["second_observer_dice"]) == confusion(second, bars()).dice == pytest.approx(5 / 7)
    assert float(rows[1]["dice"]) == 1
    assert summary["scores"]["second_observer_dice"]["cases"] == 1
    assert summary["scores"]["second_observer_dice"]["mean"] == pytest.approx(5 / 7)


def test_interval_is_over_subjects(tmp_path):
    worse = bars()
    worse[10:14] = False
    cases = [case("1", "anna"), case("2", "anna"), case("3", "ben", worse), case("4", "cleo")]
    _, summary = evaluate(tmp_path, *cases)
    values = [1, 1, confusion(worse, bars()).dice, 1]
    mean, low, high = bootstrap_interval(values, ["anna", "anna", "ben", "cleo"])
    entry = summary["scores"]["dice"]
    assert entry == {"mean": mean, "low": low, "high": high, "cases": 4, "subjects": 3}
    assert low < mean < high


@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_threshold_is_chosen_on_validation_alone(tmp_path, split):
    probability = np.where(bars(), 0.3, 0.1)
    nothing_found = np.zeros(SHAPE, bool)
    _, summary = evaluate(tmp_path, case(prediction=nothing_found, probability=probability), split=split)
    assert summary["split"] == split
    assert summary["scores"]["dice"]["mean"] == 0
    if split == "validation":
        assert summary["best_threshold"] == {"threshold": 0.3, "mean_dice": 1.0}
    else:
        assert "best_threshold" not in summary


def test_threshold_looks_inside_the_field_alone(tmp_path):
    field = np.zeros(SHAPE)
    field[:, :25] = 1
    probability = np.where(bars(), 0.3, 0.1)
    probability[:, 25:] = 0.9 * ~bars()[:, 25:]
    _, summary = evaluate(tmp_path, case(probability=probability, given_field=field), split="validation")
    assert summary["best_threshold"] == {"threshold": 0.3, "mean_dice": 1.0}


def test_a_second_run_starts_anew(tmp_path):
    """As a handler of a validation that runs each epoch."""
    batch, output = case()
    engine = Engine(lambda engine, batch: [output])
    engine.data_loader = loader((batch, output))
    CaseScores(tmp_path, "validation").attach(engine)
    engine.run([[batch], [batch]])
    output |= {"pred": tensor(np.zeros(SHAPE)), "probability": tensor(np.full(SHAPE, 0.01))}
    engine.run([[batch]])
    rows, summary = results(tmp_path)
    assert [float(row["dice"]) for row in rows] == [0]
    assert summary["best_threshold"]["mean_dice"] == 0


class OnGpu(torch.Tensor):
    """NumPy takes no tensor of a GPU."""

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_tensors_on_a_gpu(tmp_path):
    batch, output = case(label_2nd=bars())
    moved = {key: value.as_tensor().as_subclass(OnGpu) for key, value in output.items()}
    batch["label_2nd"] = batch["label_2nd"].as_tensor().as_subclass(OnGpu)
    rows, _ = evaluate(tmp_path, (batch, moved))
    assert float(rows[0]["dice"]) == float(rows[0]["second_observer_dice"]) == 1


def test_table():
    entry = {"mean": 0.81234, "low": 0.79, "high": 0.83, "cases": 8, "subjects": 4}
    undefined = {"mean": None, "low": None, "high": None, "cases": 0, "subjects": 0}
    scores = {"dice": entry, "second_observer_dice": undefined}
    lines = [
        "score                     mean  95% interval       cases  subjects",
        "dice                    0.8123  0.7900 to 0.8300       8         4",
        "second_observer_dice         -  - to -                 0         0",
    ]
    assert table({"split": "test", "scores": scores}).splitlines() == lines
    best = {"threshold": 0.42, "mean_dice": 0.81239}
    lines.append("threshold of the best mean Dice: 0.42 (Dice 0.8124)")
    assert table({"split": "validation", "scores": scores, "best_threshold": best}).splitlines() == lines


def test_table_of_long_names():
    entry = {"mean": 0.81234, "low": 0.79, "high": 0.83, "cases": 8, "subjects": 4}
    scores = {"dice": entry, "surface_dice_right_lung_lower": entry}
    head, *lines = table({"split": "test", "scores": scores}).splitlines()
    assert {line.index("0.8123") for line in lines} == {head.index("mean") - 2}


# --- volumes ---

LUNGS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
GROUPS = {"lungs": ["left_lung", "right_lung"]}
CONFIGURATION = {
    "labels": LUNGS,
    "score": {
        "_target_": "medseg.training.evaluation.score_volume",
        "_mode_": "callable",
        "labels": "@labels",
        "groups": GROUPS,
    },
    "draw": {"_target_": "medseg.training.evaluation.draw_volume", "_mode_": "callable"},
}


def configured(name):
    """As a bundle's train.yaml hands it over."""
    return ConfigParser(CONFIGURATION).get_parsed_content(name)


def lungs():
    truth = np.zeros((24, 20, 16), np.uint8)
    truth[2:10, 3:17, 2:14] = 1
    truth[13:22, 3:17, 2:14] = 2
    truth[11, 9:11, 6:16] = 3
    return truth


def scan(name="one", subject="anna", prediction=None, truth=None, source_image=True):
    """As MONAI's evaluator has a scan after RestoreGridd: the image on another grid than the labels."""
    truth = lungs() if truth is None else truth
    # Oblique: the columns are no longer along the axes of RAS+, their lengths are the spacing.
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.5, 2.0, 4.0])
    meta = {"filename_or_obj": f"/data/{name}.nii.gz", "source_affine": torch.as_tensor(affine)}
    image = MetaTensor(torch.zeros(1, 9, 9, 9), meta=meta)
    batch = {"image": image, "subject": subject}
    if source_image:
        batch["source_image"] = MetaTensor(torch.as_tensor(hounsfield())[None])
    prediction = truth if prediction is None else prediction
    # As LoadVolumed and RestoreGridd make them.
    output = {"label": tensor(truth), "pred": MetaTensor(torch.as_tensor(prediction)[None])}
    return batch, output


def hounsfield():
    return np.where(lungs() > 0, -850, 40).astype(np.int16)


def test_volumes(tmp_path):
    """Each label by the spacing of the scan, not of the network's grid; no threshold."""
    worse = np.roll(lungs(), 1, axis=2)
    cases = scan("a"), scan("b", "ben", prediction=worse)
    rows, summary = evaluate(tmp_path, *cases, split="validation", score=configured("score"))
    expected = score_labels(worse, lungs(), LUNGS, (1.5, 2.0, 4.0), groups=GROUPS)
    assert list(rows[1]) == ["case", "subject", *expected]
    assert {name: float(rows[1][name]) for name in expected} == pytest.approx(expected)
    assert expected["hd95_mm_lungs"] == 4.0
    assert float(rows[0]["dice"]) == float(rows[0]["surface_dice_airway"]) == 1
    assert float(rows[0]["hd95_mm_lungs"]) == 0
    assert summary["scores"]["dice_lungs"]["cases"] == 2
    assert "best_threshold" not in summary


def test_tolerance():
    batch, output = scan(prediction=np.roll(lungs(), -1, axis=2))
    strict, lenient = (
        score_volume({**batch, **output}, labels=LUNGS, tolerance_mm=mm)["surface_dice"] for mm in (3.9, 4.0)
    )
    assert strict < lenient == 1


def test_a_missed_label(tmp_path):
    """Empty in the CSV where a distance is undefined, and a 0 where Dice is."""
    without = np.where(lungs() == 3, 0, lungs())
    rows, summary = evaluate(tmp_path, scan(prediction=without), score=configured("score"))
    assert (rows[0]["hd95_mm_airway"], rows[0]["dice_airway"]) == ("", "0.0")
    assert summary["scores"]["hd95_mm_airway"]["mean"] is None


def test_volumes_on_a_gpu(tmp_path):
    batch, output = scan()
    moved = {key: value.as_tensor().as_subclass(OnGpu) for key, value in output.items()}
    batch["source_image"] = batch["source_image"].as_tensor().as_subclass(OnGpu)
    rows, _ = evaluate(tmp_path, (batch, moved), score=configured("score"))
    assert float(rows[0]["dice"]) == 1
    assert draw_volume({**batch, **moved})


def test_pictures_of_volumes(tmp_path):
    missed = lungs()
    missed[missed == 2] = 0
    run_handler(CasePictures(tmp_path, configured("draw")), scan("a"), scan("b", prediction=missed))
    assert {file.name for file in (tmp_path / "cases").iterdir()} == {"a.jpg", "b.jpg"}
    good, bad = (read_volume(tmp_path / "cases" / f"{name}.jpg").array for name in "ab")
    # Of cyan there is the legend's line alone, then a lung.
    cyan = [int(((p[0] < 60) & (p[1] > 190) & (p[2] > 210)).sum()) for p in (good, bad)]
    assert cyan[1] > 100 * cyan[0] > 0


def test_pictures_of_scans_that_were_not_kept(tmp_path):
    """Such a scan is read again from its file."""
    batch, output = scan(source_image=False)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hounsfield(), np.diag([1.5, 2.0, 4.0, 1.0])), path)
    batch["image"].meta["filename_or_obj"] = str(path)
    kept = scan()
    assert draw_volume({**batch, **output}) == draw_volume({**kept[0], **kept[1]})


def test_runs_of_volumes_compare(tmp_path):
    """By any of their scores, a distance too, of which less is better."""
    cases = [f"c{number}" for number in range(8)]
    worse = np.roll(lungs(), 1, axis=2)
    for name, prediction in (("worse", worse), ("perfect", lungs())):
        scans = [scan(case, case, prediction) for case in cases]
        evaluate(tmp_path / name, *scans, score=configured("score"))
    runs = [str(tmp_path / name) for name in ("worse", "perfect")]
    comparison = compare_runs(*runs, tmp_path / "out", "hd95_mm_lungs")
    assert comparison.verdict == "better"
    assert set(comparison.directions.values()) == {1, -1}


def test_a_model_of_volumes(tmp_path, monkeypatch):
    """In MLflow's format; it takes volumes of any size."""
    # MLflow starts a process to find them.
    monkeypatch.setattr("mlflow.models.infer_pip_requirements", lambda *_, **__: [])
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Upsample(scale_factor=1))
    validator = SimpleNamespace(data_loader=[{"image": torch.zeros(1, 1, 8, 8, 8)}])
    path = save_mlflow_model(network, validator, tmp_path)
    signature = mlflow.models.get_model_info(str(path)).signature
    assert signature.inputs.inputs[0].shape == (-1, 1, -1, -1, -1)
    assert signature.outputs.inputs[0].shape == (-1, 4, -1, -1, -1)
    volume = torch.randn(2, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    model = mlflow.pytorch.load_model(str(path))
    with torch.no_grad():
        assert torch.allclose(model(volume), network(volume))


# --- the bundle's evaluate.yaml ---


@pytest.fixture
def weights(tmp_path):
    """Of an untrained network: what counts here is the way to the scores."""
    torch.manual_seed(0)
    parser = parse(open_bundle("retinal_vessel"), "train.yaml", overrides=SMALL)
    path = tmp_path / "weights.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


@pytest.fixture
def medseg_evaluate(run_medseg, phantom_data, weights, tmp_path):
    def run(*arguments):
        pairs = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
        options = ["--manifest", phantom_data.manifest, "--output_dir", tmp_path / "scores", *pairs]
        return run_medseg("evaluate", "retinal_vessel", "--weights", weights, *options, *arguments)

    return run


def plane(path):
    return read_mask(path, LABELS).array


def test_evaluate_phantoms(medseg_evaluate, phantom_data, tmp_path):
    assert medseg_evaluate() == 0
    rows, summary = results(tmp_path / "scores")
    assert [(row["case"], row["subject"]) for row in rows] == [("4", "phantom_4"), ("5", "phantom_5")]
    assert summary["split"] == "test"
    assert "best_threshold" not in summary
    assert summary["scores"]["dice"]["cases"] == 2
    # The second observers' scores don't depend on the network: item 5 has a given field, item 4 none.
    folder = phantom_data.folder
    found = find_field(read_volume(folder / "4.png").array).mask
    given = plane(folder / "5_given_field.png")
    assert (found != given).any()
    expected = [
        confusion(plane(folder / f"{n}_label_2nd.png"), plane(folder / f"{n}_label.png"), field).dice
        for n, field in ((4, found), (5, given))
    ]
    assert [float(row["second_observer_dice"]) for row in rows] == pytest.approx(expected, abs=1e-12)


def test_evaluate_another_split(medseg_evaluate, tmp_path):
    assert medseg_evaluate("--split", "validation") == 0
    rows, summary = results(tmp_path / "scores")
    assert [row["case"] for row in rows] == ["3"]
    assert 0.05 <= summary["best_threshold"]["threshold"] <= 0.95
    assert summary["best_threshold"]["mean_dice"] >= summary["scores"]["dice"]["mean"]


def test_evaluate_several_weights(medseg_evaluate, weights, tmp_path, capsys):
    """Each in a folder of its own, and a page that compares them."""
    other = tmp_path / "other.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: 2 * value for name, value in state.items()}, other)
    assert medseg_evaluate("--weights", other) == 0
    first, second = (results(tmp_path / "scores" / f"weights_{number}")[1] for number in (1, 2))
    assert first["scores"]["dice"] != second["scores"]["dice"]
    folder = tmp_path / "scores" / "1_against_2"
    assert {file.name for file in folder.iterdir()} == {
        "comparison.html", "comparison.csv", "comparison.json",
    }  # fmt: skip
    record = json.loads((folder / "comparison.json").read_text())
    assert record["verdict"] == "no difference shown"
    assert set(record["parameters"]) == {"weights"}
    assert "Wilcoxon p = " in capsys.readouterr().out


def test_evaluate_needs_sound_data(medseg_evaluate, phantom_data, tmp_path, capsys):
    (phantom_data.folder / "4.png").unlink()
    assert medseg_evaluate() == DataError.exit_code
    assert "4.png is missing" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_evaluate_needs_fitting_weights(medseg_evaluate, weights, tmp_path, capsys):
    torch.save({"other": torch.zeros(3)}, weights)
    assert medseg_evaluate() == WeightsError.exit_code
    assert "weights that fit the network" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


@pytest.mark.data
def test_second_observer_of_chase(data_root):
    """As shared/data's README and the literature have it: reading, field and Dice are right together."""
    dice = []
    for item in load_items("chase_db1", "test", ("image", "label", "label_2nd")):
        field = find_field(read_volume(item["image"]).array).mask
        dice.append(confusion(plane(item["label_2nd"]), plane(item["label"]), field).dice)
    assert len(dice) == 8
    assert np.mean(dice) == pytest.approx(0.798, abs=0.003)
