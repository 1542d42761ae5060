"""Means, pairs and corrected tests of several methods on made-up scores."""

import pytest

from medseg.evaluation.ladder_cases import cases_to_show
from medseg.evaluation.ladder_run import Cost
from medseg.evaluation.ladder_table import ladder, rung
from medseg.evaluation.past_runs import CaseRow
from medseg.metrics.significance import compare_paired, holm

COST = Cost(0.25, 512.4, 1234567, ())


def rows(*dice, subjects=None):
    owners = subjects or [f"s{number}" for number in range(len(dice))]
    return tuple(
        CaseRow(f"c{number}", owner, {"": {"dice": value, "cl_dice": 0.5, "mcc": 0.1}})
        for number, (value, owner) in enumerate(zip(dice, owners, strict=True))
    )


def compared(**of_methods):
    rungs = [rung(name, "rule", "made up", found, COST) for name, found in of_methods.items()]
    return ladder("task data test", rungs, of_methods)


def rising(step, count=12):
    """Scores that rise from case to case; all are moved by a step, and a little more from case to case."""
    return rows(*(0.2 + 0.02 * number + step * (1 + 0.05 * number) for number in range(count)))


def test_each_against_the_one_before_and_the_best():
    found = compared(a=rising(0.0), best=rising(0.3), c=rising(0.1), d=rising(0.2))
    assert found.best == "best"
    pairs = [(test.b, test.a, test.reason) for test in found.tests]
    assert pairs == [
        ("best", "a", "the one before"),
        ("c", "best", "the one before"),
        ("d", "c", "the one before"),
        ("d", "best", "the best"),  # the pairs of the best with a and c are tested already
    ]
    assert [test.verdict for test in found.tests] == ["better", "worse", "better", "worse"]


def test_the_tests_are_corrected_together():
    of_methods = {"a": rising(0.0), "b": rising(0.1), "c": rising(0.1005)}
    found = compared(**of_methods)
    plain = [
        compare_paired(
            [row.scores["dice"] for row in of_methods[test.a]],
            [row.scores["dice"] for row in of_methods[test.b]],
            [row.subject for row in of_methods[test.a]],
        )
        for test in found.tests
    ]
    assert [test.paired for test in found.tests] == plain
    assert [test.p for test in found.tests] == holm([paired.p for paired in plain])
    assert found.tests[0].p > found.tests[0].paired.p


def test_a_difference_that_only_a_single_test_shows():
    """8 subjects with one small loss: p = 0.016 alone, and four times that as the smallest of four."""
    first, second = rows(*[0.5] * 8), rows(0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.49)
    (test,) = compared(a=first, b=second).tests
    assert (test.p, test.verdict) == (0.015625, "better")
    test, *others = compared(a=first, b=second, c=second, d=second).tests
    assert len(others) == 3
    assert (test.p, test.verdict) == (0.0625, "no difference shown")


def test_equal_methods():
    (test,) = compared(a=rising(0.0), b=rising(0.0)).tests
    assert (test.p, test.verdict) == (1.0, "no difference shown")


@pytest.mark.parametrize(("count", "shown"), [(5, False), (6, True)])
def test_few_subjects_show_nothing(count, shown):
    found = compared(a=rising(0.0, count), b=rising(0.3, count))
    (test,) = found.tests
    assert (test.verdict == "better") is shown
    said = any("no difference can be shown" in warning for warning in found.warnings)
    assert said is not shown


def test_more_tests_need_more_subjects():
    """With 6 subjects the smallest corrected p of 3 tests is 3/32."""
    found = compared(a=rising(0.0, 6), b=rising(0.1, 6), c=rising(0.2, 6))
    assert {test.verdict for test in found.tests} == {"no difference shown"}
    assert "3 tests need at least 7" in found.warnings[0]


def test_two_eyes_are_one_subject():
    eyes = [f"s{number // 2}" for number in range(12)]
    first = rows(*[0.5 + 0.01 * n for n in range(12)], subjects=eyes)
    second = rows(*[0.6 + 0.011 * n for n in range(12)], subjects=eyes)
    found = compared(a=first, b=second)
    assert (found.cases, found.subjects) == (12, 6)
    assert found.tests[0].paired.p == pytest.approx(2 / 2**6)


def test_undefined_scores_are_left_out_and_told():
    found = compared(a=rows(0.5, None, 0.7), b=rows(0.6, 0.7, None))
    assert found.tests[0].paired.cases == 1
    assert [warning for warning in found.warnings if "undefined" in warning] == [
        "a: dice is undefined for 1 of 3 cases, which are left out",
        "b: dice is undefined for 1 of 3 cases, which are left out",
    ]
    nothing = compared(a=rows(None, None), b=rows(0.6, 0.7))
    assert nothing.tests[0].p is None
    assert nothing.best == "b"
    assert "-" in str(nothing)


def test_what_the_screen_shows():
    found = compared(a=rising(0.0), b=rising(0.1))
    said = str(found)
    assert "task data test: 12 cases, 12 subjects" in said
    (line,) = (line for line in said.splitlines() if line.startswith("a "))
    assert line.split() == [
        "a",
        "rule",
        "0.310",
        "0.272",
        "to",
        "0.348",
        "0.500",
        "0.250",
        "512",
        "1",
        "234",
        "567",
    ]
    assert "cl_dice" in said
    assert "mcc" not in said  # scores.json has it


def test_cases_to_show():
    of_methods = {"a": rows(0.1, 0.5, 0.9, 0.4, 0.6), "b": rows(0.1, 0.5, 0.9, 0.8, 0.6)}
    assert cases_to_show(of_methods) == {
        "c0": "the worst mean over the methods",
        "c4": "the median mean over the methods",
        "c2": "the best mean over the methods",
        "c3": "here the methods differ most",
    }
    assert cases_to_show({"a": rows(0.5), "b": rows(0.6)}) == {"c0": "the only case"}
    assert len(cases_to_show({"a": rows(0.5, 0.6, 0.7, 0.8), "b": rows(0.5, 0.6, 0.7, 0.8)})) == 3
    assert "c1" in cases_to_show({"a": rows(0.5, None), "b": rows(0.6, 0.4)})
