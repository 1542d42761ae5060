"""From the queue to the workers and back: what becomes of a job after each kind of outcome."""

import os

import pytest

from medseg.server.dispatch import MOST_ATTEMPTS, Dispatcher, judge, pause_s, sources
from medseg.server.metrics import Metrics
from medseg.server.queue import DELIVERING, DONE, LONGEST_PAUSE_S, RUNNING, SET_ASIDE, WAITING, Queue
from medseg.workers.job import Outcome


class ScriptedWorkers:
    """Workers whose outcomes a test gives."""

    def __init__(self):
        self.jobs, self.ready, self.cancelled = {}, [], []

    @property
    def in_flight(self):
        return tuple(self.jobs)

    def submit(self, job):
        self.jobs[job.key] = job

    def outcomes(self, wait_s):
        found, self.ready = self.ready, []
        return found

    def cancel(self, key):
        self.cancelled.append(key)
        self.jobs.pop(key, None)

    def end(self, state, **values):
        ((key, _),) = self.jobs.items()
        del self.jobs[key]
        self.ready.append(Outcome(key, state, **values))


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "queue.sqlite")
    yield made
    made.close()


@pytest.fixture
def workers():
    return ScriptedWorkers()


@pytest.fixture
def dispatcher(queue, workers):
    return Dispatcher(queue, workers, Metrics(queue.counts))


def add(queue, **settings):
    folder = queue.home / "incoming" / os.urandom(4).hex()
    folder.mkdir(parents=True)
    for name in ("b.dcm", "a.dcm", "sender"):
        (folder / name).write_text("x")
    return queue.add(folder, origin="dicom", identity=folder.name, task="lung_ct", settings=settings)[0]


def test_a_job_goes_to_a_worker_and_its_result_into_the_queue(queue, workers, dispatcher):
    job = add(queue, formats=["dicom-seg"], method="residual_unet")
    dispatcher.step(0)
    (given,) = workers.jobs.values()
    assert [os.path.basename(path) for path in given.source] == ["a.dcm", "b.dcm"]
    assert (given.formats, given.settings.method) == (("dicom-seg",), "residual_unet")
    assert given.output == str(queue.get(job).folder / "out" / "case")
    workers.end("done", verdict="pass", seconds=2.0, outputs=(("segmentation.dcm", "00"),))
    assert dispatcher.step(0) == 1
    found = queue.get(job)
    assert (found.state, found.result["verdict"]) == (DONE, "pass")


def test_a_result_with_a_destination_is_delivered_next(queue, workers, dispatcher):
    job = add(queue, send_to=["pacs"])
    dispatcher.step(0)
    workers.end("done")
    dispatcher.step(0)
    assert queue.get(job).state == DELIVERING


def test_no_more_jobs_run_than_there_are_workers(queue, workers, dispatcher):
    first, second = add(queue), add(queue)
    dispatcher.step(0)
    dispatcher.step(0)
    assert list(workers.jobs) == [first]
    assert queue.get(second).state == WAITING


def test_a_crash_is_tried_once_more(queue, workers, dispatcher):
    job = add(queue)
    for _ in range(2):
        dispatcher.step(0)
        workers.end("crashed", kind="signal 9")
    dispatcher.step(0)
    found = queue.get(job)
    assert (found.state, found.attempts) == (SET_ASIDE, 2)
    assert found.reason == "its worker ended twice (signal 9)"


@pytest.mark.parametrize("state", ["refused", "failed", "timed_out"])
def test_what_would_fail_again_is_set_aside_at_once(queue, workers, dispatcher, state):
    job = add(queue)
    dispatcher.step(0)
    workers.end(state, kind="UnsuitableError", text="expected a chest; got a head.")
    dispatcher.step(0)
    assert queue.get(job).state == SET_ASIDE
    assert ("expected a chest" in queue.get(job).reason) == (state != "timed_out")


def test_a_full_disk_waits_with_growing_pauses_and_loses_nothing(queue, workers, dispatcher):
    job, pauses = add(queue), []
    for _ in range(3):
        dispatcher.step(0)
        workers.end("failed", kind="OSError", text="No space left on device", is_full=True)
        dispatcher.step(0)
        found = queue.get(job)
        assert found.state == WAITING
        pauses.append(found.next_try - queue.now())
        queue._change(job, (WAITING,), next_try=0.0)
    assert pauses == pytest.approx([5, 10, 20], abs=1)


def test_an_outcome_that_can_t_be_written_down_is_kept(queue, workers, dispatcher, monkeypatch):
    job = add(queue)
    dispatcher.step(0)
    workers.end("done", verdict="pass")
    with monkeypatch.context() as patch:
        patch.setattr(queue, "finish", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        for _ in range(2):
            with pytest.raises(OSError, match="full"):
                dispatcher.step(0)
    assert queue.get(job).state == RUNNING
    dispatcher.step(0)
    assert queue.get(job).state == DONE


def test_a_cancelled_job_is_stopped(queue, workers, dispatcher):
    job = add(queue)
    dispatcher.step(0)
    queue.cancel(job)
    dispatcher.step(0)
    assert workers.cancelled == [job]
    assert not dispatcher.is_busy


def test_what_runs_is_given_back(queue, workers, dispatcher):
    job = add(queue)
    dispatcher.step(0)
    dispatcher.release()
    assert (queue.get(job).state, queue.get(job).attempts) == (WAITING, 0)


def test_a_job_that_never_ends_is_given_up(queue, workers, dispatcher):
    job = add(queue)
    queue._change(job, (WAITING,), attempts=MOST_ATTEMPTS)
    dispatcher.step(0)
    assert "never ended" in queue.get(job).reason


def test_the_remains_of_a_killed_attempt_go(queue, workers, dispatcher):
    job = queue.get(add(queue))
    (job.folder / "out" / "case").mkdir(parents=True)
    dispatcher.step(0)
    assert not (job.folder / "out").exists()
    assert len(sources(job)) == 2


def test_pauses_grow_up_to_the_longest():
    assert [pause_s(number) for number in (1, 2, 3)] == [5, 10, 20]
    assert pause_s(1000) == LONGEST_PAUSE_S


def test_a_text_is_told_where_there_is_one():
    assert judge(Outcome("a", "failed", text="broken"), 1, 0).reason == "broken"
    assert judge(Outcome("a", "failed"), 1, 0).reason == "failed"
