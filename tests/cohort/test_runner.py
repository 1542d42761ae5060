"""The runner: each case gets one end, whatever becomes of workers, disk and runner."""

import subprocess
import sys

import pytest

from medseg.cohort.ledger import CaseRow, Ledger
from medseg.cohort.plan import Plan
from medseg.cohort.runner import StoppedError, alone_in, run_cohort
from medseg.errors import MedsegError
from medseg.workers import Outcome, Settings

CRASH = ("crashed", {"kind": "signal 9", "text": "It ended."})
DONE = ("done", {"verdict": "pass"})


class Scripted:
    """An engine whose outcomes are given: for each case those of its attempts, then done."""

    capacity = 2

    def __init__(self, **script):
        self.script = {case: list(attempts) for case, attempts in script.items()}
        self.jobs, self.order, self.most, self.is_closed = [], [], 0, False

    def submit(self, job):
        self.jobs.append(job)
        self.order.append(job.key)
        self.most = max(self.most, len(self.jobs))

    def outcomes(self, wait_s):
        job = self.jobs.pop(0)
        attempts = self.script.get(job.key)
        state, about = attempts.pop(0) if attempts else DONE
        if state == "interrupt":
            raise KeyboardInterrupt
        return [Outcome(job.key, state, **about)]

    def close(self, wait=False):
        self.is_closed = True


@pytest.fixture
def run(tmp_path):
    """Runs a scripted engine on four cases: the ledger, what was told, how often it advanced."""
    ledger = Ledger(tmp_path / "cohort.sqlite")
    ledger.start({"task": "x"}, [CaseRow(name, (f"/data/{name}.png",)) for name in "abcd"])
    plan = Plan(tmp_path, Settings("x"), ("png",), pixel_spacing_mm=0.5)

    def run(engine):
        told, advanced = [], []
        run_cohort(
            ledger, plan, engine, lambda row, text: told.append((row.case, text)), lambda: advanced.append(1)
        )
        return ledger, told, len(advanced)

    run.ledger = ledger
    yield run
    ledger.close()


def states(ledger):
    return {row.case: row.state for row in ledger.cases()}


def test_all_are_done_and_few_are_in_flight(run):
    engine = Scripted()
    ledger, told, advanced = run(engine)
    assert set(states(ledger).values()) == {"done"}
    assert (told, advanced, engine.most, engine.is_closed) == ([], 4, 2, True)


def test_a_refused_and_a_failed_case_are_told(run):
    engine = Scripted(
        b=[("refused", {"kind": "UnreadableError", "text": "No picture."})],
        c=[("failed", {"kind": "MemoryError", "text": "No memory."})],
    )
    ledger, told, advanced = run(engine)
    assert states(ledger) == {"a": "done", "b": "refused", "c": "failed", "d": "done"}
    assert told == [("b", "No picture."), ("c", "No memory.")]
    assert advanced == 4


def test_a_case_whose_worker_ends_is_tried_again_after_all_others(run):
    engine = Scripted(a=[CRASH])
    ledger, told, advanced = run(engine)
    assert set(states(ledger).values()) == {"done"}
    assert engine.order == ["a", "b", "c", "d", "a"]
    assert (told, advanced) == ([("a", "It ended. It is tried again.")], 4)
    assert (ledger.cases()[0].attempts, ledger.cases()[0].crashes, ledger.cases()[0].kind) == (2, 1, "")


def test_a_case_whose_worker_ends_twice_is_set_aside(run):
    ledger, told, _ = run(Scripted(a=[CRASH, CRASH]))
    assert states(ledger) == {"a": "set_aside", "b": "done", "c": "done", "d": "done"}
    assert told[-1] == ("a", "It ended. It is set aside.")
    assert ledger.cases()[0].kind == "signal 9"


def test_crashes_count_over_a_resume(run):
    with pytest.raises(KeyboardInterrupt):
        run(Scripted(a=[CRASH, ("interrupt", {})]))
    ledger, _, _ = run(Scripted(a=[CRASH]))
    assert states(ledger)["a"] == "set_aside"


def test_a_case_that_takes_too_long_is_set_aside_at_once(run):
    ledger, told, _ = run(Scripted(a=[("timed_out", {"kind": "timeout", "text": "Too long."})]))
    assert states(ledger)["a"] == "set_aside"
    assert told == [("a", "Too long. It is set aside.")]


def test_a_full_disk_stops_and_no_case_is_lost(run, tmp_path):
    (tmp_path / ".medseg-0123abcd").mkdir()
    full = ("failed", {"kind": "OSError", "text": "No space left on device: x", "is_full": True})
    engine = Scripted(b=[full])
    with pytest.raises(MedsegError, match=r"No space left on device: x\. Make room.*--resume") as caught:
        run(engine)
    assert (caught.value.exit_code, engine.is_closed) == (1, True)
    assert states(run.ledger) == {"a": "done", "b": "pending", "c": "pending", "d": "pending"}
    assert not (tmp_path / ".medseg-0123abcd").exists()


def test_an_interrupted_run_leaves_pending_cases(run):
    with pytest.raises(KeyboardInterrupt):
        run(Scripted(b=[("interrupt", {})]))
    assert states(run.ledger) == {"a": "done", "b": "pending", "c": "pending", "d": "pending"}
    assert run.ledger.cases()[1].attempts == 0


def test_settings_that_no_model_can_be_loaded_with(run):
    about = {"kind": "UsageError", "text": "expected a key", "is_settings": True}
    with pytest.raises(StoppedError, match=r"^expected a key$") as caught:
        run(Scripted(a=[("failed", about)]))
    assert caught.value.exit_code == 2
    assert set(states(run.ledger).values()) == {"pending"}


def test_a_ledger_that_cannot_be_written_does_not_hide_why_it_ended(run, monkeypatch):
    def fail(*states):
        raise MedsegError("a ledger", got="a full disk", advice="Make room.")

    monkeypatch.setattr(run.ledger, "release", fail)
    with pytest.raises(KeyboardInterrupt):
        run(Scripted(a=[("interrupt", {})]))


@pytest.mark.parametrize(("own", "used"), [(None, 0.5), (0.1, 0.1)], ids=["of the plan", "of the table"])
def test_the_job_of_a_case(tmp_path, own, used):
    plan = Plan(tmp_path, Settings("x"), ("png",), pixel_spacing_mm=0.5, even_rejected=True)
    job = plan.job(CaseRow("a", ("/data/1.dcm", "/data/2.dcm"), pixel_spacing_mm=own))
    assert (job.key, job.output, job.formats) == ("a", str(tmp_path / "a"), ("png",))
    assert (job.pixel_spacing_mm, job.even_rejected, len(job.input)) == (used, True, 2)


@pytest.mark.seconds
def test_one_runner_in_a_folder(tmp_path):
    program = (
        "import sys; from medseg.cohort.runner import alone_in\n"
        "from pathlib import Path\n"
        "with alone_in(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, tmp_path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(MedsegError, match="which is in use"), alone_in(tmp_path):
            pass
        other.kill()
        other.wait()
        with alone_in(tmp_path):
            pass
