"""What is old goes, and a clock that jumps removes nothing."""

import pytest

from medseg.server.janitor import DAY_S, Janitor
from medseg.server.queue import Queue


class Clocks:
    wall, steady = 1e9, 0.0

    def advance(self, seconds):
        self.wall, self.steady = self.wall + seconds, self.steady + seconds


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def queue(tmp_path, clocks):
    made = Queue(tmp_path / "queue.sqlite", now=lambda: clocks.wall)
    yield made
    made.close()


@pytest.fixture
def done(queue, tmp_path):
    (tmp_path / "new").mkdir()
    job, _ = queue.add(tmp_path / "new", origin="rest", identity="a")
    queue.take()
    queue.finish(job, {})
    return job


def test_what_ended_goes_after_the_stated_days(queue, clocks, done):
    janitor = Janitor(queue, None, keep_days=2, clock=lambda: clocks.steady)
    clocks.advance(1.9 * DAY_S)
    assert janitor.step() == []
    clocks.advance(0.2 * DAY_S)
    assert janitor.step() == [done]
    assert queue.jobs() == []


@pytest.mark.parametrize("jump_s", [3650 * DAY_S, -3650 * DAY_S], ids=["ahead", "back"])
def test_a_clock_that_jumps_removes_nothing(queue, clocks, done, jump_s):
    janitor = Janitor(queue, None, keep_days=2, clock=lambda: clocks.steady)
    clocks.wall += jump_s
    assert janitor.step() == []
    clocks.wall -= jump_s
    clocks.advance(3 * DAY_S)
    assert janitor.step() == [done]
