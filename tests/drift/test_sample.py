"""Which cases are compared: of one kind, of a period, each image and each person once."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from medseg.drift.records import CaseRecord, Kind
from medseg.drift.sample import (
    in_period,
    of_same_kind,
    one_each,
    only_kind,
    read_subjects,
    require_clear,
    sample_of,
    with_subjects,
    without_those_of,
)
from medseg.errors import DataError, UnsuitableError

KIND = Kind("organ", "unet", "semantic", "1", ("a" * 64,))


def case(name="one", **about):
    return CaseRecord(name, KIND, **about)


def test_columns_tell_missing_from_unknown():
    first = case(numbers={"area": None, "dice": 0.9}, events=frozenset({("warning", "w")}))
    second = case(numbers={"area": 2.0}, asked=frozenset({"warning"}))
    found = sample_of([replace(first, asked=frozenset({"warning"})), second])
    assert np.array_equal(found.numbers["area"], [np.nan, 2], equal_nan=True)
    assert np.array_equal(found.events["warning", "w"], [1, 0])
    assert np.array_equal(found.events["not measured", "area"], [1, 0])
    assert np.array_equal(found.events["not measured", "dice"], [0, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    "change",
    [{"task": "o"}, {"method": "m"}, {"mode": "object"}, {"version": "2"}, {"weights": ("b" * 64,)}],
    ids=lambda change: next(iter(change)),
)
def test_results_of_two_kinds_are_not_mixed(change):
    other = replace(case(), kind=replace(KIND, **change))
    with pytest.raises(UnsuitableError, match="results of one task, method, mode and weights; got 1 of "):
        only_kind([case(), other], None, None)
    with pytest.raises(UnsuitableError, match="segment the reference anew"):
        of_same_kind([other], KIND)
    same, notes = of_same_kind([other, case()], KIND)
    assert (same, len(notes)) == ([case()], 1)


def test_one_of_several_tasks_can_be_chosen():
    other = replace(case(), kind=replace(KIND, task="other"))
    assert only_kind([case(), other], "other", None) == [other]
    with pytest.raises(UnsuitableError, match="results of none"):
        only_kind([case()], "none", None)


def test_a_period_has_both_ends_and_no_undated_cases():
    days = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 30), date(2026, 12, 1), None]
    cases = [case(str(day), day=day) for day in days]
    found, notes = in_period(cases, date(2026, 11, 1), date(2026, 11, 30))
    assert [each.day for each in found] == days[1:3]
    assert notes == ["1 results without a date were left out"]
    assert in_period(cases, None, None) == (cases, [])


def test_an_empty_month_is_refused_with_the_days_that_there_are():
    with pytest.raises(UnsuitableError, match="their days are 2026-11-05 to 2026-11-05"):
        in_period([case(day=date(2026, 11, 5))], date(2026, 12, 1), None)
    with pytest.raises(UnsuitableError, match="got none with a date"):
        in_period([case()], date(2026, 12, 1), None)


def test_an_image_counts_once_and_so_does_a_person():
    cases = [
        case("old", digest="1", day=date(2026, 1, 1), subject="a"),
        case("anew", digest="1", day=date(2026, 2, 1), subject="a"),
        case("other eye", digest="2", subject="a"),
        case("unknown", digest="3"),
        case("unknown too", digest="4"),
    ]
    found, notes = one_each(cases)
    assert {each.name for each in found} - {"anew", "other eye"} == {"unknown", "unknown too"}
    assert len(found) == 3
    assert "old" not in {each.name for each in found}
    assert [note.split(" ", 1)[0] for note in notes] == ["1", "1", "whose"]
    assert one_each(cases[::-1])[0] == found


def test_the_reference_has_no_image_and_no_person_of_now():
    now = [case("n", digest="1", subject="a")]
    reference = [case("image", digest="1"), case("person", digest="2", subject="a"), case("kept", digest="3")]
    kept, notes = without_those_of(reference, now)
    assert [each.name for each in kept] == ["kept"]
    assert notes[0].startswith("2 results")


def test_a_table_of_subjects(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("case,subject,date\none,s1,2025-03-04\ntwo,,\n")
    first, second, third = with_subjects(
        [case("one", day=date(2026, 1, 1)), case("two", subject="kept"), case("three")], read_subjects(table)
    )
    assert (first.subject, first.day, first.is_study_day) == ("s1", date(2025, 3, 4), True)
    assert (second.subject, second.day, third.subject) == ("kept", None, None)


def test_cases_of_one_name_in_two_folders_are_told_apart():
    cases, table = [case("may/photo"), case("june/photo")], {"photo": ("s", None)}
    with pytest.raises(DataError, match="got june/photo and may/photo"):
        require_clear(cases, table)
    require_clear([cases[0], cases[0]], table)
    table = {"may/photo": ("a", None), "june/photo": ("b", None)}
    require_clear(cases, table)
    assert [each.subject for each in with_subjects(cases, table)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Doe_Jane,12\n", "the columns case and subject"),
        ("case,subject\none,a\none,b\n", "each case once"),
        ("case,subject,date\none,a,last May\n", "dates such as 2026-11-30"),
        ("case,subject\none\n", "a cell for each column"),
        ("", "the columns case and subject"),
    ],
    ids=["header", "twice", "date", "short", "empty"],
)
def test_a_damaged_table_is_refused_without_naming_anybody(tmp_path, text, expected):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=f"expected {expected} in table.csv") as raised:
        read_subjects(tmp_path / "table.csv")
    assert "Doe" not in str(raised.value)
