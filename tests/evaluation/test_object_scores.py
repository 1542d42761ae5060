"""Scores of lesions by hand, their groups in the files, and malignancy pooled over folds."""

import csv
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from fundus_pictures import write_png
from PIL import Image

from medseg.case import Case
from medseg.errors import DataError, LabelError
from medseg.evaluation.classification import summarise_question
from medseg.evaluation.comparison import compare_runs
from medseg.evaluation.object_scores import draw_objects, score_objects
from medseg.evaluation.past_runs import CaseRow, read_rows
from medseg.evaluation.references import Reference
from medseg.evaluation.score_files import table, write_scores
from medseg.evaluation.scoring import Question, Scoring
from medseg.evaluation.split import evaluate
from medseg.io import read_volume
from medseg.metrics.roc import roc_area
from medseg.training.folds import _pool
from medseg.training.results import log_scores
from medseg.volume import Mask

SHAPE = (40, 50)
LABELS = {0: "background", 1: "lesion"}
QUESTION = {
    **{"name": "malignancy", "entry": "pathology"},
    **{"positive": "malignant", "negative": "benign", "neither": "normal"},
}
SCORING = Scoring(
    partial(score_objects, name="lesion", question=QUESTION),
    draw_objects,
    ["pathology", "birads", "device"],
    QUESTION,
)
SCORES = [
    *("dice", "iou", "hd95_px", "lesion_sensitivity", "touched", "false_positives"),
    *("has_lesion", "lesion_probability", "malignancy_probability", "is_malignant", "brier"),
]


def box(*boxes):
    plane = np.zeros(SHAPE, np.uint8)
    for top, bottom, left, right in boxes:
        plane[top:bottom, left:right] = 1
    return plane


def mask(plane):
    return Mask(np.asarray(plane), LABELS)


def scored(prediction, truth, malignancy=0.75, **about):
    extras = {} if malignancy is None else {"malignancy": np.float32(malignancy)}
    case = Case(mask(prediction), np.zeros((1, *SHAPE), np.uint8), None, extras)
    found = SCORING.score(case, Reference(mask(truth), about=about))
    assert list(found) == [""]
    return found[""]


LESION = box((10, 20, 10, 20))


def test_perfect():
    assert scored(LESION, LESION, pathology="malignant") == {
        "dice": 1, "iou": 1, "hd95_px": 0, "lesion_sensitivity": 1, "touched": 1, "false_positives": 0,
        "has_lesion": 1, "lesion_probability": None,
        "malignancy_probability": 0.75, "is_malignant": 1, "brier": 0.0625,
    }  # fmt: skip


def test_by_hand():
    """Shifted by 5 of its 10 columns: 50 shared, 150 together. A square far off is a false positive."""
    scores = scored(box((10, 20, 15, 25)), LESION, pathology="benign")
    assert scores["dice"] == 0.5
    assert scores["iou"] == pytest.approx(1 / 3)
    assert scores["hd95_px"] == pytest.approx(5)
    assert (scores["lesion_sensitivity"], scores["false_positives"]) == (1, 0)
    assert (scores["is_malignant"], scores["brier"]) == (0, 0.5625)
    scores = scored(box((30, 35, 30, 35)), LESION)
    assert (scores["lesion_sensitivity"], scores["false_positives"]) == (0, 1)


def test_one_of_two_lesions():
    truth = box((2, 12, 2, 12), (20, 30, 20, 30))
    scores = scored(box((2, 12, 2, 12), (33, 36, 2, 5), (33, 36, 40, 45)), truth)
    assert (scores["lesion_sensitivity"], scores["false_positives"]) == (0.5, 2)


@pytest.mark.parametrize(("columns", "hits"), [(1, 1), (0, 0)])
def test_least_overlap(columns, hits):
    """A column of ten is an IoU of 10 / 100, just enough; one pixel less is too little."""
    predicted = box((10, 20, 10, 11))
    predicted[19, 10] = columns
    scores = scored(predicted, LESION)
    assert (scores["lesion_sensitivity"], scores["false_positives"]) == (hits, 1 - hits)


def test_corners_join_a_lesion():
    truth = box((10, 20, 10, 20), (20, 24, 20, 24))
    assert scored(LESION, truth)["lesion_sensitivity"] == 1


def test_one_piece_over_two_lesions():
    truth = box((10, 20, 10, 20), (10, 20, 21, 31))
    scores = scored(box((10, 20, 10, 31)), truth)
    assert (scores["lesion_sensitivity"], scores["false_positives"]) == (1, 0)


def test_empty():
    nothing = box()
    both, missed, alarm = scored(nothing, nothing), scored(nothing, LESION), scored(LESION, nothing)
    assert [scores["dice"] for scores in (both, missed, alarm)] == [1, 0, 0]
    assert [scores["iou"] for scores in (both, missed, alarm)] == [1, 0, 0]
    assert [scores["hd95_px"] for scores in (both, missed, alarm)] == [None] * 3
    assert [scores["lesion_sensitivity"] for scores in (both, missed, alarm)] == [None, 0, None]
    assert [scores["false_positives"] for scores in (both, missed, alarm)] == [0, 0, 1]
    assert (both["is_malignant"], both["brier"]) == (None, None)


def test_refused():
    with pytest.raises(DataError, match=r"a probability \(malignancy\)"):
        scored(LESION, LESION, 2.5)
    with pytest.raises(DataError, match=r"a probability \(malignancy\)"):
        scored(LESION, LESION, float("nan"))
    with pytest.raises(DataError, match="benign, malignant"):
        scored(LESION, LESION, pathology="Malign")
    with pytest.raises(LabelError):
        scored(LESION[:-1], LESION)
    with pytest.raises(LabelError):
        scored(255 * LESION, LESION)


def test_a_method_that_says_nothing_of_malignancy():
    scores = scored(LESION, LESION, None, pathology="malignant")
    assert (scores["malignancy_probability"], scores["is_malignant"], scores["brier"]) == (None, 1, None)
    assert scores["dice"] == 1


# --- files ---

DEVICES = ("GE Logiq 7 @10-14MHz", 'Scanner, "new"')


@pytest.fixture
def case(tmp_path):
    """Two images a subject; every third subject is malignant, and of odd malignancy's probability."""
    folder = tmp_path / "data"
    folder.mkdir()

    def make(number, shift=0.0, **about):
        subject = number // 2
        malignant = subject % 3 == 0
        probability = (0.6 if malignant else 0.3) + 0.02 * (number % 19)
        files = {"image": folder / f"{number:03}.png", "label": folder / f"{number:03}_label.png"}
        write_png(files["image"], np.full(SHAPE, number, np.uint8))
        write_png(files["label"], box((10, 20, 10 + number % 5, 20 + number % 5)))
        item = {
            **{key: str(path) for key, path in files.items()},
            "subject": f"s{subject:02}",
            "pathology": "malignant" if malignant else "benign",
            "device": DEVICES[subject % 2],
            **about,
        }
        probability = np.clip(probability + (shift if malignant else -shift), 0, 1)
        image = np.full((1, *SHAPE), 90, np.uint8)
        return item, Case(mask(LESION), image, np.ones(SHAPE, bool), {"malignancy": np.float32(probability)})

    return make


def score_all(folder, pairs):
    """Evaluate pairs of an item and its case; the rows of the CSV and the JSON."""
    cases = {item["image"]: found for item, found in pairs}
    by_hand = SimpleNamespace(method=SimpleNamespace(name="by_hand"), weights=[], case=cases.__getitem__)
    items = [item for item, _ in pairs]
    evaluate(by_hand, items, output_dir=folder, split="validation", scoring=SCORING)
    return results(folder)


def results(folder):
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / "scores.json").read_text())


def test_texts_are_groups(case, tmp_path):
    rows, summary = score_all(tmp_path, [case(number) for number in range(24)])
    assert list(rows[0]) == ["case", "subject", "pathology", "device", *SCORES]
    assert {row["device"] for row in rows} == set(DEVICES)
    assert list(summary["scores"]) == SCORES
    assert list(summary["by_group"]) == ["pathology", "device"]
    for column, groups in summary["by_group"].items():
        for value, group in groups.items():
            members = [row for row in rows if row[column] == value]
            assert group["cases"] == len(members) == group["scores"]["dice"]["cases"]
            assert group["subjects"] == len({row["subject"] for row in members})
            mean = np.mean([float(row["dice"]) for row in members])
            assert group["scores"]["dice"]["mean"] == pytest.approx(mean)
    assert "malignancy_roc_auc" not in summary["by_group"]["pathology"]["benign"]
    members = [row for row in rows if row["device"] == DEVICES[1]]
    area = roc_area(
        [float(row["malignancy_probability"]) for row in members],
        [row["pathology"] == "malignant" for row in members],
        [row["subject"] for row in members],
    )
    assert summary["by_group"]["device"][DEVICES[1]]["malignancy_roc_auc"]["area"] == area.area
    back = read_rows(tmp_path / "scores.csv")
    assert dict(back[0].groups) == {"pathology": rows[0]["pathology"], "device": rows[0]["device"]}
    assert list(back[0].scores) == SCORES


def test_malignancy(case, tmp_path):
    rows, summary = score_all(tmp_path, [case(number) for number in range(48)])
    found = summary["malignancy"]
    assert (found["cases"], found["subjects"], found["positive"]) == (48, 24, 16)
    assert found["roc_auc"]["low"] < found["roc_auc"]["area"] < found["roc_auc"]["high"]
    assert found["before"]["brier"] == pytest.approx(summary["scores"]["brier"]["mean"])
    assert sum(entry["cases"] for entry in found["before"]["bins"]) == 48
    assert sum(entry["cases"] for entry in found["after"]["bins"]) == 48
    point = found["operating_point"]
    positive = [float(r["malignancy_probability"]) for r in rows if r["is_malignant"] == "1.0"]
    assert point["sensitivity"] == np.mean(np.array(positive) >= point["threshold"]) >= 0.95
    (line,) = (line for line in table(summary).splitlines() if line.startswith("malignancy: "))
    assert f"ROC area {found['roc_auc']['area']:.4f}" in line
    assert "16 of 48 malignant" in line


def test_cases_of_unknown_pathology():
    """Count in the mask's scores alone."""
    rows = [
        {"subject": "a", "malignancy_probability": 0.3, "is_malignant": None},
        {"subject": "b", "malignancy_probability": 0.3, "is_malignant": 0.0},
    ]
    assert summarise_question(rows[:1], Question(**QUESTION)) is None
    found = summarise_question(rows, Question(**QUESTION))
    assert found["cases"] == 1
    assert (found["roc_auc"]["area"], found["temperature"]) == (None, None)
    assert (found["after"], found["operating_point"]) == (None, None)
    assert found["before"]["brier"] == pytest.approx(0.09)


class Notes:
    """What a tracker was told."""

    def __init__(self):
        self.numbers, self.files, self.said = {}, [], {}

    def metrics(self, numbers, step):
        self.numbers |= numbers

    def tags(self, values):
        self.said |= values

    def artifact(self, path, folder=None):
        assert path.is_file()
        self.files.append(path.name)


@pytest.mark.seconds
def test_tracked(case, tmp_path):
    _, summary = score_all(tmp_path, [case(number) for number in range(48)])
    notes = Notes()
    log_scores(notes, tmp_path, {})
    assert notes.files == ["reliability.png", "scores.csv", "scores.json"]
    assert notes.said["mlflow.note.content"].startswith("dice ")
    found = summary["malignancy"]
    assert notes.numbers["final/malignancy_roc_auc"] == found["roc_auc"]["area"]
    assert notes.numbers["final/malignancy_temperature"] == found["temperature"]
    assert notes.numbers["final/malignancy_specificity_at_95"] == found["operating_point"]["specificity"]
    assert notes.numbers["final/dice"] == summary["scores"]["dice"]["mean"]
    picture = np.asarray(Image.open(tmp_path / "reliability.png"))
    assert picture.std() > 5


@pytest.mark.seconds
def test_tracked_with_one_class(case, tmp_path):
    score_all(tmp_path, [case(number, pathology="benign") for number in range(6)])
    notes = Notes()
    log_scores(notes, tmp_path, {})
    assert "final/malignancy_roc_auc" not in notes.numbers
    assert "final/malignancy_calibration_error" in notes.numbers
    assert "reliability.png" in notes.files


@pytest.mark.seconds
def test_folds_pooled(case, tmp_path):
    """The pooled cases are scored as if one network had seen to all, by group too."""
    cases = [case(number) for number in range(48)]
    for fold in range(3):
        score_all(tmp_path / f"fold_{fold}", [c for c in cases if int(c[0]["subject"][1:]) % 3 == fold])
    _pool(tmp_path, 3, SCORING)
    rows, pooled = results(tmp_path)
    _, whole = score_all(tmp_path / "whole", cases)
    assert pooled["split"] == "held out in 3 folds"
    assert len(rows) == 48
    assert pooled["malignancy"]["roc_auc"] == pytest.approx(whole["malignancy"]["roc_auc"])
    assert pooled["malignancy"]["temperature"] == pytest.approx(whole["malignancy"]["temperature"], rel=1e-4)
    for device in DEVICES:
        expected = whole["by_group"]["device"][device]["malignancy_roc_auc"]
        assert pooled["by_group"]["device"][device]["malignancy_roc_auc"] == pytest.approx(expected)
    notes = Notes()
    log_scores(notes, tmp_path, {})
    assert "reliability.png" in notes.files


@pytest.mark.seconds
def test_runs_compare(case, tmp_path):
    """By the mask or by the probability, and never by what the data say."""
    for name, shift in (("a", 0.0), ("b", 0.1)):
        score_all(tmp_path / name, [case(number, shift) for number in range(48)])
    comparison = compare_runs(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "out", "brier")
    assert comparison.verdict == "better"
    assert "is_malignant" not in comparison.scores
    assert comparison.directions["false_positives"] == comparison.directions["hd95_px"] == -1
    assert comparison.directions["lesion_sensitivity"] == 1


def test_other_tasks_get_no_groups(tmp_path):
    write_scores([CaseRow("a", "s", {"": {"dice": 0.5}})], tmp_path, {"split": "test"})
    assert list(results(tmp_path)[1]) == ["split", "scores", "groups"]
    assert results(tmp_path)[1]["groups"] == []


# --- pictures ---


def test_pictures(case, tmp_path):
    """Contours: violet around the false alarm, cyan around the miss; inside them the tissue stays grey."""
    score_all(tmp_path / "out", [case(number) for number in (0, 4)])
    same, shifted = (
        read_volume(tmp_path / "out" / "cases" / f"{name}.jpg").array.astype(int) for name in ("000", "004")
    )
    assert same.shape[1] / same.shape[2] == SHAPE[0] / SHAPE[1]
    scale = same.shape[2] / SHAPE[1]
    middle = int(15 * scale)
    assert np.abs(same[:, middle, middle] - 90).max() < 12
    blue_without_green = [int(((p[2] - p[1]) > 80).sum()) for p in (same, shifted)]
    assert blue_without_green[0] < blue_without_green[1]
