"""Workers: the same masks as `medseg segment`, and what becomes of cases whose process ends."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import medseg
from medseg import phantoms
from medseg.errors import MedsegError
from medseg.workers import Job, Pool, Settings

pytestmark = pytest.mark.seconds

RETINA = Settings(
    "retinal_vessel",
    device="cpu",
    overrides=(("field_diameter_px", 208), ("inferer::inferer::inferer::roi_size", [128, 128])),
)


def job(folder, key, seed=1, **more):
    source = folder / f"{key}.png"
    Image.fromarray(phantoms.fundus(240, seed)[0]).save(source)
    return Job(key, (str(source),), str(folder / "out" / key), RETINA, **more)


def collected(pool, count, deadline_s=120):
    found, end = [], time.monotonic() + deadline_s
    while len(found) < count and time.monotonic() < end:
        found += pool.outcomes(1)
    return {outcome.key: outcome for outcome in found}


def stopped(pool, deadline_s=120):
    """The only worker, once it has started, stopped: it keeps the next job in hand."""
    end = time.monotonic() + deadline_s
    while not pool._workers[0].is_ready and time.monotonic() < end:
        pool.outcomes(0.05)
    os.kill(pool._workers[0].process.pid, signal.SIGSTOP)
    return pool._workers[0].process.pid


@pytest.fixture(scope="module")
def pool():
    with Pool(1) as found:
        yield found


def test_the_files_are_those_of_segment(pool, tmp_path):
    task = job(tmp_path, "a")
    pool.submit(task)
    outcome = collected(pool, 1)["a"]
    assert (outcome.state, outcome.kind) == ("done", "")
    alone = medseg.Segmenter("retinal_vessel", "cpu", dict(RETINA.overrides))(task.input)
    written = np.asarray(Image.open(tmp_path / "out" / "a" / "segmentation.png"))
    assert np.array_equal(written, alone.mask.array)
    assert outcome.verdict == alone.quality["verdict"]
    assert outcome.input_sha256 == alone.provenance["input_sha256"]
    assert dict(outcome.outputs).keys() == {path.name for path in (tmp_path / "out" / "a").iterdir()}
    assert "a" in (tmp_path / "out" / "sources.jsonl").read_text()


def test_a_broken_input_is_refused_and_the_next_case_goes_on(pool, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    pool.submit(Job("text", (str(tmp_path / "text.png"),), str(tmp_path / "out" / "text"), RETINA))
    pool.submit(job(tmp_path, "b"))
    found = collected(pool, 2)
    assert (found["text"].state, found["text"].kind) == ("refused", "UnreadableError")
    assert not (tmp_path / "out" / "text").exists()
    assert found["b"].state == "done"


def test_settings_that_nothing_can_be_loaded_with_are_told_apart(pool, tmp_path):
    pool.submit(Job("c", (str(tmp_path),), str(tmp_path / "out" / "c"), Settings("retinal_vesel")))
    outcome = collected(pool, 1)["c"]
    assert (outcome.state, outcome.kind, outcome.is_settings) == ("failed", "UsageError", True)


def test_a_full_disk_is_told_apart(pool, tmp_path):
    """A device on which each write fails as on a full disk, where the case's line would go."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sources.jsonl").symlink_to("/dev/full")
    pool.submit(job(tmp_path, "d"))
    outcome = collected(pool, 1)["d"]
    assert (outcome.state, outcome.is_full) == ("failed", True)
    assert "No space left on device" in outcome.text


def test_a_killed_worker_is_replaced(pool, tmp_path):
    number = stopped(pool)
    pool.submit(job(tmp_path, "e"))
    os.kill(number, signal.SIGKILL)
    outcome = collected(pool, 1)["e"]
    assert (outcome.state, outcome.kind) == ("crashed", "signal 9")
    pool.submit(job(tmp_path, "f"))
    assert collected(pool, 1)["f"].state == "done"


def test_a_cancelled_job_has_no_outcome(pool, tmp_path):
    stopped(pool)
    for key in "ghi":
        pool.submit(job(tmp_path, key))
    assert pool.in_flight == ("g", "h", "i")
    pool.cancel("g")
    pool.cancel("h")
    assert pool.in_flight == ("i",)
    assert collected(pool, 1).keys() == {"i"}


def test_a_case_that_takes_too_long_is_ended(tmp_path):
    with Pool(1, timeout_s=0.5) as pool:
        number = stopped(pool)
        pool.submit(job(tmp_path, "slow"))
        found = collected(pool, 1)["slow"]
        assert pool._workers[0].process.pid != number
    assert (found.state, found.kind) == ("timed_out", "timeout")
    assert found.text == "It took longer than 0.5 s."


def test_closing_waits_for_what_runs(tmp_path):
    pool = Pool(1)
    number = stopped(pool)
    for key in "lm":
        pool.submit(job(tmp_path, key))
    os.kill(number, signal.SIGCONT)
    assert [outcome.key for outcome in pool.close(wait=True)] == ["l"]
    assert pool.in_flight == ()


def test_workers_end_with_the_process_that_started_them(tmp_path):
    program = (
        "import time; from medseg.workers import Pool\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(1)\n"
        "    print(pool._workers[0].process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "program.py").write_text(program)
    with subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE) as parent:
        number = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{number}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{number}")


def test_no_worker_is_refused():
    with pytest.raises(MedsegError, match="one worker or more"):
        Pool(0)
