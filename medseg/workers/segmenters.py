"""Segment one case in this process, with models that stay loaded."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.errors import InputError, MedsegError, error_text
from medseg.workers.job import DONE, FAILED, REFUSED, Job, Outcome, Settings

if TYPE_CHECKING:
    from medseg.pipeline import Segmenter

_MOST = 4  # models that stay loaded; the one that was not used for longest goes
# The disk, and not the case, is what is wrong.
_DISK = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.EHOSTDOWN}


class Segmenters:
    """The models of this process, each loaded when it is first asked for."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, Segmenter] = OrderedDict()

    def __call__(self, settings: Settings) -> Segmenter:
        """The Segmenter of these settings; errors as for medseg.Segmenter."""
        from medseg.pipeline import Segmenter

        name = repr(settings)  # overrides may hold lists, which can't be hashed
        if name not in self._loaded:
            while len(self._loaded) >= _MOST:
                self._loaded.popitem(last=False)
            self._loaded[name] = Segmenter(
                settings.task,
                settings.device,
                dict(settings.overrides),
                settings.method,
                settings.mode,
                settings.weights,
                settings.fold,
            )
        self._loaded.move_to_end(name)
        return self._loaded[name]


class _SettingsError(Exception):
    """No model could be loaded; the cause says why."""


def worker_name() -> str:
    """This process, for a table of what ran where."""
    return f"{platform.node()}:{os.getpid()}"


def run_job(job: Job, segmenters: Segmenters) -> Outcome:
    """Segment and save one case as `medseg segment` does; whatever goes wrong stands in the outcome."""
    start = time.monotonic()
    try:
        found = _segment(job, segmenters)
    except Exception as error:
        found = _failure(error)
    return Outcome(job.key, seconds=time.monotonic() - start, worker=worker_name(), **found)


def _segment(job: Job, segmenters: Segmenters) -> dict[str, Any]:
    from medseg.outputs import require_unreviewed
    from medseg.sources import RECORD, remember

    try:
        segmenter = segmenters(job.settings)
    except Exception as error:
        raise _SettingsError from error
    folder = Path(job.output)
    require_unreviewed(folder)  # saving refuses it too, but only after minutes of work
    spacing = (job.pixel_spacing_mm,) * 2 if job.pixel_spacing_mm else None
    segmenter(job.input, spacing).save(folder, job.formats, job.even_rejected)
    remember(folder.parent, folder.name, job.input, job.formats)
    record = json.loads((folder / RECORD).read_text("utf-8"))
    return {
        "state": DONE,
        "verdict": record["quality"]["verdict"],
        "warnings": tuple(record["warnings"]),
        "input_sha256": record["provenance"]["input_sha256"],
        "outputs": tuple(digests(folder).items()),
    }


def _failure(error: Exception) -> dict[str, Any]:
    is_settings = isinstance(error, _SettingsError)
    cause = error.__cause__ if is_settings and error.__cause__ is not None else error
    disk = None if isinstance(cause, MedsegError) else _disk_error(cause)
    return {
        "state": REFUSED if isinstance(cause, InputError) and not is_settings else FAILED,
        "kind": type(disk or _first(cause)).__name__,
        "text": _place_of(disk) if disk else error_text(cause),
        "is_full": disk is not None,
        "is_settings": is_settings and isinstance(cause, MedsegError),
    }


def _first(error: BaseException) -> BaseException:
    """The error that others were raised from, as error_text names it: MONAI wraps those of transforms."""
    while not isinstance(error, MedsegError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _disk_error(error: BaseException | None) -> OSError | None:
    """The error in a chain that says the disk is full or broken."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK:
            return error
        error = error.__cause__ or error.__context__
    return None


def _place_of(error: OSError) -> str:
    return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"


def digests(folder: str | os.PathLike[str]) -> Mapping[str, str]:
    """File name to SHA-256 of the files of a case's folder; hidden ones don't count."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and path.name[0] != ".")
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
