"""Results of a study: the best trial, the Pareto front, tables and pictures."""

import csv

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from PIL import Image
from tuning_plan import plan_in

from medseg.tuning.plots import draw_all
from medseg.tuning.results import best, pareto_front, summary_text, write_csv
from medseg.tuning.study import DEFAULT, REASON, SECONDS

DISTRIBUTIONS = {
    "sigma": IntDistribution(5, 60),
    "feature": CategoricalDistribution(("gaussian@1", "gaussian@2")),
}


def study_of(*rows):
    """Rows of (state, score, seconds)."""
    study = optuna.create_study(direction="maximize")
    for number, (state, score, seconds) in enumerate(rows):
        attributes = {} if seconds is None else {SECONDS: seconds}
        attributes |= {DEFAULT: True} if number == 0 else {}
        attributes |= {REASON: "out of memory"} if state == "FAIL" else {}
        params = {"sigma": 10 + number, "feature": f"gaussian@{1 + number % 2}"}
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=score,
                params=params,
                distributions=DISTRIBUTIONS,
                user_attrs=attributes,
            )
        )
    return study


@pytest.fixture
def study():
    return study_of(
        ("COMPLETE", 0.60, 2.0),
        ("COMPLETE", 0.70, 3.0),
        ("COMPLETE", 0.70, 2.5),
        ("FAIL", None, None),
        ("PRUNED", 0.9, None),
        ("COMPLETE", 0.50, 2.0),
        ("COMPLETE", 0.40, 0.5),
        ("COMPLETE", 0.69, 9.0),
    )


def test_the_best_is_complete_and_the_first_of_equal_ones(study):
    assert best(study.trials).number == 1
    assert best(study_of(("FAIL", None, None)).trials) is None


def test_the_pareto_front(study):
    """Nothing on it is beaten in score by a trial that takes no longer."""
    assert [trial.number for trial in pareto_front(study.trials)] == [6, 0, 2]


def test_the_table_has_every_trial(study, tmp_path):
    write_csv(study.trials, plan_in(tmp_path), tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows].count("complete") == 6
    assert [row["trial"] for row in rows if row["pareto_front"] == "yes"] == ["0", "2", "6"]
    assert (rows[1]["dice"], rows[1]["sigma"], rows[1]["feature"]) == ("0.7", "11", "gaussian@2")
    assert rows[3]["reason"] == "out of memory"


def test_the_summary(study, tmp_path):
    text = summary_text(study.trials, plan_in(tmp_path))
    assert "6 complete, 1 fail, 1 pruned" in text
    assert "0 (default)" in text
    assert "trial 3 failed: out of memory" in text
    assert text.index("0.7000") < text.index("0.6000")


def test_the_summary_of_a_study_without_a_complete_trial(tmp_path):
    assert "1 fail" in summary_text(study_of(("FAIL", None, None)).trials, plan_in(tmp_path))
    assert "no trials" in summary_text([], plan_in(tmp_path))


def test_the_pictures(study, tmp_path):
    plan = plan_in(tmp_path)
    plan.output_dir.mkdir()
    files = draw_all(study, plan)
    assert [file.name for file in files] == [
        "history.png",
        "importances.png",
        "slices.png",
        "pareto_front.png",
    ]
    for file in files:
        pixels = np.asarray(Image.open(file).convert("L"))
        assert min(pixels.shape) > 200
        assert (pixels < 128).mean() > 0.002


def test_no_picture_of_one_trial_and_no_importances_of_equal_scores(tmp_path):
    plan = plan_in(tmp_path)
    plan.output_dir.mkdir()
    assert draw_all(study_of(("COMPLETE", 0.5, 1.0)), plan) == []
    drawn = draw_all(study_of(("COMPLETE", 0.5, 1.0), ("COMPLETE", 0.5, 2.0)), plan)
    assert {"history.png", "slices.png", "pareto_front.png"} <= {file.name for file in drawn}
