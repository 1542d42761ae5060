"""Comparing two runs: nothing is claimed that the cases can't show, and the page says what is."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medseg.errors import DataError, MedsegError, UsageError
from medseg.evaluation.comparison import compare, compare_runs, worst_cases
from medseg.evaluation.past_runs import CaseRow, RunScores, load_run, picture
from medseg.metrics.significance import BETTER, NO_DIFFERENCE, WORSE

GAINS = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]


def run_of(dice, subjects=None, name="a", **more):
    """A run with these Dice values, the cases c0, c1, ..., each of a person of its own."""
    subjects = subjects or [f"s{i}" for i in range(len(dice))]
    rows = [
        CaseRow(f"c{i}", s, {"": {"dice": d}}) for i, (d, s) in enumerate(zip(dice, subjects, strict=True))
    ]
    return RunScores(name=name, source="folder", rows=tuple(rows), **more)


def pair_of(gains, subjects=None):
    """Two runs, B better by these gains."""
    return run_of([0.5] * len(gains), subjects), run_of([0.5 + gain for gain in gains], subjects, name="b")


def folder_of(path, rows, parameters=None, pictures=()):
    """A folder as `medseg evaluate` leaves it; rows of case, subject and scores."""
    (path / "cases").mkdir(parents=True)
    with (path / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if parameters is not None:
        (path / "parameters.json").write_text(json.dumps(parameters))
    for case, colour in dict(pictures).items():
        Image.new("RGB", (1400, 700), colour).save(path / "cases" / f"{case}.jpg")
    return path


def rows_of(dice, **more):
    return [{"case": f"c{i}", "subject": f"s{i}", "dice": d, **more} for i, d in enumerate(dice)]


class TestCompare:
    def test_better_and_worse_mirror_each_other(self):
        a, b = pair_of(GAINS)
        forth, back = compare(a, b), compare(b, a)
        assert (forth.verdict, back.verdict) == (BETTER, WORSE)
        assert forth.scores["dice"].difference == pytest.approx(0.045)
        assert back.scores["dice"].difference == pytest.approx(-0.045)
        assert forth.scores["dice"].low == pytest.approx(-back.scores["dice"].high)
        assert forth.sentence.startswith("B is better than A: mean dice 0.5000 in A and 0.5450 in B")
        assert "+0.0450" in forth.sentence
        assert "p = 0.0078; 8 subjects, 8 cases" in forth.sentence
        assert "-0.0450" in back.sentence

    def test_lower_is_better(self):
        a, b = (
            RunScores(
                run.name,
                "folder",
                tuple(row._replace(by_label={"": {"hd95": row.scores["dice"]}}) for row in run.rows),
            )
            for run in pair_of(GAINS)
        )
        assert compare(a, b, "hd95").verdict == WORSE
        better = compare(b, a, "hd95")
        assert better.verdict == BETTER
        assert better.directions == {"hd95": -1}
        assert list(worst_cases(compare(a, b, "hd95"))) == ["c7", "c6", "c5"]

    def test_equal(self):
        comparison = compare(*pair_of([0.0] * 9))
        assert comparison.verdict == NO_DIFFERENCE
        assert comparison.scores["dice"].p == 1.0
        assert "All differences of the subjects are 0, so p = 1." in comparison.sentence

    def test_noise_around_zero(self):
        comparison = compare(*pair_of([0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07, -0.035]))
        assert comparison.verdict == NO_DIFFERENCE
        assert comparison.sentence.endswith("That does not prove that they are equal.")
        six = compare(*pair_of([0.01, -0.02, 0.03, -0.04, 0.05, -0.06]))
        assert six.sentence.endswith("That does not prove that they are equal.")

    @pytest.mark.parametrize("n", [2, 3, 5])
    def test_few_cases_claim_nothing(self, n):
        comparison = compare(*pair_of([0.4] * n))
        assert comparison.verdict == NO_DIFFERENCE
        assert (
            f"With {n} subjects no result can reach p < 0.05: at least 6 must differ." in comparison.sentence
        )

    def test_few_subjects_that_differ(self):
        sentence = compare(*pair_of([0.1, 0.2, 0.15, *[0.0] * 7])).sentence
        assert "With 10 subjects, of whom 3 differ, no result can reach p < 0.05" in sentence

    def test_one_person(self):
        comparison = compare(*pair_of(GAINS, ["anna"] * 8))
        assert comparison.verdict == NO_DIFFERENCE
        assert "no interval from one subject" in comparison.sentence
        assert "1 subject, 8 cases" in comparison.sentence
        assert "With 1 subject no result" in comparison.sentence

    def test_six_subjects_are_enough_and_warned_about(self):
        comparison = compare(*pair_of(GAINS[:6]))
        assert comparison.verdict == BETTER
        assert "With 6 subjects the interval is likely too narrow." in comparison.warnings
        assert not compare(*pair_of([0.01 * i for i in range(1, 21)])).warnings

    def test_cases_of_one_run_are_left_out_and_named(self):
        a, b = pair_of(GAINS)
        comparison = compare(a, run_of([0.5] * 6, name="b"))
        assert comparison.scores["dice"].cases == 6
        only = "2 cases (c6, c7) are only in run {} and left out. If run {} failed there, it looks too good."
        assert only.format("A", "B") in comparison.warnings
        assert only.format("B", "A") in compare(run_of([0.5] * 6), b).warnings
        assert "8 cases" in compare(a, b).sentence

    def test_undefined_cells_are_left_out_and_named(self):
        comparison = compare(run_of([0.5, None, 0.5]), run_of([0.6, 0.6, None]))
        assert comparison.scores["dice"].cases == 1
        assert [case.difference for case in comparison.cases] == [0.1, None, None]
        assert "1 case (c1) is without dice in run A and left out." in comparison.warnings
        assert "1 case (c2) is without dice in run B and left out." in comparison.warnings

    def test_order_of_cases_does_not_matter(self):
        a, b = pair_of(GAINS)
        shuffled = RunScores(b.name, "folder", b.rows[::-1])
        assert compare(a, shuffled) == compare(a, b)

    def test_refuses_what_can_not_be_paired(self):
        a, _ = pair_of(GAINS)
        other = RunScores("b", "folder", tuple(row._replace(case=f"x{row.case}") for row in a.rows))
        with pytest.raises(DataError, match="none among the 8 of a and the 8 of b"):
            compare(a, other)
        with pytest.raises(DataError, match="case c0 with subject s0 in A and t0 in B"):
            compare(a, run_of([0.5], ["t0"]))
        with pytest.raises(DataError, match="a case with dice in both runs; got none of 2"):
            compare(run_of([None, 0.5]), run_of([0.5, None]))

    @pytest.mark.seconds
    def test_refuses_a_score_that_it_can_not_judge(self):
        a, b = (
            RunScores(name, "folder", tuple(CaseRow(f"c{i}", f"s{i}", {"": scores}) for i in range(8)))
            for name, scores in (
                ("a", {"dice": 0.5, "loss": 1.0, "volume_error_ml": -1.0}),
                ("b", {"dice": 0.6, "loss": 2.0, "volume_error_ml": 1.0}),
            )
        )
        with pytest.raises(UsageError, match=r"Did you mean dice\?"):
            compare(a, b, "dise")
        with pytest.raises(
            UsageError, match=r"\(high or low is good\) is known; got loss. Choose one of dice"
        ):
            compare(a, b, "loss")
        with pytest.raises(DataError, match="a negative value for c0"):
            compare(a, b, "volume_error_ml")
        assert compare(a, b).directions == {"dice": 1, "loss": None, "volume_error_ml": -1}

    def test_other_scores_do_not_decide(self):
        def run(dice, recall):
            scores = [{"dice": value, "recall": recall} for value in dice]
            rows = [CaseRow(f"c{i}", f"s{i}", {"": found}) for i, found in enumerate(scores)]
            return RunScores("x", "folder", tuple(rows))

        comparison = compare(run([0.5] * 8, 0.9), run([0.5 + gain for gain in GAINS], 0.1))
        assert comparison.verdict == BETTER
        assert comparison.scores["recall"].difference == pytest.approx(-0.8)

    def test_warns_of_other_data(self):
        a, b = run_of([0.5] * 3, dataset_digest="d1"), run_of([0.5] * 3, dataset_digest="d2")
        assert any("different versions of the data (d1 and d2)" in text for text in compare(a, b).warnings)
        for same in (compare(a, a), compare(a, run_of([0.5] * 3))):
            assert not any("versions of the data" in text for text in same.warnings)

    def test_second_observer_tells_whether_the_references_are_the_same(self):
        def run(observer):
            scores = {"dice": 0.5, "second_observer_dice": observer}
            return RunScores("x", "folder", tuple(CaseRow(f"c{i}", f"s{i}", {"": scores}) for i in range(3)))

        assert any(
            "not scored against the same masks" in text for text in compare(run(0.8), run(0.7)).warnings
        )
        same = compare(run(0.8), run(0.8))
        assert not any("same masks" in text for text in same.warnings)
        assert list(same.scores) == ["dice"]
        with pytest.raises(UsageError, match="a score that both runs have"):
            compare(run(0.8), run(0.8), "second_observer_dice")

    def test_warns_of_scores_and_runs_that_are_not_whole(self):
        a = RunScores("a", "folder", (CaseRow("c", "s", {"": {"dice": 0.5, "mcc": 0.5}}),))
        row = CaseRow("c", "s", {"": {"dice": 0.5}})
        b = RunScores("b", "folder", (row,), warnings=("its status is FAILED",))
        comparison = compare(a, b)
        assert "Scores in one run only, not compared: mcc." in comparison.warnings
        assert "Run B: its status is FAILED." in comparison.warnings
        assert list(comparison.scores) == ["dice"]

    @pytest.mark.parametrize(("trained", "said"), [("yes", True), ("no", False)])
    def test_warns_of_cases_that_trained_the_weights(self, trained, said):
        a, b = pair_of(GAINS)
        rows = (b.rows[0]._replace(groups={"trained": trained}), *b.rows[1:])
        marked = RunScores("b", "folder", rows)
        text = "1 case (c0) is among those that trained the weights of run {}, which looks too good."
        assert (text.format("B") in compare(a, marked).warnings) is said
        assert (text.format("A") in compare(marked, a).warnings) is said
        assert not any("trained" in warning for warning in compare(a, b).warnings)

    def test_a_case_that_is_not_compared_is_not_warned_about(self):
        a, b = pair_of(GAINS)
        more = CaseRow("c9", "s9", {"": {"dice": 0.9}}, {"trained": "yes"})
        warnings = compare(a, RunScores("b", "folder", (*b.rows, more))).warnings
        assert not any("trained" in warning for warning in warnings)

    def test_only_parameters_that_differ(self):
        a = run_of([0.5], parameters={"rate": "0.1", "epochs": "40", "old": "x"})
        b = run_of([0.5], parameters={"rate": "0.2", "epochs": "40", "new": "None"})
        assert compare(a, b).parameters == {"new": (None, "None"), "old": ("x", None), "rate": ("0.1", "0.2")}

    def test_worst_cases(self):
        a = run_of([0.9, 0.2, 0.8, 0.7, 0.6, 0.5, None])
        b = run_of([0.8, 0.3, 0.75, 0.71, 0.61, 0.52, 0.1])
        assert worst_cases(compare(a, b)) == {
            "c0": ["largest loss from A to B"],
            "c2": ["largest loss from A to B"],
            "c1": ["worst in B"],
            "c5": ["worst in B"],
            "c4": ["worst in B"],
        }

    def test_table(self):
        a, b = pair_of(GAINS)
        a = RunScores("base", "folder", a.rows, {"rate": "0.1", "text": "x" * 99})
        text = str(compare(a, RunScores("wide", "MLflow run 77", b.rows, {"rate": "0.2"})))
        lines = [line.split() for line in text.splitlines()]
        assert lines[0] == ["A:", "base", "(folder)"]
        assert lines[1] == ["B:", "wide", "(MLflow", "run", "77)"]
        assert ["rate", "0.1", "0.2"] in lines
        assert ["text", "x" * 37 + "...", "-"] in lines
        row = next(line for line in lines if line[:1] == ["dice"])
        assert row[1:4] == ["0.5000", "0.5450", "+0.0450"]
        assert row[-3:] == ["0.0078", "8", "8"]
        assert text.splitlines()[-2].startswith("warning: With 8 subjects")
        assert text.splitlines()[-1].startswith("B is better than A: ")

    def test_one_subject_gives_no_interval(self):
        lines = str(compare(run_of([0.5]), run_of([0.6]))).splitlines()
        row = next(line for line in lines if line.startswith("dice"))
        assert "none (1 subject)" in row
        assert "- to -" not in "".join(lines)
        assert "no interval from one subject" in lines[-1]


class TestFolder:
    def test_reads_what_evaluate_writes(self, tmp_path):
        from medseg.evaluation.past_runs import PARAMETERS_JSON, PICTURES
        from medseg.evaluation.score_files import write_scores

        folder = tmp_path / "out" / "base"
        (folder / PICTURES).mkdir(parents=True)
        rows = (
            CaseRow("01, left", "anna", {"": {"dice": 1 / 3, "mcc": None}}),
            CaseRow("ü 02", "ben", {"": {"dice": 0.5, "mcc": -0.25}}),
        )
        write_scores(rows, folder, {"split": "test"})
        (folder / PARAMETERS_JSON).write_text('{"rate": 0.001, "amp": true, "dataset_digest": "d"}')
        run = load_run(str(folder))
        assert run.rows == rows
        assert run.parameters == {"rate": "0.001", "amp": "True", "dataset_digest": "d"}
        assert (run.name, run.source, run.dataset_digest) == ("out/base", "folder", "d")
        assert run.pictures == folder / PICTURES

    def test_bare(self, tmp_path):
        (tmp_path / "scores.csv").write_text("\ufeffcase,subject,dice\na,s,0.5\n", encoding="utf-8")
        run = load_run(str(tmp_path))
        assert run.rows == (CaseRow("a", "s", {"": {"dice": 0.5}}),)
        assert (run.parameters, run.pictures, run.dataset_digest) == ({}, None, None)
        assert picture(run, "a", tmp_path) is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", r"the columns \(none\)"),
            ("case,dice\na,0.5\n", "the columns case, dice"),
            ("case,subject\na,s\n", "the columns case, subject"),
            ("case;subject;dice\na;s;0,5\n", "the columns case;subject;dice"),
            ("case,subject,dice,dice\na,s,1,1\n", "each once"),
            ("case,subject,dice\n", "at least one case"),
            ("case,subject,dice\na,s,0.5\na,s,0.6\n", "a more than once"),
            ("case,subject,dice\na,s\n", "more or fewer for case a"),
            ("case,subject,dice\na,s,0.5,7\n", "more or fewer for case a"),
            ("case,subject,dice\na,,0.5\n", "case 'a' without one"),
            ("case,subject,dice\n,s,0.5\n", "case '' without one"),
            ("case,subject,dice\na,s,nan\n", "'nan' as dice of a"),
            ("case,subject,dice\na,s,inf\n", "'inf' as dice of a"),
            ("case,subject,dice\na,s,good\n", "'good' as dice of a"),
            ("case,subject,label,dice\na,s,lung,0.5\na,s,lung,0.6\n", "a more than once"),
            ("case,subject,label,dice\na,s,lung,0.5\na,t,airway,0.6\n", "a of several"),
            ("case,subject,label\na,s,lung\n", "the columns case, subject, label"),
            ("case,subject,label,dice\na,s,lung,nan\n", "'nan' as dice of a"),
            ('case,subject,dice\n"a,s,0.5\n', "comma-separated text"),
            ("case,subject,dice\n\xff,s,0.5\n", "UTF-8"),
        ],
    )
    def test_refuses_scores_that_can_not_be_trusted(self, tmp_path, text, said):
        (tmp_path / "scores.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=said):
            load_run(str(tmp_path))

    @pytest.mark.parametrize("text", ["[1, 2]", "{", "\xff"])
    def test_refuses_parameters_that_are_none(self, tmp_path, text):
        folder = folder_of(tmp_path / "a", rows_of([0.5]))
        (folder / "parameters.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=r"parameters\.json"):
            load_run(str(folder))

    def test_a_folder_without_scores(self, tmp_path):
        with pytest.raises(DataError, match=r"a folder with scores\.csv"):
            load_run(str(tmp_path))

    @pytest.mark.parametrize("case", ["../secret", "/secret", "..", "cases/../../secret", "x" * 300, "\0"])
    def test_a_case_name_leads_to_no_other_folder(self, tmp_path, case):
        folder = folder_of(tmp_path / "a", rows_of([0.5]))
        for place in (tmp_path, folder):
            (place / "secret.jpg").write_text("x")
        assert picture(load_run(str(folder)), case, tmp_path) is None

    @pytest.mark.seconds
    def test_works_without_mlflow(self, tmp_path):
        for name, dice in (("a", 0.5), ("b", 0.6)):
            folder_of(tmp_path / name, rows_of([dice] * 8), {}, {"c0": "red"})
        code = """if True:
            import sys
            sys.modules["mlflow"] = None
            from medseg.evaluation.comparison import compare_runs
            print(compare_runs("a", "b", "out").verdict)
            print({"torch", "monai", "ignite"} & set(sys.modules))
            from medseg.errors import UsageError
            try:
                compare_runs("a", "c", "out")
            except UsageError as error:
                print(error)
        """
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.splitlines()[:2] == ["better", "set()"], done.stderr
        assert "pip install 'medseg[train]'" in done.stdout.splitlines()[2]


@pytest.fixture
def log_run(mlflow_client, tmp_path):
    """Make a run in the store, with an evaluation's artifacts; returns its id."""
    experiment = mlflow_client.create_experiment("vessels", artifact_location=(tmp_path / "art").as_uri())

    def log(name, rows, parameters=(), pictures=(), digests=(), status="FINISHED", tags=()):
        from mlflow.entities import Dataset, DatasetInput, InputTag

        run_id = mlflow_client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id
        for key, value in dict(parameters).items():
            mlflow_client.log_param(run_id, key, value)
        for context, digest in dict(digests).items():
            dataset = Dataset(name="drive", digest=digest, source_type="local", source="{}")
            entry = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
            mlflow_client.log_inputs(run_id, [entry])
        if rows:
            folder = folder_of(tmp_path / "logged" / run_id, rows, pictures=pictures)
            mlflow_client.log_artifact(run_id, str(folder / "scores.csv"), "scores")
            mlflow_client.log_artifacts(run_id, str(folder / "cases"), "cases")
        mlflow_client.set_terminated(run_id, status)
        return run_id

    return log


@pytest.mark.seconds
class TestMlflow:
    def test_by_id_and_by_name(self, log_run):
        run_id = log_run(
            "base",
            rows_of([0.5, None], mcc=0.25),
            parameters={"rate": 0.001, "amp": True},
            tags={"mlflow.source.git.commit": "abc", "host.name": "x", "mlflow.user": "anna"},
            digests={"training": "t", "validation": "v"},
        )
        log_run("other", rows_of([0.7]))
        run = load_run(run_id)
        assert run == load_run("base")
        assert (run.name, run.source, run.run_id) == ("base", f"MLflow run {run_id}", run_id)
        assert [row.scores for row in run.rows] == [{"dice": 0.5, "mcc": 0.25}, {"dice": None, "mcc": 0.25}]
        assert run.parameters == {"rate": "0.001", "amp": "True", "mlflow.source.git.commit": "abc"}
        assert run.dataset_digest == "v"
        assert run.warnings == ()

    def test_same_as_its_folder(self, log_run, tmp_path):
        run = load_run(log_run("base", rows_of([0.5, 0.25]), parameters={"rate": 0.001, "depth": None}))
        folder = load_run(
            str(folder_of(tmp_path / "f", rows_of([0.5, 0.25]), {"rate": 0.001, "depth": None}))
        )
        assert (run.rows, run.parameters) == (folder.rows, folder.parameters)

    def test_training_data_count_where_nothing_else_was_logged(self, log_run):
        assert load_run(log_run("one", rows_of([0.5]), digests={"training": "t"})).dataset_digest == "t"
        assert load_run(log_run("none", rows_of([0.5]))).dataset_digest is None

    def test_ambiguous_name(self, log_run):
        ids = [log_run("base", rows_of([0.5])) for _ in range(2)]
        with pytest.raises(UsageError, match="base, the name of 2 runs") as caught:
            load_run("base")
        assert all(run_id in str(caught.value) for run_id in ids)
        assert len(re.findall(r"vessels, started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", str(caught.value))) == 2

    def test_deleted_runs_have_no_name(self, log_run, mlflow_client):
        mlflow_client.delete_run(log_run("base", rows_of([0.5])))
        kept = log_run("base", rows_of([0.6]))
        assert load_run("base").run_id == kept

    @pytest.mark.parametrize("name", ["it's", 'the "best"', "a%", "0123456789abcdef" * 2])
    def test_odd_names(self, log_run, name):
        log_run("a b", rows_of([0.5]))
        assert load_run(log_run(name, rows_of([0.5]))) == load_run(name)

    def test_unknown_name(self, log_run):
        log_run("baseline", rows_of([0.5]))
        with pytest.raises(UsageError, match=r"got basline. Did you mean baseline\?"):
            load_run("basline")
        with pytest.raises(UsageError, match="Known names: baseline"):
            load_run("0" * 32)

    def test_empty_store(self, mlflow_client):
        with pytest.raises(UsageError, match="The MLflow store has no runs"):
            load_run("base")

    def test_no_store_is_made(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
        with pytest.raises(UsageError, match=r"neither a folder nor the store .*none\.db"):
            load_run("out/bse")
        assert not list(tmp_path.iterdir())

    def test_a_store_that_fails_is_said_without_its_password(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@127.0.0.1:9")
        with pytest.raises(MedsegError, match="an MLflow store that responds") as caught:
            load_run("base")
        assert "secret" not in str(caught.value)

    def test_run_without_scores(self, log_run):
        with pytest.raises(DataError, match=r"artifact scores/scores\.csv; got bare"):
            load_run(log_run("bare", None))

    def test_unfinished_run(self, log_run):
        run = load_run(log_run("base", rows_of([0.5]), status="FAILED"))
        assert run.warnings == ("its status in MLflow is FAILED",)

    def test_pages_of_a_search(self, log_run, mlflow_client, monkeypatch):
        from mlflow import MlflowClient

        run_id = log_run("base", rows_of([0.5]))
        mlflow_client.create_experiment("newer")  # which comes first
        search = MlflowClient.search_experiments
        monkeypatch.setattr(
            MlflowClient, "search_experiments", lambda self, **more: search(self, max_results=1, **more)
        )
        assert load_run("base").run_id == run_id

    def test_pictures(self, log_run, tmp_path):
        run = load_run(log_run("base", rows_of([0.5]), pictures={"c0": "red"}))
        with Image.open(picture(run, "c0", tmp_path)) as found:
            assert found.getpixel((5, 5))[0] > 240
        assert picture(run, "c1", tmp_path) is None
        assert picture(run, "../scores/scores", tmp_path) is None

    def test_against_a_folder(self, log_run, tmp_path):
        log_run("base", rows_of([0.5] * 8), pictures={"c0": "red"})
        folder_of(tmp_path / "b", rows_of([0.5 - gain for gain in GAINS]), {}, {"c7": "blue", "c0": "blue"})
        comparison = compare_runs("base", str(tmp_path / "b"), tmp_path / "out")
        assert comparison.verdict == WORSE
        page = Page((tmp_path / "out" / "comparison.html").read_text("utf-8"))
        assert len(page.pictures) == 1
        assert page.text.count("no picture") == 5


class Page(HTMLParser):
    """The text, tables, pictures and dots of a page."""

    def __init__(self, html):
        super().__init__()
        self.html, self.words, self.rows, self.pictures, self.dots = html, [], [], [], []
        self.in_cell = False
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.in_cell = True
            self.rows[-1].append("")
        if tag == "img":
            self.pictures.append(values)
        if tag == "circle" and "%" in values["cx"] and values["cx"] != "50%":
            self.dots.append((values["class"], float(values["cx"].rstrip("%"))))

    def handle_endtag(self, tag):
        self.in_cell &= tag not in ("td", "th")

    def handle_data(self, data):
        self.words.append(data)
        if self.in_cell and data.strip():
            self.rows[-1][-1] = (self.rows[-1][-1] + " " + data.strip()).strip()


@pytest.fixture
def written(tmp_path):
    """Compare two folders; the folder of the results."""

    def write(dice_a, dice_b, parameters_a=None, parameters_b=None, pictures=(), **more):
        for name, dice, parameters in (("a", dice_a, parameters_a), ("b", dice_b, parameters_b)):
            folder_of(tmp_path / name, rows_of(dice, **more), parameters, pictures)
        compare_runs(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "new" / "out")
        return tmp_path / "new" / "out"

    return write


class TestFiles:
    def test_json_and_csv(self, written):
        out = written([0.5] * 8, [0.5 + gain for gain in GAINS[:7]] + [None], {"rate": 1}, {"rate": 2})
        record = json.loads((out / "comparison.json").read_text("utf-8"), parse_constant=pytest.fail)
        assert (record["verdict"], record["score"]) == ("better", "dice")
        assert record["parameters"] == {"rate": ["1", "2"]}
        assert record["scores"]["dice"]["difference"] == pytest.approx(0.04)
        assert record["cases"][7] == {"case": "c7", "subject": "s7", "a": 0.5, "b": None, "difference": None}
        with (out / "comparison.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["case", "subject", "dice_a", "dice_b", "difference"]
        assert rows[1] == {
            "case": "c1",
            "subject": "s1",
            "dice_a": "0.5",
            "dice_b": "0.52",
            "difference": "0.02",
        }
        assert (rows[7]["dice_b"], rows[7]["difference"]) == ("", "")
        assert sorted(path.name for path in out.iterdir()) == [
            "comparison.csv",
            "comparison.html",
            "comparison.json",
        ]

    def test_a_full_disk_leaves_no_half_page(self, written, tmp_path, monkeypatch):
        out = written([0.5] * 3, [0.6] * 3)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        write = Path.write_text

        def fail(path, text, **more):
            write(path, text[:20], **more)
            if path.suffix == ".html":
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", fail)
        with pytest.raises(OSError, match="No space"):
            compare_runs(str(tmp_path / "a"), str(tmp_path / "a"), out)
        assert {path.name for path in out.iterdir()} == set(before)
        assert (out / "comparison.html").read_bytes() == before["comparison.html"]


class TestPage:
    def read(self, out):
        return Page((out / "comparison.html").read_text("utf-8"))

    @pytest.mark.parametrize(
        ("gains", "banner", "heading"),
        [
            (GAINS, "pass", "✓ B is better than A"),
            ([-gain for gain in GAINS], "fail", "✗ B is worse than A"),
            (GAINS[:3], "open", "No difference shown between A and B"),
        ],
    )
    def test_verdict(self, written, gains, banner, heading):
        page = self.read(written([0.5] * len(gains), [0.5 + gain for gain in gains]))
        assert f'class="banner {banner}"' in page.html
        assert heading in page.text
        assert f"Mean dice 0.5000 in A and {0.5 + np.mean(gains):.4f} in B" in page.text
        assert f"{len(gains)} subjects" in page.text

    def test_tables(self, written):
        page = self.read(
            written(
                [0.5] * 8,
                [0.5 + gain for gain in GAINS],
                {"rate": 0.1, "same": 1},
                {"rate": 0.2, "same": 1, "new": "x"},
                mcc="",
            )
        )
        assert ["rate", "0.1", "0.2"] in page.rows
        assert ["new", "not set", "x"] in page.rows
        assert not any(row[:1] == ["same"] for row in page.rows)
        dice = next(row for row in page.rows if row[0].startswith("Dice"))
        assert dice[0] == "Dice higher is better; decides"
        assert dice[1:4] == ["0.5000", "0.5450", "+0.0450"]
        assert dice[5:] == ["0.0078", "8 / 8"]
        mcc = next(row for row in page.rows if row[0].startswith("Mcc"))
        assert mcc[1:] == ["\N{EN DASH}"] * 5 + ["0 / 0"]
        assert "1 warning" in page.text
        assert "With 8 subjects the interval is likely too narrow." in page.text

    def test_no_parameters(self, written):
        assert "No recorded parameter differs." in self.read(written([0.5] * 3, [0.6] * 3)).text

    def test_dots_lie_where_the_scores_are(self, written):
        page = self.read(written([0.2, 0.4, 0.4], [0.4, 0.3, 0.4]))
        assert page.dots == [
            ("a loss", 96.0),
            ("b loss", pytest.approx(50.0)),
            ("a same", 96.0),
            ("b same", 96.0),
            ("a gain", 4.0),
            ("b gain", 96.0),
        ]
        assert "better in 1, worse in 1 and equal in 1 of 3 cases" in page.text
        assert [row[0] for row in page.rows if row[-1][1:] in ("0.1000", "0.0000", "0.2000")] == [
            "c1",
            "c2",
            "c0",
        ]

    def test_where_lower_is_better_a_rise_is_a_loss(self, tmp_path):
        for side, values in (("a", [4.0, 5.0, 6.0]), ("b", [7.0, 5.0, 4.0])):
            rows = [{"case": f"c{i}", "subject": f"s{i}", "hd95": value} for i, value in enumerate(values)]
            folder_of(tmp_path / side, rows)
        compare_runs(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "out", "hd95")
        page = self.read(tmp_path / "out")
        assert [kind for kind, _ in page.dots] == ["a loss", "b loss", "a same", "b same", "a gain", "b gain"]
        assert "Hd95: lower is better. B is better in 1, worse in 1 and equal in 1 of 3 cases" in page.text
        assert "Largest loss from A to B, worst in B. Hd95 4.0000 in A, 7.0000 in B (+3.0000)." in page.text

    def test_equal_runs_have_dots_too(self, written):
        page = self.read(written([0.5] * 3, [0.5] * 3))
        assert "equal in 3 of 3 cases" in page.text
        assert page.html.count('cx="50.00%"') == 6

    def test_of_many_cases_those_that_changed_most(self, written):
        rising = [0.5 + 0.001 * i for i in range(100)]
        page = self.read(written([0.55] * 100, rising))
        assert page.html.count('class="strip"><svg') == 60
        assert "The plot shows the 60 cases that changed most" in page.text
        cases = [row[0] for row in page.rows if len(row) == 5 and row[0].startswith("c")]
        assert cases == [f"c{i}" for i in (*range(30), *range(70, 100))]

    def test_worst_cases_with_both_pictures(self, written):
        page = self.read(
            written(
                [0.9, 0.8, 0.3, 0.7], [0.5, 0.9, 0.4, 0.8], pictures={"c0": "red", "c1": "blue", "c2": "lime"}
            )
        )
        assert [picture["alt"] for picture in page.pictures] == [
            f"Case {case} in run {side}" for case in ("c0", "c2") for side in "AB"
        ]
        assert (
            "Largest loss from A to B, worst in B. Dice 0.9000 in A, 0.5000 in B (\N{MINUS SIGN}0.4000)."
            in page.text
        )
        assert "A: 0.9000" in page.text
        assert page.text.count("no picture") == 2  # c3 has none in either run
        assert "false alarm" in page.text

    def test_pictures_are_reduced_jpegs(self, written):
        import base64
        import io

        page = self.read(written([0.5] * 3, [0.6] * 3, pictures={"c0": "red"}))
        kind, data = page.pictures[0]["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as found:
            assert found.size == (900, 450)

    def test_no_pictures(self, written):
        page = self.read(written([0.5] * 3, [0.6] * 3))
        assert "These runs have no pictures." in page.text
        assert not page.pictures
        assert "false alarm" not in page.text

    def test_a_damaged_picture_does_not_stop_it(self, written, tmp_path, caplog):
        written([0.5] * 3, [0.6] * 3)
        (tmp_path / "a" / "cases" / "c0.jpg").write_text("<script>alert(1)</script>")
        compare_runs(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "out")
        assert "These runs have no pictures" in self.read(tmp_path / "out").text
        assert "left out of the page" in caplog.text

    def test_hostile_names_are_text(self, tmp_path):
        evil = "<script>alert('1')</script>"
        for side, dice in (("a<b>", 0.5), ("b", 0.6)):
            rows = [{"case": f"{evil}{i}", "subject": f"s{i}", "dice": dice, f"{evil}": 1} for i in range(3)]
            folder_of(tmp_path / side, rows, {evil: f"{evil}{side}"})
        compare_runs(str(tmp_path / "a<b>"), str(tmp_path / "b"), tmp_path / "out")
        page = self.read(tmp_path / "out")
        assert "<script" not in page.html
        assert "a<b>" in page.text
        assert f"{evil}0" in page.text
        assert any(row[0] == evil for row in page.rows)

    def test_loads_nothing_and_forbids_it(self, written):
        html = self.read(written([0.5] * 3, [0.6] * 3, pictures={"c0": "red"})).html
        assert "default-src 'none'" in html
        sources = re.findall(r"(?:src|href|srcset|action|data)\s*=\s*[\"']?([^\"'> ]+)", html)
        assert len(sources) == 2
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        assert not re.search(r"url\(|@import|https?://|<(script|link|iframe|object)", html)

    def test_can_be_read_aloud(self, written):
        html = self.read(written([0.5] * 3, [0.6] * 3, pictures={"c0": "red"})).html
        assert all('alt="' in image for image in re.findall(r"<img [^>]+>", html))
        assert all("aria-" in svg for svg in re.findall(r"<svg[^>]*>", html))
        assert 'aria-label="A 0.5000, B 0.6000"' in html

    def test_does_not_name_the_path(self, tmp_path):
        for side, dice in (("a", 0.5), ("b", 0.6)):
            folder_of(tmp_path / "Mustermann" / "out" / side, rows_of([dice] * 3))
        base = tmp_path / "Mustermann" / "out"
        compare_runs(str(base / "a"), str(base / "b"), tmp_path / "page")
        for file in (tmp_path / "page").iterdir():
            assert "Mustermann" not in file.read_text("utf-8")


class TestCommand:
    @pytest.mark.parametrize(
        ("gains", "code", "said"),
        [
            (GAINS, 0, "B is better than A"),
            ([-gain for gain in GAINS], 5, "B is worse than A"),
            ([-0.4] * 3, 0, "No difference shown"),
        ],
    )
    def test_exit_code(self, run_medseg, tmp_path, capsys, gains, code, said):
        folder_of(tmp_path / "a", rows_of([0.5] * len(gains)))
        folder_of(tmp_path / "b", rows_of([0.5 + gain for gain in gains]))
        assert run_medseg("compare-runs", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out") == code
        assert said in capsys.readouterr().out
        assert (tmp_path / "out" / "comparison.html").is_file()

    def test_another_score(self, run_medseg, tmp_path):
        for name, dice, recall in (("a", 0.5, 0.9), ("b", 0.6, 0.1)):
            rows = [{**row, "precision": recall + 0.001 * i} for i, row in enumerate(rows_of([dice] * 8))]
            folder_of(tmp_path / name, rows)
        a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
        assert run_medseg("compare-runs", a, b, "-o", out, "--score", "precision") == 5
        assert run_medseg("compare-runs", a, b, "-o", out, "--score", "precison") == 2
        assert run_medseg("compare-runs", a, tmp_path, "-o", out) == 1
