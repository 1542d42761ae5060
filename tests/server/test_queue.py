"""The queue of a node: nothing is lost or done twice, whatever happens to the process or the disk."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from medseg.errors import MedsegError
from medseg.server.queue import (
    CANCELLED,
    DELIVERING,
    DONE,
    LONGEST_PAUSE_S,
    RUNNING,
    SET_ASIDE,
    STATES,
    WAITING,
    Queue,
)


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "home" / "queue.sqlite")
    yield made
    made.close()


def content(queue, name="upload", text="slice"):
    folder = queue.home / "incoming" / name
    folder.mkdir(parents=True)
    (folder / "0001.dcm").write_text(text)
    return folder


def add(queue, identity="a", **values):
    return queue.add(content(queue, os.urandom(4).hex()), origin="dicom", identity=identity, **values)


def test_a_job_goes_through_its_states(queue):
    job, is_new = add(queue, task="lung_ct", rule="chest", settings={"formats": ["dicom-seg"]})
    assert is_new
    found = queue.get(job)
    assert (found.state, found.attempts, found.settings) == (WAITING, 0, {"formats": ["dicom-seg"]})
    assert (found.folder / "in" / "0001.dcm").read_text() == "slice"
    assert queue.take().id == job
    assert queue.take() is None
    assert queue.finish(job, {"verdict": "usable"}, deliver=True)
    assert [due.id for due in queue.due_deliveries()] == [job]
    assert queue.delivered(job, "pacs")
    assert queue.delivered(job, "pacs")
    assert queue.done(job)
    found = queue.get(job)
    assert (found.state, found.delivered, found.result) == (DONE, ("pacs",), {"verdict": "usable"})
    assert queue.counts() == {state: int(state == DONE) for state in STATES}


def test_the_same_work_is_one_job(queue):
    first, _ = add(queue)
    again = content(queue)
    assert queue.add(again, origin="dicom", identity="a") == (first, False)
    assert not again.exists()
    queue.take()
    queue.finish(first, {})
    assert add(queue) == (first, False)


@pytest.mark.parametrize("give_up", [Queue.cancel, lambda queue, job: queue.set_aside(job, "broken")])
def test_what_was_given_up_may_come_again(queue, give_up):
    first, _ = add(queue)
    assert give_up(queue, first)
    assert not queue.cancel(first)
    assert add(queue)[1]


def test_what_is_set_aside_on_arrival_is_kept_once(queue):
    first, _ = add(queue, set_aside="no rule matches")
    assert add(queue, set_aside="no rule matches") == (first, False)
    assert (queue.get(first).state, queue.get(first).reason) == (SET_ASIDE, "no rule matches")
    assert add(queue)[1]  # a rule was added


def test_a_retry_waits_but_not_for_a_clock_that_jumped_back(queue):
    job, _ = add(queue)
    taken = queue.take(now=1000.0)
    assert queue.retry(taken.id, 1300.0, "the worker crashed")
    assert queue.take(now=1299.0) is None
    assert queue.take(now=1300.0).attempts == 2
    queue.retry(job, 1600.0, "once more")
    assert queue.take(now=1600.0 - LONGEST_PAUSE_S - 5).id == job


def test_a_delivery_is_retried(queue):
    job, _ = add(queue)
    queue.take()
    queue.finish(job, {}, deliver=True)
    queue.retry(job, queue.now() + 60, "the archive is away")
    assert queue.due_deliveries() == []
    found = queue.get(job)
    assert (found.state, found.attempts, found.reason) == (DELIVERING, 1, "the archive is away")
    assert [due.id for due in queue.due_deliveries(queue.now() + 61)] == [job]


def test_what_was_set_aside_is_tried_again(queue):
    job, _ = add(queue)
    queue.take()
    queue.set_aside(job, "its worker ended twice", {"kind": "signal 9"})
    assert queue.again(job)
    assert (queue.get(job).state, queue.get(job).reason, queue.get(job).finished) == (WAITING, "", None)
    queue.take()
    queue.finish(job, {"outputs": {"segmentation.dcm": "0"}}, deliver=True)
    queue.delivered(job, "web")
    queue.set_aside(job, "pacs: it says no")
    assert queue.again(job)
    assert (queue.get(job).state, queue.get(job).delivered) == (DELIVERING, ("web",))


def test_what_is_done_elsewhere_or_was_never_to_be_done_is_not_tried_again(queue):
    job, _ = add(queue)
    queue.set_aside(job, "it was refused")
    other = queue.add(content(queue, "other"), origin="dicom", identity="a")[0]
    assert other != job
    assert not queue.again(job)
    aside, _ = queue.add(content(queue, "aside"), origin="dicom", identity="b", set_aside="no rule matches")
    assert not queue.again(aside)
    assert queue.get(aside).state == SET_ASIDE
    assert not queue.again("0" * 32)


def test_a_cancelled_job_is_not_finished(queue):
    job, _ = add(queue)
    queue.take()
    assert queue.cancel(job)
    assert not queue.finish(job, {})
    assert queue.get(job).state == CANCELLED


def test_recover_goes_on_where_the_process_was_killed(queue):
    running, _ = add(queue, "running")
    queue.take()
    half, _ = add(queue, "not moved in")
    moved, _ = add(queue, "moved in")
    no_rule, _ = add(queue, "no rule", set_aside="no rule matches")
    lost, _ = add(queue, "row lost")
    with sqlite3.connect(queue.path) as db:
        db.execute("UPDATE jobs SET state = 'received' WHERE id IN (?, ?, ?)", (half, moved, no_rule))
        db.execute("DELETE FROM jobs WHERE id = ?", (lost,))
    (queue.get(half).folder / "in").rename(queue.home / "incoming" / "half")
    assert queue.recover() == [running]
    states = {job: getattr(queue.get(job), "state", None) for job in (running, half, moved, no_rule, lost)}
    assert states == {running: WAITING, half: None, moved: WAITING, no_rule: SET_ASIDE, lost: SET_ASIDE}
    assert queue.get(running).attempts == 1
    assert sorted(path.name for path in (queue.home / "jobs").iterdir()) == sorted(states.keys() - {half})


def test_a_released_job_was_not_tried(queue):
    job, _ = add(queue)
    queue.take()
    assert queue.release(job)
    assert (queue.get(job).state, queue.get(job).attempts) == (WAITING, 0)


def test_old_jobs_go_with_their_files_and_live_ones_stay(queue):
    done, _ = add(queue, "done")
    queue.take()
    queue.finish(done, {})
    waiting, _ = add(queue, "waiting")
    folder = queue.get(done).folder
    assert queue.forget(older_than=queue.now() - 60) == []
    assert queue.forget(older_than=queue.now() + 60) == [done]
    assert not folder.exists()
    assert queue.get(waiting).state == WAITING


def test_a_folder_that_can_t_be_moved_leaves_no_row(queue):
    with pytest.raises(OSError, match="gone"):
        queue.add(queue.home / "gone", origin="rest", identity="a")
    assert queue.jobs() == []
    assert add(queue)[1]


def test_another_file_is_no_queue(tmp_path):
    (tmp_path / "queue.sqlite").write_bytes(b"no SQLite, " * 100)
    with pytest.raises(MedsegError, match="expected a queue that medseg has written"):
        Queue(tmp_path / "queue.sqlite")


def test_a_queue_of_another_version_is_refused(queue):
    with sqlite3.connect(queue.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(MedsegError, match="version 99"):
        Queue(queue.path)


def test_a_full_disk_is_told_and_changes_nothing(queue):
    job, _ = add(queue)
    pages = queue._db.execute("PRAGMA page_count").fetchone()[0]
    queue._db.execute(f"PRAGMA max_page_count = {pages}")
    queue.take()
    with pytest.raises(OSError, match="No space left"):
        queue.finish(job, {"text": "x" * 100_000})
    assert queue.get(job).state == RUNNING


def test_many_threads_take_each_job_once(queue):
    added = {add(queue, str(number))[0] for number in range(40)}
    taken = []

    def work():
        while job := queue.take():
            taken.append(job.id)
            queue.finish(job.id, {})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(added)
    assert set(taken) == added


WORK = """
import sys
from pathlib import Path
from medseg.server.queue import Queue

queue = Queue(sys.argv[1])
queue.recover()
for folder in sorted(Path(sys.argv[2]).iterdir()):
    queue.add(folder, origin="dicom", identity=folder.name)
    print("added", flush=True)
while job := queue.take():
    queue.finish(job.id, {}, deliver=True)
    print("ran", flush=True)
for job in queue.due_deliveries():
    queue.delivered(job.id, "pacs")
    queue.done(job.id)
    print("delivered", flush=True)
"""


@pytest.mark.seconds
def test_kills_at_any_moment_lose_nothing_and_double_nothing(tmp_path):
    queue = Queue(tmp_path / "queue.sqlite")
    incoming = tmp_path / "receiving"
    for number in range(60):
        (incoming / f"{number:03}").mkdir(parents=True)
    lines, kills, ended = random.Random(5), 0, False
    while not ended:
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, queue.path, incoming], stdout=subprocess.PIPE, text=True
        )
        for _ in range(lines.randint(5, 40)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        ended, kills = process.returncode == 0, kills + (process.returncode == -signal.SIGKILL)
        ended = ended or {job.state for job in queue.jobs()} == {DONE}
    assert kills > 3
    found = queue.jobs(limit=-1)
    assert {job.state for job in found} == {DONE}
    assert sorted(job.identity for job in found) == [f"{number:03}" for number in range(60)]
    queue.close()
