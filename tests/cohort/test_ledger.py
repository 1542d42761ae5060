"""The ledger of a cohort: each change is on disk when it returns, whatever ends the process."""

import os
import signal
import subprocess
import sys

import pytest

from medseg.cohort.ledger import CaseRow, Ledger
from medseg.errors import MedsegError
from medseg.workers import Outcome

ROWS = [CaseRow("a", ("/data/a.png",)), CaseRow("b", ("/data/1.dcm", "/data/2.dcm"), "s1", 0.5)]


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path / "cohort.sqlite")
    found.start({"task": "retinal_vessel", "formats": ["png"]}, ROWS)
    yield found
    found.close()


def test_what_is_written_is_read(ledger):
    assert ledger.settings() == {"task": "retinal_vessel", "formats": ["png"]}
    assert [(row.number, row.case, row.state) for row in ledger.cases()] == [
        (1, "a", "pending"),
        (2, "b", "pending"),
    ]
    assert ledger.cases()[1].source == ("/data/1.dcm", "/data/2.dcm")
    assert (ledger.cases()[1].subject, ledger.cases()[1].pixel_spacing_mm) == ("s1", 0.5)
    assert ledger.counts() == {
        **dict.fromkeys(("refused", "failed", "set_aside", "running", "done"), 0),
        "pending": 2,
    }


def test_a_case_from_start_to_end(ledger):
    ledger.begin("a")
    assert [row.case for row in ledger.cases("running")] == ["a"]
    outcome = Outcome("a", "done", seconds=1.5, verdict="warn", input_sha256="12", outputs=(("x.png", "34"),))
    ledger.finish("a", "done", outcome)
    row = ledger.cases("done")[0]
    assert (row.attempts, row.crashes, row.seconds, row.verdict, row.outputs) == (
        1,
        0,
        1.5,
        "warn",
        {"x.png": "34"},
    )
    assert row.started <= row.finished


def test_crashes_are_counted_until_they_are_forgiven(ledger):
    for _ in range(2):
        ledger.begin("a")
        ledger.finish("a", "pending", Outcome("a", "crashed", "signal 9"), crashed=True)
    assert (ledger.cases()[0].attempts, ledger.cases()[0].crashes) == (2, 2)
    assert ledger.release(states=("pending",), forgive=True) == ["a", "b"]
    assert (ledger.cases()[0].attempts, ledger.cases()[0].crashes) == (2, 0)


def test_only_running_cases_are_released(ledger):
    ledger.begin("a")
    ledger.finish("a", "failed", Outcome("a", "failed", "MemoryError"))
    ledger.begin("b")
    assert ledger.release() == ["b"]
    assert [row.state for row in ledger.cases()] == ["failed", "pending"]


def test_two_cases_of_one_name_are_none(ledger):
    with pytest.raises(MedsegError, match="UNIQUE"):
        ledger.add([CaseRow("c", ("/data/c.png",)), CaseRow("a", ("/data/d.png",))])
    assert [row.case for row in ledger.cases()] == ["a", "b"]


def test_a_source_that_is_no_text(ledger):
    name = os.fsdecode(b"/data/\xff.png")
    ledger.add([CaseRow("c", (name,))])
    assert ledger.cases()[2].source == (name,)


def test_no_ledger(tmp_path):
    (tmp_path / "cohort.sqlite").write_text(
        "no database at all, but a text that is long enough to be one" * 9
    )
    with pytest.raises(MedsegError, match="a ledger that can be read"):
        Ledger(tmp_path / "cohort.sqlite")
    with pytest.raises(MedsegError, match="unable to open"):
        Ledger(tmp_path / "missing" / "cohort.sqlite")


@pytest.mark.seconds
def test_a_killed_process_leaves_what_it_had_written(tmp_path):
    """It kills itself in the middle of a transaction after the case n has begun."""
    program = (
        "import os, signal, sys; from medseg.cohort.ledger import CaseRow, Ledger\n"
        "ledger = Ledger(sys.argv[1])\n"
        "ledger.start({}, [CaseRow(str(n), ('x',)) for n in range(100)])\n"
        "for n in range(40): ledger.begin(str(n))\n"
        "ledger._base.execute('BEGIN IMMEDIATE')\n"
        "ledger._base.execute('UPDATE cases SET state = 1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "cohort.sqlite"
    ended = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert ended.returncode == -signal.SIGKILL
    ledger = Ledger(path)
    assert (ledger.counts()["running"], ledger.counts()["pending"]) == (40, 60)
    ledger.close()
