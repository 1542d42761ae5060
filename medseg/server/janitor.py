"""What is old goes: jobs that ended some days ago, and what senders have left half sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from medseg.server.dicom.series import Incoming
from medseg.server.queue import Queue

LOG = logging.getLogger("medseg.server")

DAY_S = 86400.0
_JUMP_S = 3600.0


class Janitor:
    """Removes what is older than `keep_days`; `step` is called from time to time by one thread.

    While the computer's clock and one that only counts seconds disagree by an hour, it removes no job: a
    clock that has jumped into the future would make all of them old. They are compared since the start.
    """

    def __init__(
        self,
        queue: Queue,
        incoming: Incoming | None,
        keep_days: float,
        idle_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._incoming, self._keep_s, self._clock = queue, incoming, keep_days * DAY_S, clock
        self._half_sent_s = 60.0 + 2 * idle_s  # nobody writes to such a file any more
        self._offset_s = queue.now() - clock()
        self._has_jumped = False

    def step(self) -> list[str]:
        """Remove what is old; returns the ids of the jobs that went."""
        if self._incoming is not None:
            self._incoming.sweep(self._half_sent_s)
        jumped = abs(self._queue.now() - self._clock() - self._offset_s) > _JUMP_S
        if jumped != self._has_jumped:
            self._has_jumped = jumped
            LOG.warning("the clock has jumped: %s", "no job is removed" if jumped else "it is right again")
        if jumped:
            return []
        gone = self._queue.forget(self._queue.now() - self._keep_s)
        if gone:
            LOG.info("%d old jobs were removed", len(gone))
        return gone
