"""Whether a training is worth its remaining epochs: a search asks after each validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# An MLflow run that ended before its end on purpose has the state KILLED and this tag.
ENDED_TAG, PRUNED = "medseg.ended", "pruned"

_Watch = Callable[[int, float], bool]
_watching: ContextVar[_Watch | None] = ContextVar("what is told each validation", default=None)


@contextmanager
def watched(watch: _Watch) -> Iterator[None]:
    """Tell each validation of the trainings in this block.

    Args:
        watch: a function of the epoch (from 1) and the key metric that returns whether the training goes on.
            Otherwise it ends with medseg.tracking.tracker.EndedEarly after that epoch. The last epoch always
            ends as usual.
    """
    token = _watching.set(watch)
    try:
        yield
    finally:
        _watching.reset(token)


def goes_on(epoch: int, score: float) -> bool:
    """Whether a training goes on after a validation; it does where nobody watches."""
    watch = _watching.get()
    return watch is None or watch(epoch, score)
