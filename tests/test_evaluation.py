"""Scores of a split: right numbers, in the right field, in files that any program can read."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from medseg.bundle import open_bundle, parse
from medseg.errors import DataError, WeightsError
from medseg.fundus import find_field
from medseg.io import read_mask, read_volume
from medseg.metrics import bootstrap_interval, confusion
from medseg.training.evaluation import SCORES_CSV, SCORES_JSON, CaseScores, table
from medseg.training.manifests import load_items

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


def evaluate(folder, *cases, split="test"):
    """Run CaseScores as an evaluator does; its rows of the CSV and its JSON."""
    outputs = iter([output for _, output in cases])
    engine = Engine(lambda engine, batch: [next(outputs)])
    engine.data_loader = loader(*cases)
    CaseScores(folder, split, {"learning_rate": "0.1"}).attach(engine)
    engine.run([[batch] for batch, _ in cases])
    return results(folder)


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
