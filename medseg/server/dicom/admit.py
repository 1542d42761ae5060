"""A series that is complete becomes a job, or is set aside with the reason why it does not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from medseg.errors import UnreadableError
from medseg.io.dicom.instance import Instance, read_instance
from medseg.server.config import NodeConfig, Rule
from medseg.server.database import sync_folder
from medseg.server.dicom.series import SENDER, has_two_versions
from medseg.server.queue import ENDED, RUNNING, WAITING, Queue, QueueJob
from medseg.server.rules import Facts, first_match

TWO_VERSIONS = "an image came twice with the same SOPInstanceUID and other pixels: one of the two is wrong"
NO_RULE = "no rule matches"
# Modalities that a reason may name: other texts there may be anything, a name too.
_MODALITIES = {
    *("CT", "MR", "US", "OP", "XC", "SC", "CR", "DX", "MG", "PT", "NM", "XA", "RF", "OPT", "OT", "ES", "SM"),
    *("SEG", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "KO", "PR", "DOC"),
}


def admit(folder: Path, config: NodeConfig, queue: Queue) -> tuple[str, bool]:
    """Make a job of a series' folder, which is moved into the queue.

    Slices of a series that came before are added to it, so that a late slice leads to a job of all of them.
    An earlier job of fewer slices that has not ended is cancelled.

    Args:
        folder: one of Incoming.complete.
        config: its rules are asked.
        queue: takes the job.

    Returns:
        The job's id, and whether it is a new job.

    Raises:
        OSError: the disk is full or broken; the folder is as it was, perhaps with earlier slices added.
    """
    series = folder.name.partition(".")[0]
    sender = (folder / SENDER).read_text("ascii") if (folder / SENDER).is_file() else ""
    earlier = queue.of_series(series)
    _add_earlier(folder, earlier)
    names = _names(folder)
    first = _first_readable(folder, names)
    rule = None if first is None else first_match(config.rules, _facts(first, sender))
    if first is None:
        reason = "none of its files can be read as DICOM"
    elif has_two_versions(names):
        reason = TWO_VERSIONS
    elif rule is None:
        known = f" (modality {first.modality})" if first.modality in _MODALITIES else ""
        reason = f"{NO_RULE} this series{known}"
    else:
        reason = ""
    size = sum((folder / name).stat().st_size for name in names)
    job, is_new = queue.add(
        folder,
        origin="dicom",
        identity=_identity(names, rule),
        task=rule.task if rule and not reason else "",
        rule=rule.name if rule and not reason else "",
        series=series,
        settings={"bytes": size, "instances": len(names), **(_settings(rule, config) if rule else {})},
        set_aside=reason,
    )
    if is_new and not reason:
        _supersede(queue, earlier)
    return job, is_new


def _settings(rule: Rule, config: NodeConfig) -> dict[str, object]:
    return {
        "method": rule.method,
        "mode": rule.mode,
        "device": config.device,
        "formats": list(rule.formats),
        "send_to": list(rule.send_to),
    }


def _identity(names: set[str], rule: Rule | None) -> str:
    """SHA-256 of the images and of what is done with them."""
    told = [] if rule is None else [rule.task, rule.method, rule.mode, *rule.formats, "to", *rule.send_to]
    return hashlib.sha256(json.dumps([sorted(names), told]).encode()).hexdigest()


def _facts(instance: Instance, sender: str) -> Facts:
    descriptions = instance.series_description, instance.study_description
    return Facts(instance.modality, instance.body_part, descriptions, sender)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".dcm"}


def _first_readable(folder: Path, names: set[str]) -> Instance | None:
    for name in sorted(names):
        try:
            return read_instance(folder / name)
        except UnreadableError:
            continue
    return None


def _add_earlier(folder: Path, earlier: Sequence[QueueJob]) -> None:
    """Link the slices of the latest job of the series, unless they contradict each other."""
    for job in earlier:
        came = job.folder / "in"
        if not came.is_dir():
            continue
        names = _names(came)
        if has_two_versions(names):
            continue
        for name in names - _names(folder):
            os.link(came / name, folder / name)
        sync_folder(folder)
        return


def _supersede(queue: Queue, earlier: Sequence[QueueJob]) -> None:
    for job in earlier:
        if job.state in (WAITING, RUNNING) and job.state not in ENDED:
            queue.cancel(job.id, "superseded: more images of the series came")
