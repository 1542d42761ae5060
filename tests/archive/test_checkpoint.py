"""Once a checkpoint is cleared, the thread that waits at it does nothing until it is set again."""

import threading
import time

from medseg.archive.checkpoint import Checkpoint


def test_a_cleared_checkpoint_holds_the_reactor():
    turns, stop = [0], threading.Event()

    def react():
        while not stop.is_set():
            checkpoint.wait()
            time.sleep(0.0005)  # between the checkpoint and its work another thread may run
            turns[0] += 1

    reactor = threading.Thread(target=react, daemon=True)
    checkpoint = Checkpoint(reactor)
    reactor.start()
    for _ in range(50):
        checkpoint.clear()
        before = turns[0]
        time.sleep(0.002)
        assert turns[0] == before
        checkpoint.set()
    deadline = time.monotonic() + 10
    while turns[0] == before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert turns[0] > before
    stop.set()
    reactor.join(timeout=10)
    checkpoint.clear()  # the reactor has ended: this returns
    assert not checkpoint.is_set()
