"""The page of a node's queue, and the form that lets a browser in. Both load nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.reports.page import render

REFRESH_S = 5
# What a browser may do with these pages.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# State to its word on the page and its class of style.
STATES = {
    "received": ("received", "soon"),
    "waiting": ("waiting", "soon"),
    "running": ("running", "now"),
    "delivering": ("delivering", "now"),
    "done": ("done", "good"),
    "set_aside": ("set aside", "bad"),
    "cancelled": ("cancelled", "off"),
}


def queue_page(counts: Mapping[str, int], jobs: Sequence[Mapping[str, Any]], now: str) -> str:
    """The page, as HTML that asks for itself again after REFRESH_S seconds.

    Args:
        counts: state to the number of jobs in it.
        jobs: the latest first; id, state, reason, task, origin, rule, attempts, received, seconds, verdict
            and files of each. Times are ISO 8601 in UTC.
        now: the time of the page.
    """
    rows = [{**job, "clock": _clock(job["received"], now)} for job in jobs]
    total = sum(counts.values())
    return render(
        "queue.html.j2",
        counts=counts,
        jobs=rows,
        states=STATES,
        now=_clock(now, ""),
        total=total,
        refresh=REFRESH_S,
    )


def login_page(trouble: str = "") -> str:
    """The form that takes a token, with what was wrong with the last one."""
    return render("queue_login.html.j2", trouble=trouble)


def _clock(time: str, now: str) -> str:
    """An ISO time as 2026-11-30 20:47:05, without the day where that is today."""
    day, _, clock = time.partition("T")
    clock = clock[:8]
    return clock if day == now[:10] else f"{day} {clock}"
