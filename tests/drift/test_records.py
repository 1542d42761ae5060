"""What is read of saved results, and what is said of those that can't be read."""

from datetime import date

import pytest
from drift_records import WEIGHTS, record, write_case

from medseg.drift.records import Kind, kind_of, parse_day, read_cases, read_record
from medseg.errors import UnreadableError


def test_what_is_read_of_a_result(tmp_path):
    quality = {
        "verdict": "reject",
        "predicted_dice": {"organ": {"value": 0.61, "interval": [0.5, 0.7]}},
        "novelty": {"distance": 12.5, "percentile": 97.5},
    }
    write_case(tmp_path, "one", record(None, ["area of 3.5 mm² is odd"], quality=quality, digest="d"))
    case = read_record(tmp_path / "one" / "measurements.json")
    assert (case.name, case.short) == (f"{tmp_path.name}/one", "one")
    assert case.kind == Kind("organ", "unet", "semantic", "1", (WEIGHTS,))
    assert case.numbers == {
        **{"organ_area_mm2": None, "organ_area_cm2": None, "organ_count": 1.0},
        **{"predicted_dice.organ": 0.61, "novelty.distance": 12.5},
    }
    assert case.events == {
        *(("warning", "area of N mm² is odd"), ("verdict", "not pass")),
        *(("verdict", "reject"), ("side", "right")),
    }
    assert (case.day, case.is_study_day, case.digest) == (date(2026, 11, 5), False, "d")


def test_what_a_reviewer_decided_is_an_event_of_the_reviewed_cases_alone(tmp_path):
    write_case(tmp_path, "one", record(1.0) | {"review": {"verdict": "edited", "reviewer": "r"}})
    write_case(tmp_path / "inner", "two", record(1.0))
    two, one = read_cases([tmp_path]).cases
    assert ("review", "edited") in one.events
    assert ("review" in one.asked, "review" in two.asked) == (True, False)


def test_the_day_of_the_study_goes_before_that_of_the_segmentation(tmp_path):
    write_case(tmp_path, "one", record(1.0, study_date="20260203"))
    (case,) = read_cases([tmp_path]).cases
    assert (case.day, case.is_study_day) == (date(2026, 2, 3), True)


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01", 5, [1]])
def test_what_is_no_date(text):
    assert parse_day(text) is None


def test_kinds_of_warnings_have_no_numbers():
    texts = ["volume of 4710 ml is outside the usual 300 to 4500 ml", "3D slices: -1.5 mm, HD95 of 2,5"]
    assert [kind_of(text) for text in texts] == [
        "volume of N ml is outside the usual N to N ml",
        "ND slices: N mm, HD95 of N",
    ]


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("{", "got no valid JSON"),
        ("[]", "got JSON of another form"),
        ("{}", "got one without 'provenance'"),
        ('{"provenance": {}, "measurements": {"a": 5}, "warnings": [], "task": "t"}', "of another form"),
        ('{"provenance": {}, "measurements": {"a": {"value": 1' + 400 * "0" + "}}}", "of another form"),
        ("[" * 100_000, "of another form"),
        ("\x00\xff", "got no valid JSON"),
    ],
    ids=["cut", "list", "empty", "entry", "huge", "deep", "bytes"],
)
def test_a_broken_record_is_told_and_the_others_are_read(tmp_path, content, got):
    write_case(tmp_path, "good", record(1.0))
    write_case(tmp_path, "bad", {})
    (tmp_path / "bad" / "measurements.json").write_bytes(content.encode("latin-1"))
    found = read_cases([tmp_path])
    assert [case.name for case in found.cases] == [f"{tmp_path.name}/good"]
    (text,) = found.broken
    assert "expected the record of a result in bad/measurements.json" in text
    assert got in text


def test_a_number_that_is_none_is_missing(tmp_path):
    write_case(tmp_path, "one", record(float("nan")))
    assert read_cases([tmp_path]).cases[0].numbers["organ_area_mm2"] is None


def test_scores_and_subjects_of_an_evaluation(tmp_path):
    write_case(tmp_path, "one", record(1.0))
    (tmp_path / "scores.csv").write_text("case,subject,dice\none,s1,0.9\ntwo,s2,0.8\n")
    found = read_cases([tmp_path])
    assert (found.cases[0].numbers["score.dice"], found.cases[0].subject) == (0.9, "s1")
    assert found.notes == ("1 lines of scores.csv belong to no result in their folder",)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores.csv").rename(tmp_path / "scores" / "scores.csv")
    alone = read_cases([tmp_path / "scores"]).cases
    assert [(case.name, case.numbers) for case in alone] == [
        ("one", {"score.dice": 0.9}),
        ("two", {"score.dice": 0.8}),
    ]


def test_a_folder_twice_is_read_once_and_a_case_may_be_named(tmp_path):
    write_case(tmp_path, "one", record(1.0))
    assert len(read_cases([tmp_path, str(tmp_path) + "/."]).cases) == 1
    assert len(read_cases([tmp_path / "one"]).cases) == 1


def test_folders_without_results_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name, got in (("none", "missing"), ("file", "no folder"), (".", "which has neither")):
        with pytest.raises(UnreadableError, match=got):
            read_cases([tmp_path / name])
