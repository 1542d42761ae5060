"""Counts and times of a node in Prometheus' form.

Every label has a short list of values that this code names, so that no sender can add one; none holds text of
an image or of a sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

REFUSALS = (
    *(
        "broken",
        "busy",
        "disk",
        "fields",
        "files",
        "image",
        "method",
        "order",
        "path",
        "size",
        "slow",
        "state",
    ),
    *("token", "type", "unknown", "error"),
)
OUTCOMES = ("done", "set_aside", "cancelled", "retried")
ORIGINS = ("dicom", "rest")
_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_BYTES = tuple(4.0**power for power in range(5, 17))  # 1 KB to 4 GB


class Metrics:
    """What a node counts since it was started, and the queue's states at the time of asking.

    Args:
        counts: gives state to the number of jobs in it.
    """

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

        disable_created_metrics()  # a second series for each, of when it began
        self._registry = CollectorRegistry()
        more: dict[str, Any] = {"registry": self._registry, "namespace": "medseg"}
        self._refused = Counter("refused_total", "Requests refused, by reason", ["origin", "reason"], **more)
        self._ended = Counter("ended_total", "Jobs that ended, or wait again", ["origin", "outcome"], **more)
        self._received = Histogram(
            "received_bytes", "Bytes of a job as it was received", ["origin"], buckets=_BYTES, **more
        )
        self._seconds = Histogram(
            "segment_seconds", "Seconds from a job's start to its result", buckets=_SECONDS, **more
        )
        self._delay = Histogram(
            "delay_seconds", "Seconds from a job's arrival to its end", buckets=_SECONDS, **more
        )
        self._registry.register(_States(counts))
        for origin in ORIGINS:
            self._received.labels(origin)

    def refused(self, reason: str, origin: str = "rest") -> None:
        self._refused.labels(_of(ORIGINS, origin), reason if reason in REFUSALS else "error").inc()

    def received(self, size: int, origin: str = "rest") -> None:
        self._received.labels(_of(ORIGINS, origin)).observe(size)

    def ended(
        self, origin: str, outcome: str, seconds: float | None = None, delay: float | None = None
    ) -> None:
        """Count a job: one of OUTCOMES, with its seconds of computing and those since its arrival."""
        self._ended.labels(_of(ORIGINS, origin), _of(OUTCOMES, outcome)).inc()
        if seconds is not None:
            self._seconds.observe(seconds)
        if delay is not None:
            self._delay.observe(delay)

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def _of(known: tuple[str, ...], value: str) -> str:
    return value if value in known else "other"


class _States:
    """A collector, as prometheus_client calls what is asked for values when they are wanted."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily("medseg_jobs", "Jobs in the queue, by state", labels=["state"])
        for state, number in self._counts().items():
            family.add_metric([state], number)
        yield family

    def describe(self) -> list[Any]:
        return []
