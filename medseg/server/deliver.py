"""Results go to the archives that a rule names: tried again while one is away, given up when it says no.

A result is made once, with its own SOPInstanceUIDs, and sent as it is until each archive has it. What an
archive has is noted before the next step; a process that is killed between the answer and the note sends the
same instances again, which an archive knows by their UIDs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medseg.archive.address import Archive
from medseg.errors import ArchiveAwayError, MedsegError, UnreadableError, error_text
from medseg.io.dicom.files import dicom_files
from medseg.server.dispatch import CASE, pause_s
from medseg.server.queue import Queue, QueueJob

LOG = logging.getLogger("medseg.server")


def deliver(
    job: QueueJob,
    queue: Queue,
    archives: Mapping[str, Archive],
    send: Callable[[Sequence[Path], Archive], object],
) -> str:
    """Send the result of a job to the archives that don't have it.

    Args:
        job: in the state delivering.
        queue: where each success, the next attempt or the reason of a failure is noted.
        archives: by name.
        send: medseg.archive.send.

    Returns:
        done, retried or set_aside.

    Raises:
        OSError: the disk is full or broken.
    """
    files = sorted(dicom_files(job.folder / "out" / CASE))
    if not files:
        verdict = job.result.get("verdict") or "unknown"
        queue.set_aside(job.id, f"its result has no DICOM file to send (quality verdict: {verdict})")
        return "set_aside"
    away: list[str] = []
    refused: list[str] = []
    for name in job.settings.get("send_to", ()):
        if name in job.delivered:
            continue
        try:
            _send_to(name, files, archives, send)
        except ArchiveAwayError as error:
            away.append(f"{name}: {error}")
        except (MedsegError, UnreadableError) as error:
            refused.append(f"{name}: {error_text(error)}")
        else:
            queue.delivered(job.id, name)
    if away:
        queue.retry(job.id, queue.now() + pause_s(job.attempts + 1), "; ".join(away + refused))
        return "retried"
    if refused:
        queue.set_aside(job.id, "; ".join(refused))
        return "set_aside"
    queue.done(job.id)
    return "done"


def deliver_due(
    queue: Queue,
    archives: Mapping[str, Archive],
    send: Callable[[Sequence[Path], Archive], object],
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Deliver all that is due; returns how many were tried. Errors as for `deliver`."""
    jobs = queue.due_deliveries()
    for number, job in enumerate(jobs):
        if stopping():
            return number
        state = deliver(job, queue, archives, send)
        found = queue.get(job.id)
        reason = f": {found.reason}" if found and found.reason else ""
        LOG.info("job %s: delivery %s%s", job.id, state.replace("_", " "), reason)
    return len(jobs)


def _send_to(
    name: str,
    files: Sequence[Path],
    archives: Mapping[str, Archive],
    send: Callable[[Sequence[Path], Archive], object],
) -> None:
    if name not in archives:
        raise MedsegError("an archive of node.yaml", got=name, advice="Add it and send the study again.")
    send(files, archives[name])
