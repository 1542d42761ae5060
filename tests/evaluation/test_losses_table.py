"""Means, tests and files of several losses on made-up scores."""

import csv
import json

import pytest

from medseg.evaluation.losses_files import write_comparison
from medseg.evaluation.losses_table import Scored, losses_table, table_of
from medseg.evaluation.losses_table import tests_table as table_of_tests
from medseg.evaluation.past_runs import CaseRow
from medseg.metrics.significance import compare_paired, holm
from medseg.reports.ladder import Strip


def rows(*dice):
    return tuple(
        CaseRow(f"c{number}", f"s{number}", {"": {"dice": value, "average_precision": 0.5, "mcc": 0.1}})
        for number, value in enumerate(dice)
    )


def rising(step, count=12):
    return rows(*(0.2 + 0.02 * number + step * (1 + 0.05 * number) for number in range(count)))


def scored(loss, own, at_the_bundles=0.0, threshold=0.4):
    return Scored(loss, rising(at_the_bundles), threshold, rising(own))


def test_each_against_the_reference_at_its_own_threshold():
    """The bundle's threshold is best for the loss that it was tuned for; the tests take each loss's own."""
    all_of_them = [scored("tversky", 0.1), scored("dice_ce", 0.2, at_the_bundles=0.3), scored("mse", 0.3)]
    found = table_of("task data test", "dice_ce", all_of_them, {})
    assert [(test.loss, test.verdict) for test in found.tests] == [("tversky", "worse"), ("mse", "better")]
    assert found.best == "mse"
    base = [row.scores["dice"] for row in rising(0.2)]
    owners = [row.subject for row in rising(0.2)]
    plain = [compare_paired(base, [r.scores["dice"] for r in rising(s)], owners).p for s in (0.1, 0.3)]
    assert [test.p for test in found.tests] == holm(plain)
    assert found.warnings == ()


def test_the_table():
    found = table_of("t", "dice_ce", [scored("dice_ce", 0.2), scored("mse", 0.3)], {"focal": "NaN"})
    table = losses_table(found)
    names = ["loss", "dice", "own threshold", "dice at it", "95% interval", "average_precision"]
    assert list(table["header"]) == names
    assert table["rows"][0][:4] == ("dice_ce", "0.310", "0.400", "0.565")
    assert table["rows"][2] == ("focal", "failed", "", "", "", "")
    assert found.warnings == ("focal failed: NaN",)
    assert "focal failed: NaN" in str(found)
    assert [row[:2] for row in table_of_tests(found)["rows"]] == [("mse", "dice_ce")]


def test_a_task_without_a_threshold():
    same = rising(0.1)
    found = table_of("t", "dice_ce", [Scored(name, same, None, same) for name in ("dice_ce", "mse")], {})
    assert losses_table(found)["header"] == ("loss", "dice", "95% interval", "average_precision")
    assert [test.verdict for test in found.tests] == ["no difference shown"]


def test_a_reference_without_scores_is_tested_against_nothing():
    found = table_of("t", "dice_ce", [scored("mse", 0.3), scored("focal", 0.3)], {"dice_ce": "NaN"})
    assert found.tests == ()
    assert "against" not in str(found)


def test_too_few_subjects():
    few = [Scored(name, rows(0.1, 0.2), 0.5, rows(0.1, 0.2)) for name in ("dice_ce", "mse")]
    found = table_of("t", "dice_ce", few, {}, ["other"])
    assert found.warnings[0] == "other"
    assert "with 2 subjects no difference can be shown" in found.warnings[1]
    assert found.counts == "2 cases, 2 subjects"


def test_files(tmp_path):
    found = table_of(
        "task data <test>", "dice_ce", [scored("dice_ce", 0.2), scored("mse", 0.3)], {"focal": "NaN"}
    )
    histories = {
        loss: {
            "train_loss": [(1, 1.0), (2, 0.5)],
            "train_dice": [(1, 0.1), (2, 0.3)],
            "val_dice": [(2, 0.2)],
            "learning_rate": [(1, 0.1), (2, 0.1)],
        }
        for loss in ("dice_ce", "mse")
    }
    strip = Strip(
        "c1", "the worst mean over the losses", "the whole picture", (("image", "data:image/jpeg,"),)
    )
    files = write_comparison(tmp_path, found, "Two epochs each.", histories, [strip])
    assert {file.name for file in files} == {"comparison.html", "comparison.json", "table.csv", "curves.png"}
    page = (tmp_path / "comparison.html").read_text()
    for text in (
        "task data &lt;test&gt;",
        "Two epochs each.",
        "focal failed: NaN",
        "the worst mean over",
        "0.565",
    ):
        assert text in page
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["losses"]["mse"]["threshold"] == 0.4
    assert record["tests"][0]["result"] == "better"
    assert record["failures"] == {"focal": "NaN"}
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["loss"], line["status"]) for line in lines] == [
        ("dice_ce", "scored"), ("mse", "scored"), ("focal", "failed"),
    ]  # fmt: skip
    assert float(lines[0]["dice"]) == pytest.approx(0.31)
    assert float(lines[1]["dice_at_threshold"]) > float(lines[0]["dice_at_threshold"])
