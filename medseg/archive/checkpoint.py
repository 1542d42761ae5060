"""Keeps the two threads of an association from taking each other's messages.

While pynetdicom (3.0.4) waits for an answer, its reactor thread is to stand still at a checkpoint. It asks a
flag for that, which is also true when the reactor has just passed the checkpoint: on a busy machine about one
of 1,800 answers then went to the reactor, which drops it, and the association waited until it timed out.
"""

from __future__ import annotations

import threading
from typing import Any

_POLL_S = 0.05


class Checkpoint(threading.Event):
    """An event whose `clear` returns when the one thread that waits for it has arrived.

    Args:
        reactor: that thread; clearing doesn't wait for it once it has ended.
    """

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor = reactor
        self._state = threading.Condition()
        self._is_open, self._has_arrived = True, False
        super().set()

    def set(self) -> None:
        with self._state:
            self._is_open = True
            super().set()
            self._state.notify_all()

    def clear(self) -> None:
        with self._state:
            self._is_open = False
            super().clear()
            if threading.current_thread() is self._reactor:
                return
            while not self._has_arrived and self._reactor.is_alive():
                self._state.wait(_POLL_S)

    def wait(self, timeout: float | None = None) -> bool:
        with self._state:
            self._has_arrived = not self._is_open
            self._state.notify_all()
            done = self._state.wait_for(lambda: self._is_open, timeout)
            self._has_arrived = False
            return done


def keep_apart(association: Any) -> None:
    """Give an established association of pynetdicom such a checkpoint."""
    if association.is_established:
        association._reactor_checkpoint = Checkpoint(association)
