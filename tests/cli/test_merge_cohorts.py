"""medseg merge-cohorts: exit codes, what it prints, and that the whole goes on as a cohort."""

import csv

import pytest
from cohort_results import done, ledger_of
from drift_records import record, write_case
from fundus_pictures import phantom, write_png

from medseg.cli import main
from medseg.cohort.ledger import CaseRow


def merge(*folders, out):
    return main(["merge-cohorts", *map(str, folders), "-o", str(out)])


def write_part(folder, number, *rows):
    for row in rows:
        if row.state == "done":
            write_case(folder, row.case, record(100.0))
    with ledger_of(folder, rows, part=f"{number}/2"):
        return folder


def test_exit_codes_are_those_of_the_whole_cohort(tmp_path, capsys):
    refused = CaseRow("b", ("/b",), state="refused", attempts=1)
    first, second = write_part(tmp_path / "1", 1, done("a")), write_part(tmp_path / "2", 2, refused)
    assert merge(first, second, out=tmp_path / "all") == 4
    assert capsys.readouterr().out.splitlines() == [
        "2 cases: 1 done, 1 refused",
        str(tmp_path / "all" / "cohort.html"),
    ]
    assert merge(first, write_part(tmp_path / "3", 2, done("c")), out=tmp_path / "done") == 0
    assert merge(first, out=tmp_path / "missing") == 2
    assert "got no part 2/2" in capsys.readouterr().err


@pytest.mark.seconds
def test_the_whole_goes_on_where_its_parts_ended(tmp_path, capsys):
    for number in range(3):
        write_png(tmp_path / f"eye_{number}.png", phantom(number)[0])
    command = ["cohort", "retinal_vessel", str(tmp_path / "eye_*.png"), "--method", "threshold", "-o"]
    parts = [tmp_path / "out" / name for name in "12"]
    for number, part in enumerate(parts, 1):
        assert main([*command, str(part), "--part", f"{number}/2"]) == 0
    with ledger_of(parts[1]) as ledger:
        ledger.begin("eye_1")  # as a run that was killed leaves it
    assert merge(*parts, out=tmp_path / "out" / "all") == 4
    assert main([*command, str(tmp_path / "out" / "all"), "--resume"]) == 0
    assert "3 cases: 3 done" in capsys.readouterr().out
    with (tmp_path / "out" / "all" / "cohort.csv").open() as file:
        tried = {row["case"]: row["attempts"] for row in csv.DictReader(file)}
    assert tried == {"eye_0": "1", "eye_1": "2", "eye_2": "1"}
