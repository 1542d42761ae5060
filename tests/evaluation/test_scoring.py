"""Scores of a split: right numbers, in the right field, in files that any program can read."""

import csv
import json
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from fundus_pictures import write_png
from monai.bundle import ConfigParser

from medseg.bundle import open_bundle, parse
from medseg.case import Case
from medseg.data.manifests import load_items
from medseg.errors import DataError, LabelError, UnsuitableError, WeightsError
from medseg.evaluation.case_scores import draw_picture, draw_volume, score_picture, score_volume
from medseg.evaluation.comparison import compare_runs
from medseg.evaluation.past_runs import SCORES_CSV, CaseRow, read_rows
from medseg.evaluation.references import Reference, read_reference
from medseg.evaluation.score_files import SCORES_JSON, table, write_scores
from medseg.evaluation.scoring import Scoring
from medseg.evaluation.split import evaluate
from medseg.io import nifti, read_mask, read_volume
from medseg.metrics.overlap import bootstrap_interval, confusion
from medseg.metrics.surface import score_labels
from medseg.quality.fundus import find_field_of_view
from medseg.training.results import save_mlflow_model
from medseg.volume import Mask

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
    "inferer::inferer::inferer::roi_size": [128, 128],
    **{f"network_def::{key}": value for key, value in SMALL_NETWORK.items()},
}


def bars():
    truth = np.zeros(SHAPE, bool)
    truth[10:14, 5:45] = truth[25:28, 5:45] = True
    return truth


class ByHand:
    """Stands for a Segmenter: the case of each image is what a test says."""

    method = SimpleNamespace(name="by_hand")

    def __init__(self, cases, weights=()):
        self.cases, self.weights = cases, list(weights)

    def case(self, source):
        found = self.cases[str(source)]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def case(tmp_path):
    """An item of a manifest, with its files, and its Case; the prediction is perfect if none is given."""
    folder = tmp_path / "data"
    folder.mkdir()

    def make(name="one", subject="anna", prediction=None, probability=None, truth=None, **planes):
        truth = bars() if truth is None else truth
        prediction = truth if prediction is None else prediction
        probability = 0.1 + 0.8 * prediction if probability is None else probability
        item = {"image": str(folder / f"{name}.png"), "subject": subject}
        image = np.full(SHAPE, len(list(folder.iterdir())), np.uint8)  # each of its own content
        for key, plane in {"image": image, "label": truth, **planes}.items():
            item.setdefault(key, str(folder / f"{name}_{key}.png"))
            write_png(folder / item[key], np.asarray(plane).astype(np.uint8))
        mask = Mask(prediction.astype(np.uint8), LABELS)
        extras = {"probability": probability.astype(np.float32)}
        return item, Case(mask, np.zeros((3, *SHAPE), np.uint8), np.ones(SHAPE, bool), extras)

    return make


def scored(folder, *pairs, split="test", score=score_picture, draw=draw_picture):
    """Evaluate pairs of an item and its case; the rows of the CSV and the JSON."""
    by_hand = ByHand({item["image"]: found for item, found in pairs})
    items = [item for item, _ in pairs]
    options = {"scoring": Scoring(score, draw), "parameters": {"learning_rate": "0.1"}}
    evaluate(by_hand, items, output_dir=folder, split=split, **options)
    return results(folder)


def results(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    with (folder / SCORES_CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / SCORES_JSON).read_text(), parse_constant=refuse)


def test_perfect(case, tmp_path):
    rows, summary = scored(tmp_path / "new" / "folder", case("b", "ben"), case("a"))
    assert [(row["case"], row["subject"]) for row in rows] == [("a", "anna"), ("b", "ben")]
    assert list(rows[0]) == ["case", "subject", *SCORES]
    assert all(float(row[score]) == 1 for row in rows for score in SCORES)
    assert (summary["split"], summary["method"]) == ("test", "by_hand")
    assert list(summary["scores"]) == SCORES
    expected = {"mean": 1.0, "low": 1.0, "high": 1.0, "cases": 2, "subjects": 2}
    assert all(entry == expected for entry in summary["scores"].values())


def test_what_was_scored_is_noted(case, tmp_path):
    """Parameters, and a digest that is the data's: of their content, in any order."""

    def parameters(name, *pairs):
        scored(tmp_path / name, *pairs)
        return json.loads((tmp_path / name / "parameters.json").read_text())

    one, two = case("a"), case("b", "ben")
    noted = parameters("first", one, two)
    assert noted["learning_rate"] == "0.1"
    assert parameters("again", two, one) == noted
    assert parameters("fewer", one)["dataset_digest"] != noted["dataset_digest"]


def test_random(case, tmp_path):
    rng = np.random.default_rng(0)
    _, summary = scored(tmp_path, case(prediction=rng.random(SHAPE) < 0.14, probability=rng.random(SHAPE)))
    assert 0 < summary["scores"]["dice"]["mean"] < 0.25
    assert abs(summary["scores"]["mcc"]["mean"]) < 0.1
    assert summary["scores"]["roc_auc"]["mean"] == pytest.approx(0.5, abs=0.06)


def test_a_known_score(case, tmp_path):
    """One of two equal bars found: Dice 2/3, sensitivity 1/2."""
    truth = np.zeros(SHAPE, bool)
    truth[5:8, 5:45] = truth[20:23, 5:45] = True
    found = truth.copy()
    found[20:] = False
    rows, _ = scored(tmp_path, case(prediction=found, truth=truth))
    assert float(rows[0]["dice"]) == pytest.approx(2 / 3)
    assert float(rows[0]["sensitivity"]) == 0.5
    assert float(rows[0]["specificity"]) == 1


def test_which_field(case, tmp_path):
    """The data set's own where it has one, outside which nothing counts; else everywhere."""
    field = np.zeros(SHAPE)
    field[:, :25] = 1
    wrong = bars()
    wrong[:, 25:] = ~wrong[:, 25:]
    item, found = case("found", prediction=wrong)
    rows, _ = scored(
        tmp_path,
        case("given", prediction=wrong, given_field=field),
        case("given as 255", prediction=wrong, given_field=255 * field),
        (item, Case(found.mask, found.image, field > 0, found.extras)),
    )
    dice = {row["case"]: float(row["dice"]) for row in rows}
    assert dice["given"] == dice["given as 255"] == 1
    assert dice["found"] == pytest.approx(confusion(wrong, bars()).dice)
    assert dice["found"] < 0.5


def test_undefined_scores(case, tmp_path):
    """On a case without vessels: empty in the CSV, left out of the means, null where no case is left."""
    nothing = np.zeros(SHAPE, bool)
    rows, summary = scored(tmp_path / "both", case("ill"), case("healthy", "ben", bars(), truth=nothing))
    healthy = next(row for row in rows if row["case"] == "healthy")
    assert (healthy["sensitivity"], healthy["roc_auc"]) == ("", "")
    assert float(healthy["dice"]) == 0
    assert summary["scores"]["sensitivity"]["cases"] == 1
    assert summary["scores"]["dice"] | {"low": 0, "high": 1} == {
        "mean": 0.5, "low": 0, "high": 1, "cases": 2, "subjects": 2,
    }  # fmt: skip
    _, summary = scored(tmp_path / "healthy", case("healthy", truth=nothing))
    assert summary["scores"]["sensitivity"] == {
        "mean": None, "low": None, "high": None, "cases": 0, "subjects": 0,
    }  # fmt: skip


def test_second_observer(case, tmp_path):
    """Scored against the first, as a mark to compare with, where there is one."""
    second = np.roll(bars(), 1, axis=0)
    rows, summary = scored(tmp_path, case("a"), case("b", "ben", label_2nd=second))
    assert rows[0]["second_observer_dice"] == ""
    assert float(rows[1]["second_observer_dice"]) == confusion(second, bars()).dice == pytest.approx(5 / 7)
    assert float(rows[1]["dice"]) == 1
    assert summary["scores"]["second_observer_dice"]["cases"] == 1
    assert summary["scores"]["second_observer_dice"]["mean"] == pytest.approx(5 / 7)


def test_interval_is_over_subjects(case, tmp_path):
    worse = bars()
    worse[10:14] = False
    cases = [case("1", "anna"), case("2", "anna"), case("3", "ben", worse), case("4", "cleo")]
    _, summary = scored(tmp_path, *cases)
    values = [1, 1, confusion(worse, bars()).dice, 1]
    mean, low, high = bootstrap_interval(values, ["anna", "anna", "ben", "cleo"])
    entry = summary["scores"]["dice"]
    assert entry == {"mean": mean, "low": low, "high": high, "cases": 4, "subjects": 3}
    assert low < mean < high


@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_threshold_is_chosen_on_validation_alone(case, tmp_path, split):
    probability = np.where(bars(), 0.3, 0.1)
    nothing_found = np.zeros(SHAPE, bool)
    _, summary = scored(tmp_path, case(prediction=nothing_found, probability=probability), split=split)
    assert summary["split"] == split
    assert summary["scores"]["dice"]["mean"] == 0
    if split == "validation":
        assert summary["best_threshold"] == {"threshold": 0.3, "mean_dice": 1.0}
    else:
        assert "best_threshold" not in summary


def test_threshold_looks_inside_the_field_alone(case, tmp_path):
    field = np.zeros(SHAPE)
    field[:, :25] = 1
    probability = np.where(bars(), 0.3, 0.1)
    probability[:, 25:] = 0.9 * ~bars()[:, 25:]
    _, summary = scored(tmp_path, case(probability=probability, given_field=field), split="validation")
    assert summary["best_threshold"] == {"threshold": 0.3, "mean_dice": 1.0}


def test_a_second_evaluation_replaces_the_first(case, tmp_path):
    scored(tmp_path, case("a"), case("b"), split="validation")
    nothing = np.zeros(SHAPE, bool)
    low = np.full(SHAPE, 0.01)
    rows, summary = scored(tmp_path, case("a", prediction=nothing, probability=low), split="validation")
    assert [float(row["dice"]) for row in rows] == [0]
    assert summary["best_threshold"]["mean_dice"] == 0


def test_a_case_that_is_refused_is_not_left_out(case, tmp_path):
    """Its mean would look too good."""
    item, _ = case("b")
    refused = UnsuitableError("a retina", got="a cat", advice="Choose another.")
    with pytest.raises(UnsuitableError, match="a cat"):
        scored(tmp_path, case("a"), (item, refused))
    assert not (tmp_path / SCORES_CSV).exists()


@pytest.mark.parametrize("key", ["label", "label_2nd", "given_field"])
def test_a_reference_of_another_size(case, tmp_path, key):
    planes = {"label_2nd": bars(), "given_field": np.ones(SHAPE)}
    item, found = case(**planes)
    write_png(item[key], np.ones((SHAPE[0], SHAPE[1] - 1), np.uint8))
    with pytest.raises(LabelError, match=f"a {key} of the image's size"):
        scored(tmp_path, (item, found))


def test_a_reference_with_unknown_values(case, tmp_path):
    item, found = case()
    write_png(item["label"], np.full(SHAPE, 7, np.uint8))
    with pytest.raises(LabelError):
        scored(tmp_path, (item, found))


def test_pictures(case, tmp_path):
    """Misses are cyan."""
    missed = bars()
    missed[:20] = False
    scored(tmp_path, case("a"), case("b", prediction=missed))
    assert {file.name for file in (tmp_path / "cases").iterdir()} == {"a.jpg", "b.jpg"}
    good, bad = (cyan(tmp_path / "cases" / f"{name}.jpg") for name in "ab")
    assert bad > good + 100


def cyan(path):
    picture = read_volume(path).array
    return int(((picture[0] < 60) & (picture[1] > 190) & (picture[2] > 210)).sum())


def test_table():
    entry = {"mean": 0.81234, "low": 0.79, "high": 0.83, "cases": 8, "subjects": 4}
    undefined = {"mean": None, "low": None, "high": None, "cases": 0, "subjects": 0}
    scores = {"dice": entry, "second_observer_dice": undefined}
    lines = [
        "score                   mean  95% interval      cases  subjects",
        "dice                  0.8123  0.7900 to 0.8300      8         4",
        "second_observer_dice       -  -                     0         0",
    ]
    assert table({"split": "test", "scores": scores}).splitlines() == lines
    best = {"threshold": 0.42, "mean_dice": 0.81239}
    lines.append("threshold of the best mean Dice: 0.42 (Dice 0.8124)")
    assert table({"split": "validation", "scores": scores, "best_threshold": best}).splitlines() == lines


def test_table_of_one_subject():
    """It gives a mean and no interval."""
    entry = {"mean": 0.81234, "low": None, "high": None, "cases": 2, "subjects": 1}
    _, line = table({"split": "test", "scores": {"dice": entry}}).splitlines()
    assert line.split() == ["dice", "0.8123", "none", "(1", "subject)", "2", "1"]


def test_table_of_long_names():
    entry = {"mean": 0.81234, "low": 0.79, "high": 0.83, "cases": 8, "subjects": 4}
    scores = {"dice": entry, "surface_dice_right_lung_lower": entry}
    head, *lines = table({"split": "test", "scores": scores}).splitlines()
    assert {line.index("0.8123") for line in lines} == {head.index("mean") - 2}


# --- scores.csv ---


def test_one_label_is_a_line_a_case(tmp_path):
    rows = (
        CaseRow("a, b", "anna", {"": {"dice": 1 / 3, "mcc": None}}, {"pathology": "benign"}),
        CaseRow("c", "ben", {"": {"dice": 0.1 + 0.2, "mcc": -0.5}}, {}),
    )
    write_scores(rows, tmp_path, {"split": "test"})
    assert list(results(tmp_path)[0][0]) == ["case", "subject", "pathology", "dice", "mcc"]
    assert read_rows(tmp_path / SCORES_CSV) == rows


def test_several_labels_are_a_line_each(tmp_path):
    """All comes back as it was, to the last digit, for cases with other labels too."""
    known = {"trained": "yes", "device": 'Scanner, "new"'}
    rows = (
        CaseRow(
            "1",
            "anna",
            {
                "mean": {"dice": 1 / 3, "surface_dice": 0.1 + 0.2},
                "left_lung": {"dice": 0.25, "surface_dice": 0.5, "hd95_mm": 1e-17},
                "airway": {"dice": 0.0, "surface_dice": 0.0, "hd95_mm": None},
            },
            known,
        ),
        CaseRow("2", "ben", {"mean": {"dice": 1.0}, "lungs": dict.fromkeys(("dice", "hd95_mm"), 2.5)}, {}),
    )
    write_scores(rows[:1], tmp_path, {"split": "test"})
    found, summary = results(tmp_path)
    assert [(row["case"], row["label"]) for row in found] == [
        ("1", "mean"),
        ("1", "left_lung"),
        ("1", "airway"),
    ]
    assert list(found[0]) == [
        "case",
        "subject",
        "device",
        "trained",
        "label",
        "dice",
        "surface_dice",
        "hd95_mm",
    ]
    assert read_rows(tmp_path / SCORES_CSV) == rows[:1]
    names = ["dice", "surface_dice", "dice_left_lung", "surface_dice_left_lung", "hd95_mm_left_lung"]
    assert list(summary["scores"])[:5] == list(rows[0].scores)[:5] == names
    write_scores(rows, tmp_path, {"split": "test"})
    first, second = read_rows(tmp_path / SCORES_CSV)
    assert first == rows[0]
    assert {name: value for name, value in second.scores.items() if value is not None} == rows[1].scores


def test_the_summary_takes_the_cases_that_have_a_score(tmp_path):
    rows = [
        CaseRow("1", "anna", {"mean": {"dice": 0.5}, "left_lung": {"dice": 0.5}}),
        CaseRow("2", "ben", {"mean": {"dice": 1.0}, "right_lung": {"dice": 1.0}}),
    ]
    write_scores(rows, tmp_path, {"split": "test"})
    scores = results(tmp_path)[1]["scores"]
    means = {name: (entry["mean"], entry["cases"]) for name, entry in scores.items()}
    assert means == {"dice": (0.75, 2), "dice_left_lung": (0.5, 1), "dice_right_lung": (1.0, 1)}


# --- volumes ---

LUNGS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
GROUPS = {"lungs": ["left_lung", "right_lung"]}
CONFIGURATION = {
    "score": {
        "_target_": "medseg.evaluation.case_scores.score_volume",
        "_mode_": "callable",
        "groups": GROUPS,
    },
    "draw": {"_target_": "medseg.evaluation.case_scores.draw_volume", "_mode_": "callable"},
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


def oblique():
    """The columns are not along the axes of RAS+; their lengths are the spacing: 1.5, 2 and 4 mm."""
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.5, 2.0, 4.0])
    return affine


@pytest.fixture
def scan(tmp_path):
    """An item and its case, as a Segmenter makes it of a scan."""

    def make(name="one", subject="anna", prediction=None, truth=None, labels=None):
        truth = lungs() if truth is None else truth
        item = {"image": str(tmp_path / f"{name}.nii.gz"), "label": str(tmp_path / f"{name}_label.nii.gz")}
        nifti.write(hounsfield(), oblique(), tmp_path / item["image"])
        nifti.write(truth, oblique(), tmp_path / item["label"])
        mask = Mask(lungs() if prediction is None else prediction, LUNGS, affine=oblique())
        return item | {"subject": subject} | ({"labels": labels} if labels else {}), Case(
            mask, hounsfield()[None]
        )

    return make


def hounsfield():
    return np.where(lungs() > 0, -850, 40).astype(np.int16)


def scored_scans(folder, *pairs, split="test"):
    return scored(folder, *pairs, split=split, score=configured("score"), draw=configured("draw"))


def by_label(rows, case):
    return {row["label"]: row for row in rows if row["case"] == case}


@pytest.mark.seconds
def test_volumes(scan, tmp_path):
    """Each label by the spacing of the scan, not of the network's grid; no threshold."""
    worse = np.roll(lungs(), 1, axis=2)
    pairs = scan("a"), scan("b", "ben", prediction=worse)
    rows, summary = scored_scans(tmp_path / "out", *pairs, split="validation")
    masks = (Mask(array, LUNGS, affine=np.diag([1.5, 2.0, 4.0, 1.0])) for array in (worse, lungs()))
    expected = score_labels(*masks, groups=GROUPS)
    assert list(rows[0]) == ["case", "subject", "label", "dice", "surface_dice", "hd95_mm"]
    found = by_label(rows, "b")
    assert list(found) == list(expected) == ["mean", "left_lung", "right_lung", "airway", "lungs"]
    for label, scores in expected.items():
        assert {name: float(found[label][name]) for name in scores} == pytest.approx(scores)
    assert found["mean"]["hd95_mm"] == ""
    assert float(found["lungs"]["hd95_mm"]) == 4.0
    perfect = by_label(rows, "a")
    assert float(perfect["mean"]["dice"]) == float(perfect["airway"]["surface_dice"]) == 1
    assert float(perfect["lungs"]["hd95_mm"]) == 0
    assert summary["scores"]["dice_lungs"]["cases"] == 2
    assert "hd95_mm" not in summary["scores"]
    assert "best_threshold" not in summary


def test_tolerance():
    moved, truth = (Mask(array, LUNGS, affine=oblique()) for array in (np.roll(lungs(), -1, axis=2), lungs()))
    case = Case(moved, hounsfield()[None])
    strict, lenient = (
        score_volume(case, Reference(truth), tolerance_mm=mm)["mean"]["surface_dice"] for mm in (3.9, 4.0)
    )
    assert strict < lenient == 1


def test_a_missed_label(scan, tmp_path):
    """Empty in the CSV where a distance is undefined, and a 0 where Dice is."""
    without = np.where(lungs() == 3, 0, lungs())
    rows, summary = scored_scans(tmp_path / "out", scan(prediction=without))
    airway = by_label(rows, "one")["airway"]
    assert (airway["hd95_mm"], airway["dice"]) == ("", "0.0")
    assert summary["scores"]["hd95_mm_airway"]["mean"] is None


@pytest.mark.seconds
def test_a_manifest_of_one_lung(scan, tmp_path):
    """What its reference does not know is not scored, and no false alarm in the picture either."""
    right = (lungs() == 2).astype(np.uint8)
    labels = {0: "background", 1: "right_lung"}
    rows, summary = scored_scans(tmp_path / "out", scan(truth=right, labels=labels))
    assert list(by_label(rows, "one")) == ["mean", "right_lung"]
    assert list(summary["scores"]) == [
        "dice",
        "surface_dice",
        *(f"{k}_right_lung" for k in rows[0] if k in KINDS),
    ]
    assert all(float(row["dice"]) == 1 for row in rows)
    case, item = scan(truth=right, labels=labels)[::-1]
    alone = Case(Mask(np.where(lungs() == 2, 2, 0).astype(np.uint8), LUNGS, affine=oblique()), case.image)
    assert draw_volume(case, read_reference(item, case)) == draw_volume(alone, read_reference(item, alone))


KINDS = ("dice", "surface_dice", "hd95_mm")


@pytest.mark.seconds
def test_a_manifest_whose_values_share_a_name(scan, tmp_path):
    parts = lungs().astype(np.uint16)
    parts[2:5][parts[2:5] == 1] = 777
    parts[:2] = 768
    labels = {**LUNGS, 777: "left_lung", 768: "background"}
    worse = np.roll(lungs(), 1, axis=2)
    rows, _ = scored_scans(tmp_path / "parts", scan(prediction=worse, truth=parts, labels=labels))
    expected, _ = scored_scans(tmp_path / "whole", scan(prediction=worse))
    assert rows == expected
    assert 0 < float(rows[0]["dice"]) < 1
    item, case = scan(truth=parts, labels=labels)
    whole = scan("whole")[0]
    assert draw_volume(case, read_reference(item, case)) == draw_volume(case, read_reference(whole, case))


def test_a_manifest_of_labels_that_no_mask_has(scan, tmp_path):
    with pytest.raises(LabelError, match="got heart"):
        scored_scans(tmp_path / "out", scan(labels={**LUNGS, 3: "heart"}))


@pytest.mark.seconds
def test_pictures_of_volumes(scan, tmp_path):
    missed = lungs()
    missed[missed == 2] = 0
    scored_scans(tmp_path / "out", scan("a"), scan("b", prediction=missed))
    assert {file.name for file in (tmp_path / "out" / "cases").iterdir()} == {"a.jpg", "b.jpg"}
    # Of cyan there is the legend's line alone, then a lung.
    good, bad = (cyan(tmp_path / "out" / "cases" / f"{name}.jpg") for name in "ab")
    assert bad > 100 * good > 0


@pytest.mark.seconds
def test_runs_of_volumes_compare(scan, tmp_path):
    """By any of their scores, a distance too, of which less is better."""
    worse = np.roll(lungs(), 1, axis=2)
    for name, prediction in (("worse", worse), ("perfect", lungs())):
        scored_scans(tmp_path / name, *(scan(f"c{n}", f"c{n}", prediction) for n in range(8)))
    runs = [str(tmp_path / name) for name in ("worse", "perfect")]
    comparison = compare_runs(*runs, tmp_path / "out", "hd95_mm_lungs")
    assert comparison.verdict == "better"
    assert set(comparison.directions.values()) == {1, -1}


@pytest.mark.seconds
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
    overrides = {key: value for key, value in SMALL.items() if key.startswith("network_def")}
    parser = parse(open_bundle("retinal_vessel"), "train.yaml", overrides=overrides)
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


@pytest.mark.seconds
def test_evaluate_phantoms(medseg_evaluate, phantom_data, tmp_path):
    assert medseg_evaluate() == 0
    rows, summary = results(tmp_path / "scores")
    assert [(row["case"], row["subject"]) for row in rows] == [("4", "phantom_4"), ("5", "phantom_5")]
    assert summary["split"] == "test"
    assert "best_threshold" not in summary
    assert summary["scores"]["dice"]["cases"] == 2
    # The second observers' scores don't depend on the network: item 5 has a given field, item 4 none.
    folder = phantom_data.folder
    given = plane(folder / "5_given_field.png")
    assert not given.all()
    expected = [
        confusion(plane(folder / f"{n}_label_2nd.png"), plane(folder / f"{n}_label.png"), field).dice
        for n, field in ((4, None), (5, given))
    ]
    assert [float(row["second_observer_dice"]) for row in rows] == pytest.approx(expected, abs=1e-12)


@pytest.mark.seconds
def test_evaluate_another_split(medseg_evaluate, tmp_path):
    assert medseg_evaluate("--split", "validation") == 0
    rows, summary = results(tmp_path / "scores")
    assert [row["case"] for row in rows] == ["3"]
    assert 0.05 <= summary["best_threshold"]["threshold"] <= 0.95
    assert summary["best_threshold"]["mean_dice"] >= summary["scores"]["dice"]["mean"]


@pytest.mark.seconds
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


@pytest.mark.seconds
@pytest.mark.data
def test_second_observer_of_chase(data_root):
    """As shared/data's README and the literature have it: reading, field and Dice are right together."""
    dice = []
    for item in load_items("chase_db1", "test", ("image", "label", "label_2nd")):
        field = find_field_of_view(read_volume(item["image"]).array).mask
        dice.append(confusion(plane(item["label_2nd"]), plane(item["label"]), field).dice)
    assert len(dice) == 8
    assert np.mean(dice) == pytest.approx(0.798, abs=0.003)
