"""Signals that end a program: SIGTERM becomes an exception, and both can be held back for a while."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM was received; it ends a program as Ctrl-C does."""


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into Terminated, in the main thread of this process."""
    owner = os.getpid()

    def on_signal(number: int, frame: Any) -> None:
        if os.getpid() == owner:
            raise Terminated
        # Forked workers inherit the handler; they end as they would without it.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    with _handling(on_signal, signal.SIGTERM):
        yield


@contextmanager
def undisturbed() -> Iterator[list[int]]:
    """Hold back SIGTERM and Ctrl-C; yields the list of the signals that were received."""
    received: list[int] = []
    with _handling(lambda number, frame: received.append(number), signal.SIGTERM, signal.SIGINT):
        yield received


@contextmanager
def _handling(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            # None stands for a handler that Python did not install and can't restore.
            signal.signal(number, signal.SIG_DFL if old is None else old)
