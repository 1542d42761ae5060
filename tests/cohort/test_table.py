"""cohort.csv and cohort.parquet: every case, every number, the same in both."""

import csv
import sys

import pytest
from cohort_results import done, ledger_of
from drift_records import record, write_case

from medseg.cohort.ledger import CaseRow
from medseg.cohort.table import CSV, PARQUET, write_tables

PREDICTED = {
    "predicted_dice": {"organ": {"value": 0.61, "interval": [0.2, 0.9]}},
    "novelty": {"distance": 1.5, "percentile": 97.0},
}


@pytest.fixture
def out(tmp_path):
    """A case with a prediction, one without an area, one that was refused, one that waits."""
    write_case(tmp_path, "a", record(120.5, ["odd; very"], quality=PREDICTED))
    write_case(tmp_path, "b", record(None))
    write_case(tmp_path, "c", record(77.0))  # of an earlier run: it is not this case's
    rows = [
        done("a", subject="S1"),
        done("b"),
        CaseRow("c", ("/images/c",), state="refused", attempts=1, kind="UnreadableError", text='a "b",\nc'),
        CaseRow("d", ("/images/d",)),
    ]
    ledger_of(tmp_path, rows)
    return tmp_path


def read_csv(out):
    with (out / CSV).open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def write(out):
    with ledger_of(out) as ledger:
        write_tables(out, ledger)


def test_a_row_for_each_case_with_every_number(out):
    write(out)
    rows = read_csv(out)
    assert [row["state"] for row in rows.values()] == ["done", "done", "refused", "pending"]
    a = rows["a"]
    assert (a["organ_area_mm2[mm²]"], a["organ_area_cm2[cm²]"], a["side[text]"]) == ("120.5", "1.205", "left")
    assert (a["predicted_dice/organ"], a["novelty_percentile"], a["verdict"]) == ("0.61", "97.0", "warn")
    assert (a["subject"], a["warnings"], a["reasons"]) == ("S1", "1", "odd; very")
    assert (a["bundle_version"], a["method"], a["weights_sha256"]) == ("0.3", "unet", "f" * 64)
    assert rows["b"]["organ_area_mm2[mm²]"] == ""
    assert rows["c"]["text"] == 'a "b",\nc'
    assert (rows["c"]["organ_area_mm2[mm²]"], rows["c"]["verdict"]) == ("", "")
    assert (rows["d"]["seconds"], rows["d"]["attempts"]) == ("", "0")
    assert list(a)[-4:] == ["bundle_version", "method", "weights_sha256", "input_sha256"]


def test_parquet_holds_the_same_with_types(out):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(out)
    table = parquet.read_table(out / PARQUET)
    in_csv = read_csv(out)
    assert table.column_names == list(in_csv["a"])
    for row in table.to_pylist():
        texts = {name: "" if value is None else str(value) for name, value in row.items()}
        assert texts == in_csv[row["case"]]
    types = {name: str(table.schema.field(name).type) for name in ("case", "attempts", "organ_count[count]")}
    assert types == {"case": "string", "attempts": "int64", "organ_count[count]": "double"}


def test_without_pyarrow_csv_alone_is_written_and_said(out, monkeypatch, caplog):
    write(out)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write(out)
    assert caplog.messages == [
        "cohort.csv alone was written: cohort.parquet needs pip install 'medseg[cohort]'."
    ]
    assert not (out / PARQUET).exists(), "an older one would contradict cohort.csv"
    assert len(read_csv(out)) == 4


def test_a_record_that_can_t_be_read_is_told_in_its_row(out):
    (out / "a" / "measurements.json").write_text("{")
    write(out)
    assert read_csv(out)["a"]["verdict"] == "broken"
    assert "measurements.json" in read_csv(out)["a"]["reasons"]


def test_a_name_of_other_bytes_is_written(tmp_path):
    with ledger_of(tmp_path, [CaseRow("plain", ("/x",))]) as ledger:
        ledger.add([CaseRow("caf\udce9", ("/y",), state="refused")])
        write_tables(tmp_path, ledger)
    assert set(read_csv(tmp_path)) == {"plain", "caf�"}


def test_no_case_at_all_has_a_table_without_rows(tmp_path):
    with ledger_of(tmp_path, []) as ledger:
        write_tables(tmp_path, ledger)
    assert (tmp_path / CSV).exists()
