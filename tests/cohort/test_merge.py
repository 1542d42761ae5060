"""Parts of a cohort as one: nothing lost, nothing doubled, nothing guessed."""

import csv
import shutil

import numpy as np
import pytest
from cohort_results import SETTINGS, done, ledger_of
from drift_records import record, write_case
from stamped_results import lesions

from medseg.cohort.ledger import CaseRow
from medseg.cohort.merge import merge_cohorts
from medseg.errors import UsageError
from medseg.io import write_mask
from medseg.volume import Mask

MASK = {"segmentation.png": "1" * 64, "measurements.json": "2" * 64}


def write_part(folder, number, count, names, **settings):
    rows = [done(name, outputs=MASK) for name in names]
    for name in names:
        write_case(folder, name, record(100.0))
        (folder / name / "segmentation.png").write_bytes(name.encode())
    (folder / "sources.jsonl").write_text("".join(f'{{"case": "{name}"}}\n' for name in names))
    settings = {"part": f"{number}/{count}", "all_cases_sha256": "e" * 64} | settings
    with ledger_of(folder, rows, **settings) as ledger:
        ledger.add([CaseRow(f"broken_{number}", (f"/b{number}",), state="refused", attempts=1)])
    return folder


@pytest.fixture
def parts(tmp_path):
    names = (["a", "d"], ["b"], ["c"])
    return [write_part(tmp_path / f"part-{n}", n, 3, names[n - 1]) for n in (1, 2, 3)]


def test_the_whole_has_all_cases_in_order_with_their_results(parts, tmp_path):
    counts = merge_cohorts(parts, tmp_path / "all")
    assert (counts["done"], counts["refused"]) == (4, 3)
    with ledger_of(tmp_path / "all") as ledger:
        assert [row.case for row in ledger.cases()] == [
            "a",
            "b",
            "broken_1",
            "broken_2",
            "broken_3",
            "c",
            "d",
        ]
        assert ledger.settings() == {**SETTINGS, "part": None, "all_cases_sha256": None}
    with (tmp_path / "all" / "cohort.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)][:2] == ["a", "b"]
    assert (tmp_path / "all" / "c" / "segmentation.png").read_bytes() == b"c"
    assert len((tmp_path / "all" / "sources.jsonl").read_text().splitlines()) == 4
    assert "4 of 7 cases done" in (tmp_path / "all" / "cohort.html").read_text()


def test_the_parts_may_go_afterwards(parts, tmp_path):
    merge_cohorts(parts, tmp_path / "all")
    for part in parts:
        shutil.rmtree(part)
    assert (tmp_path / "all" / "a" / "measurements.json").is_file()


def test_a_missing_part_is_named(parts, tmp_path):
    with pytest.raises(UsageError, match=r"the 3 parts of the cohort, each once; got no part 2/3\."):
        merge_cohorts([parts[0], parts[2]], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_part_twice_and_a_part_of_another_division_are_named(parts, tmp_path):
    shutil.copytree(parts[0], tmp_path / "again")
    with pytest.raises(UsageError, match="got again besides"):
        merge_cohorts([*parts, tmp_path / "again"], tmp_path / "all")
    other = write_part(tmp_path / "other", 1, 2, ["x"])
    with pytest.raises(UsageError, match="got other besides"):
        merge_cohorts([*parts, other], tmp_path / "all")


@pytest.mark.parametrize(
    ("change", "name"),
    [({"method": "gmm"}, "method"), ({"all_cases_sha256": "0" * 64}, "all_cases_sha256")],
    ids=["method", "list"],
)
def test_parts_of_other_cohorts_are_refused(parts, tmp_path, change, name):
    other = write_part(tmp_path / "other", 3, 3, ["c"], **change)
    with pytest.raises(UsageError, match=f"got other with another {name} than part-1"):
        merge_cohorts([*parts[:2], other], tmp_path / "all")


def test_one_case_with_two_results_is_refused_by_name(tmp_path):
    whole = {"part": None, "all_cases_sha256": None}
    first, second = (write_part(tmp_path / name, 1, 1, ["a", name], **whole) for name in ("one", "two"))
    assert merge_cohorts([first, second], tmp_path / "same")["done"] == 3  # of equal results one is kept
    with ledger_of(second) as ledger:
        ledger._base.execute('UPDATE cases SET outputs = \'{"segmentation.png": "0"}\' WHERE "case" = \'a\'')
    with pytest.raises(UsageError, match="two for a that differ, in one and two"):
        merge_cohorts([first, second], tmp_path / "all")


def test_equal_masks_of_two_runs_agree(tmp_path):
    """Their files differ by their stamps."""
    whole, folders = {"part": None, "all_cases_sha256": None}, []
    for name in ("one", "two"):
        folders.append(write_part(tmp_path / name, 1, 1, ["a"], **whole))
        lesions().save(folders[-1] / "a", ["png"])
        with ledger_of(folders[-1]) as ledger:
            told = f'{{"segmentation.png": "{name}"}}'
            ledger._base.execute("UPDATE cases SET outputs = ? WHERE \"case\" = 'a'", (told,))
    assert merge_cohorts(folders, tmp_path / "all")["done"] == 1
    write_mask(Mask(np.ones((40, 50), np.uint8)), folders[1] / "a" / "segmentation.png")
    with pytest.raises(UsageError, match="two for a that differ"):
        merge_cohorts(folders, tmp_path / "other")


def test_an_unfinished_part_leaves_its_cases_pending(parts, tmp_path):
    with ledger_of(parts[1]) as ledger:
        ledger.begin("b")  # and its process was killed
    counts = merge_cohorts(parts, tmp_path / "all")
    assert (counts["done"], counts["pending"], counts["running"]) == (3, 1, 0)


def test_what_is_there_is_not_touched(parts, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="a new or empty folder"):
        merge_cohorts(parts, tmp_path / "all")
    with pytest.raises(UsageError, match="without one"):
        merge_cohorts([*parts, tmp_path / "all"], tmp_path / "new")
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["mine.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "part-1", "part-2", "part-3"]


def test_a_full_disk_leaves_nothing(parts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.cohort.merge.write_page", full)
    with pytest.raises(OSError, match="No space"):
        merge_cohorts(parts, tmp_path / "all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-1", "part-2", "part-3"]
