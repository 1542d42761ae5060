"""Segmentation on a Ray cluster of two nodes, of which one is killed: nothing is lost, masks are the same."""

import os
import signal
import time
from pathlib import Path

import pytest
from fundus_pictures import phantom, write_png

from medseg.errors import MedsegError
from medseg.io.raster import read_mask
from medseg.workers import Job, Segmenters, Settings, run_job

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.slow

SETTINGS = Settings("retinal_vessel", method="threshold", device="cpu")
DEADLINE_S = 300


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one processor each on this machine; connect by RAY_ADDRESS."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=node)
    second = found.add_node(**node)
    found.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found, second
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def jobs(tmp_path):
    """Photographs, one of which can't be read."""
    (tmp_path / "images").mkdir()
    made = []
    for number in range(12):
        path = tmp_path / "images" / f"eye_{number}.png"
        write_png(path, phantom(number % 3)[0])
        made.append(Job(path.stem, (str(path),), str(tmp_path / "out" / path.stem), SETTINGS))
    broken = tmp_path / "images" / "broken.png"
    broken.write_bytes(b"no picture")
    return [*made, Job("broken", (str(broken),), str(tmp_path / "out" / "broken"), SETTINGS)]


def run_all(engine, jobs, on_outcome=lambda outcome: None):
    """Segment as the runner does: some in flight, a crash is tried again. Key to outcomes, in order."""
    waiting, found = list(jobs), {job.key: [] for job in jobs}
    by_key = {job.key: job for job in jobs}
    deadline = time.monotonic() + DEADLINE_S
    while waiting or engine.in_flight:
        assert time.monotonic() < deadline, f"in flight: {engine.in_flight}"
        while waiting and len(engine.in_flight) < engine.capacity:
            engine.submit(waiting.pop(0))
        for outcome in engine.outcomes(1.0):
            found[outcome.key].append(outcome)
            on_outcome(outcome)
            if outcome.state == "crashed" and len(found[outcome.key]) < 3:
                waiting.append(by_key[outcome.key])
    return found


def pixels(folder):
    return read_mask(Path(folder) / "segmentation.png", {0: "background", 1: "vessel"}).array


def test_a_killed_node_loses_no_case_and_changes_no_mask(cluster, jobs, tmp_path):
    from medseg.cohort.ray_engine import RayEngine

    nodes, second = cluster
    seen = []

    def kill_after_some(outcome):
        seen.append(outcome.worker)
        if len(seen) == 4:
            assert len(set(seen)) == 2, "both nodes work"
            nodes.remove_node(second, allow_graceful=False)

    with RayEngine(2) as engine:
        found = run_all(engine, jobs, kill_after_some)
    assert {key: outcomes[-1].state for key, outcomes in found.items()} == {
        job.key: "refused" if job.key == "broken" else "done" for job in jobs
    }
    assert found["broken"][-1].kind == "UnreadableError"
    assert sum(outcome.state == "crashed" for each in found.values() for outcome in each) >= 1
    segmenters = Segmenters()
    for job in jobs[:3]:
        alone = Job(job.key, job.source, str(tmp_path / "alone" / job.key), SETTINGS)
        assert run_job(alone, segmenters).state == "done"
        for other in (each for each in jobs[:12] if int(each.key[4:]) % 3 == int(job.key[4:])):
            assert (pixels(other.output) == pixels(alone.output)).all()
    assert (pixels(jobs[0].output) > 0).any()


def test_what_takes_too_long_is_given_up_and_what_is_cancelled_has_no_outcome(cluster, jobs):
    from medseg.cohort.ray_engine import RayEngine

    def ends(count):
        found, deadline = {}, time.monotonic() + DEADLINE_S
        while len(found) < count and time.monotonic() < deadline:
            found |= {outcome.key: outcome for outcome in engine.outcomes(1.0)}
        return found

    first, stuck, cancelled, last = jobs[:4]
    with RayEngine(1, timeout_s=15) as engine:
        engine.submit(first)
        process = int(ends(1)[first.key].worker.partition(":")[2])
        os.kill(process, signal.SIGSTOP)  # as one that waits for a file that never comes
        for job in (stuck, cancelled, last):
            engine.submit(job)
        engine.cancel(cancelled.key)
        found = ends(2)
        assert {key: outcome.state for key, outcome in found.items()} == {
            stuck.key: "timed_out",
            last.key: "done",
        }
        assert engine.in_flight == ()
        engine.submit(cancelled)
        while not engine._running:
            engine.outcomes(0.1)
        engine.cancel(cancelled.key)  # while it runs
        assert engine.in_flight == ()


def test_without_a_cluster_it_says_how_to_start_one(monkeypatch):
    from medseg.cohort.ray_engine import RayEngine

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(MedsegError, match="ray start --head"):
        RayEngine(1)
