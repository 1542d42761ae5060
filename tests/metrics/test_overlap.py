"""Scores against scikit-learn, MONAI and hand-made cases; intervals and thresholds against known answers."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from monai.metrics import compute_confusion_matrix_metric, compute_dice, get_confusion_matrix
from skimage.morphology import skeletonize

from medseg.errors import DataError, LabelError
from medseg.metrics import overlap as metrics

SHAPES = [(23, 31), (7, 9, 11)]


def random_case(shape, seed=0, decimals=2, dtype=np.float32):
    """Probability with many ties, prediction, truth and field."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < 0.2
    probability = np.clip(rng.normal(0.35 + 0.3 * truth, 0.2), 0, 1).round(decimals).astype(dtype)
    return probability, probability >= 0.5, truth, rng.random(shape) < 0.7


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_match_scikit_learn(shape, seed, dtype):
    probability, prediction, truth, field = random_case(shape, seed, dtype=dtype)
    scores = metrics.score_case(probability, prediction, truth, field)
    p, m, t = probability[field], prediction[field], truth[field]
    expected = {
        "dice": sk.f1_score(t, m),
        "sensitivity": sk.recall_score(t, m),
        "specificity": sk.recall_score(t, m, pos_label=0),
        "balanced_accuracy": sk.balanced_accuracy_score(t, m),
        "mcc": sk.matthews_corrcoef(t, m),
        "roc_auc": sk.roc_auc_score(t, p),
        "average_precision": sk.average_precision_score(t, p),
    }
    assert {k: v for k, v in scores.items() if k != "cl_dice"} == pytest.approx(expected, rel=1e-12)
    assert all(type(v) is float for v in scores.values())


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_ranking_with_and_without_ties(decimals):
    probability, _, truth, _ = random_case((40, 50), decimals=decimals, dtype=np.float64)
    auc, ap = metrics.ranking_scores(probability, truth)
    assert auc == pytest.approx(sk.roc_auc_score(truth.ravel(), probability.ravel()), rel=1e-12)
    assert ap == pytest.approx(sk.average_precision_score(truth.ravel(), probability.ravel()), rel=1e-12)


@pytest.mark.parametrize(
    ("probability", "auc", "ap"),
    [([0.1, 0.2, 0.8, 0.9], 1.0, 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0, 5 / 12), ([0.5] * 4, 0.5, 0.5)],
)
def test_ranking_by_hand(probability, auc, ap):
    assert metrics.ranking_scores(np.array(probability), np.array([0, 0, 1, 1])) == pytest.approx((auc, ap))


def test_negative_zero_ties_with_zero():
    assert metrics.ranking_scores(np.array([-0.0, 0.0]), np.array([1, 0])) == (0.5, 0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_match_monai(shape):
    _, prediction, truth, _ = random_case(shape)
    counts = metrics.confusion(prediction, truth)
    p, t = (torch.tensor(a[None, None].astype(np.float32)) for a in (prediction, truth))
    assert counts.dice == pytest.approx(float(compute_dice(p, t)), abs=1e-6)
    matrix = get_confusion_matrix(p, t)
    assert matrix[0, 0].tolist() == [counts.tp, counts.fp, counts.tn, counts.fn]
    for name in ("sensitivity", "specificity", "balanced accuracy"):
        expected = compute_confusion_matrix_metric(name, matrix).item()
        assert getattr(counts, name.replace(" ", "_")) == pytest.approx(expected, abs=1e-6)
    mcc = compute_confusion_matrix_metric("matthews correlation coefficient", matrix).item()
    assert counts.mcc == pytest.approx(mcc, abs=1e-5)


def test_confusion_by_hand():
    counts = metrics.confusion(np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0]))
    assert counts == metrics.Confusion(tp=2, fp=1, fn=1, tn=2)
    assert (counts.dice, counts.mcc) == pytest.approx((2 / 3, 1 / 3))


def test_mcc_of_a_large_volume_does_not_overflow():
    prediction = np.zeros((200, 200, 200), dtype=bool)
    prediction[:100] = True
    assert metrics.confusion(prediction, prediction).mcc == 1.0
    assert metrics.Confusion(10**8, 0, 0, 10**8).mcc == 1.0


@pytest.mark.parametrize("bad_outside", [True, False])
def test_nothing_outside_the_field_is_read(bad_outside):
    probability, prediction, truth, _ = random_case((40, 40), seed=3)
    field = np.zeros((40, 40), dtype=np.uint8)
    field[5:30, 8:33] = 1
    expected = metrics.score_case(probability, prediction, truth, field)
    probability, prediction, truth = probability.copy(), prediction.astype(int), truth.astype(int)
    outside = field == 0
    probability[outside], prediction[outside] = (np.nan, 7) if bad_outside else (1, 1)
    truth[outside] = 255 if bad_outside else 1
    assert metrics.score_case(probability, prediction, truth, field) == expected
    crop = (slice(5, 30), slice(8, 33))
    assert metrics.score_case(probability[crop], prediction[crop], truth[crop]) == expected
    assert metrics.best_threshold([probability], [truth], [field]) == metrics.best_threshold(
        [probability[crop]], [truth[crop]], [None]
    )


def test_empty_truth():
    zeros = np.zeros((6, 6))
    scores = metrics.score_case(zeros, zeros, zeros)
    undefined = {"sensitivity", "balanced_accuracy", "mcc", "roc_auc", "average_precision", "cl_dice"}
    assert {k for k, v in scores.items() if v is None} == undefined
    assert (scores["dice"], scores["specificity"]) == (1.0, 1.0)
    false_positive = zeros.copy()
    false_positive[2, 3] = 1
    assert metrics.score_case(zeros, false_positive, zeros)["dice"] == 0.0


def test_full_truth_has_no_specificity():
    ones = np.ones((6, 6))
    scores = metrics.score_case(ones, ones, ones)
    undefined = {"specificity", "balanced_accuracy", "mcc", "roc_auc"}
    assert {k for k, v in scores.items() if v is None} == undefined
    assert scores["dice"] == scores["average_precision"] == scores["cl_dice"] == 1.0


def test_empty_prediction_counts_as_a_miss():
    truth = np.zeros((6, 6))
    truth[3] = 1
    scores = metrics.score_case(truth * 0.3, truth * 0, truth)
    assert scores["dice"] == scores["cl_dice"] == scores["sensitivity"] == 0.0
    assert scores["mcc"] == sk.matthews_corrcoef(truth.ravel(), truth.ravel() * 0) == 0.0
    assert scores["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("volume", [False, True])
def test_cl_dice_by_hand(volume):
    truth, prediction = np.zeros((2, 5, 20), dtype=bool)
    truth[2, 2:18] = True  # lines one pixel wide are their own skeletons: 16 long
    prediction[2, 2:10] = True  # half of it
    prediction[0, 2:6] = True  # and 4 pixels beside
    if volume:
        truth, prediction = (np.stack([np.zeros_like(a), a, np.zeros_like(a)]) for a in (truth, prediction))
    precision, sensitivity = 8 / 12, 8 / 16
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert metrics.cl_dice(prediction, truth) == pytest.approx(expected)


def test_cl_dice_looks_at_topology_not_width():
    truth, thick, broken = np.zeros((3, 15, 60), dtype=bool)
    truth[6:9, 5:55] = True
    thick[5:10, 4:56] = True
    broken[6:9, 5:55] = True
    broken[:, 25:35] = False
    assert metrics.cl_dice(thick, truth) == 1.0
    assert metrics.cl_dice(broken, truth) == pytest.approx(
        39 / 44
    )  # 10 of 50 columns are gone, and the skeleton ends with them
    assert metrics.confusion(broken, truth).dice > metrics.confusion(thick, truth).dice


def test_cl_dice_of_a_vanishing_skeleton_is_none():
    corner, line = np.zeros((2, 6, 6, 6), dtype=bool)
    corner[2, 2, 2] = corner[2, 2, 3] = corner[3, 2, 2] = True
    line[2, 2, 2:5] = True
    if skeletonize(corner).any():
        pytest.skip("this scikit-image keeps the structure")
    assert metrics.cl_dice(corner, corner) is None
    assert metrics.cl_dice(corner, line) is None  # touches the line, precision unknown
    assert metrics.cl_dice(np.roll(corner, 2, axis=1), line) == 0.0


@pytest.mark.parametrize("part", ["prediction", "truth", "field_of_view"])
@pytest.mark.parametrize(
    "wrong", [np.ones((4, 6)), np.full((4, 5), 2), np.full((4, 5), np.nan), np.ones((1, 4, 5))]
)
def test_a_wrong_mask_is_a_label_error(part, wrong):
    case = {name: np.ones((4, 5)) for name in ("probability", "prediction", "truth", "field_of_view")}
    with pytest.raises(LabelError, match=r"expected .*; got "):
        metrics.score_case(**(case | {part: wrong}))


@pytest.mark.parametrize(
    "wrong", [np.ones((4, 6)), np.full((4, 5), 1.1), np.full((4, 5), -0.1), np.full((4, 5), np.nan)]
)
def test_a_wrong_probability_is_a_data_error(wrong):
    ones = np.ones((4, 5))
    with pytest.raises(DataError, match="probabilit"):
        metrics.score_case(wrong, ones, ones)
    with pytest.raises(DataError, match="probabilit"):
        metrics.best_threshold([wrong], [ones], [None])


def test_an_empty_field_and_extra_axes_are_errors():
    ones = np.ones((4, 5))
    with pytest.raises(DataError, match="at least one pixel"):
        metrics.score_case(ones, ones, ones, np.zeros((4, 5)))
    with pytest.raises(LabelError, match="2 or 3 axes"):
        metrics.cl_dice(np.ones((1, 1, 4, 5)), np.ones((1, 1, 4, 5)))


def interval(values, subjects) -> tuple[float, float, float]:
    mean, low, high = metrics.bootstrap_interval(list(values), list(subjects))
    assert mean is not None
    assert low is not None
    assert high is not None
    return mean, low, high


def test_interval_of_a_known_case():
    values = np.random.default_rng(1).normal(0.8, 0.05, 200)
    mean, low, high = interval(values, map(str, range(200)))
    half = 1.96 * values.std() / np.sqrt(200)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.15 * half)


@pytest.mark.seconds
def test_interval_covers_the_true_mean():
    rng = np.random.default_rng(2)
    subjects = [f"s{i}" for i in range(40) for _ in range(2)]
    hits = 0
    for _ in range(400):  # two correlated eyes of 40 people; true mean 0
        values = np.repeat(rng.normal(size=40), 2) + rng.normal(scale=0.3, size=80)
        _, low, high = interval(values, subjects)
        hits += low <= 0 <= high
    assert 0.91 < hits / 400 < 0.98


def test_identical_cases_of_a_subject_do_not_narrow_the_interval():
    values = list(np.random.default_rng(3).random(12))
    subjects = [f"s{i:02}" for i in range(12)]
    once = interval(values, subjects)
    assert metrics.bootstrap_interval(values * 5, subjects * 5) == pytest.approx(once)
    naive = interval(values * 5, map(str, range(60)))
    assert naive[2] - naive[1] < 0.6 * (once[2] - once[1])


def test_interval_weighs_cases_and_ignores_their_order():
    assert interval([1.0, 1.0, 1.0, 0.0], "aaab") == (0.75, 0.0, 1.0)
    rng = np.random.default_rng(4)
    values, subjects, order = rng.random(30), np.repeat(list("abcdefghij"), 3), rng.permutation(30)
    assert interval(values[order], subjects[order]) == pytest.approx(interval(values, subjects))


def test_undefined_values_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.INFO, logger="medseg.metrics.overlap"):
        result = metrics.bootstrap_interval([0.2, None, 0.4, None], ["a", "b", "c", "c"])
    assert result == metrics.bootstrap_interval([0.2, 0.4], ["a", "c"])
    assert "2 of 4" in caplog.text
    assert metrics.bootstrap_interval([None], ["a"]) == (None, None, None)
    assert metrics.bootstrap_interval([0.2, 0.4], ["a", "a"]) == (pytest.approx(0.3), None, None)


@pytest.mark.parametrize(("values", "subjects"), [([0.1], ["a", "b"]), ([0.1, float("nan")], ["a", "b"])])
def test_wrong_values_are_data_errors(values, subjects):
    with pytest.raises(DataError):
        metrics.bootstrap_interval(values, subjects)


def test_summarise():
    cases: list[dict[str, float | None]] = [
        {"dice": 1.0, "mcc": None},
        {"dice": 0.5, "mcc": 0.4},
        {"dice": 0.6, "mcc": 0.2},
    ]
    summary = metrics.summarise(cases, ["a", "b", "b"])
    mean, low, high = metrics.bootstrap_interval([1.0, 0.5, 0.6], ["a", "b", "b"])
    assert summary["dice"] == {"mean": mean, "low": low, "high": high, "cases": 3, "subjects": 2}
    assert summary["mcc"] == {
        "mean": pytest.approx(0.3), "low": None, "high": None, "cases": 2, "subjects": 1
    }  # fmt: skip


@pytest.mark.parametrize("cases", [[], [{"dice": 1.0}, {"mcc": 1.0}], [{"dice": 1.0}]])
def test_summarise_wants_cases_of_one_kind(cases):
    with pytest.raises(DataError):
        metrics.summarise(cases, ["a", "b"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("decimals", [2, 6])  # 2: many probabilities lie exactly on the grid
def test_best_threshold_matches_brute_force(dtype, decimals):
    cases = [random_case((30, 30), seed, decimals, dtype) for seed in range(4)]
    cases.append((cases[0][0], None, np.zeros((30, 30)), cases[0][3]))
    probabilities, _, truths, fields = zip(*cases, strict=True)
    grid = [percent / 100 for percent in range(5, 96)]
    dice = [
        np.mean(
            [
                metrics.confusion(p >= t, r, f).dice
                for p, r, f in zip(probabilities, truths, fields, strict=True)
            ]
        )
        for t in grid
    ]
    threshold, best = metrics.best_threshold(probabilities, truths, fields)
    assert best == pytest.approx(max(dice), rel=1e-12)
    assert threshold == grid[int(np.argmax(dice))]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 0.9, 0.5), (0.1, 0.3, 0.3), (0.7, 0.9, 0.71), (0.0, 0.02, 0.5)]
)
def test_best_threshold_ties_go_towards_a_half(low, high, expected):
    probability, truth = np.array([low, high]), np.array([False, True])
    threshold, dice = metrics.best_threshold([probability], [truth], [None])
    assert (threshold, dice) == (expected, 0.0 if high < 0.05 else 1.0)


def test_best_threshold_wants_equally_many():
    ones = np.ones((2, 2))
    wrong: list[tuple[list, list, list]] = [
        ([], [], []),
        ([ones], [ones], []),
        ([ones, ones], [ones], [None]),
    ]
    for arguments in wrong:
        with pytest.raises(DataError):
            metrics.best_threshold(*arguments)
