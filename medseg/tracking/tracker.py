"""One MLflow run for one training: starts it, fills it, resumes it after a kill, and ends it.

Every call first writes an event to a journal on disk. Committed events are sent to MLflow when the store
responds. When it does not, the training continues and the journal keeps them.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from medseg.bundle import sha256
from medseg.errors import MedsegError, UsageError
from medseg.tracking.delivery import HOST_TAG, PROCESS_TAG, Delivery
from medseg.tracking.journal import NAME, Journal, is_gone, this_process
from medseg.tracking.signals import terminable, undisturbed
from medseg.tracking.store import (
    DEFAULT_STORE,
    KIND_TAG,
    StoreUnavailable,
    brief,
    connect,
    database,
    experiment_id,
    flatten,
    impatience,
    shortened,
    tracking_uri,
    valid_name,
    without_password,
)

__all__ = [
    "DEFAULT_STORE",
    "EndedEarly",
    "Tracker",
    "deliver",
    "experiment_pages",
    "is_finished",
    "mark_killed_runs",
    "tracked",
    "tracking_uri",
]

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 300.0
# At or below MLflow's limits.
_PARAMETER_LENGTH, _TAG_LENGTH = 6000, 5000
_logger = logging.getLogger(__name__)


class EndedEarly(MedsegError):
    """A run was ended on purpose before its end, such as a trial that promises less than others."""


class Tracker:
    """One MLflow run, identified by a unique key.

    Args:
        folder: the folder of the journal, used by one run only.
        experiment: MLflow experiment, created if it is new.
        run_name: shown by MLflow; None for the time.
        parent: the `key` of the parent run.
        key: of a run that several processes fill, each from a folder of its own: the first one creates it,
            the others add to it; None for a run of this process alone.
        resume_at: the `position` at the checkpoint from which the training resumes; None starts a new run.

    Raises:
        UsageError: MLflow can't use the address in MLFLOW_TRACKING_URI or the experiment's name, or another
            process tracks into the folder.
        MedsegError: the experiment is deleted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        experiment: str,
        run_name: str | None = None,
        parent: str | None = None,
        key: str | None = None,
        resume_at: int | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self.folder / NAME)
        self._next_try, self._pause, self._is_away = 0.0, _FIRST_PAUSE_SECONDS, False
        if _in_use(self._journal):
            raise UsageError(
                "a folder that no other process tracks into",
                got=str(folder),
                advice="Wait until that process ends, or choose another folder.",
            )
        self._require_store(experiment)
        self.key = self._resume(resume_at) or self._start(experiment, run_name, parent, key)
        self._delivery = Delivery(self._journal)
        self._deliver()

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None until the store has responded."""
        return self._delivery.run_id

    @property
    def position(self) -> int:
        """The size of the journal in bytes, after it was flushed to disk."""
        self._journal.flush()
        return self._journal.size

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Track parameters to compare runs by; names of nested values are joined by dots."""
        flat = {
            valid_name(name): shortened(value, _PARAMETER_LENGTH) for name, value in flatten(values).items()
        }
        self._journal.note("parameters", values=flat)

    def tags(self, values: Mapping[str, str]) -> None:
        self._journal.note(
            "tags", values={valid_name(name): shortened(value, _TAG_LENGTH) for name, value in values.items()}
        )

    def dataset(self, name: str, digest: str, split: str) -> None:
        """Track a data set that this run uses, and the split."""
        self._journal.note("dataset", name=name, digest=digest, split=split)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Track numbers at one step; infinite values become NaN in MLflow."""
        self._journal.note(
            "metrics",
            values={valid_name(name): float(value) for name, value in values.items()},
            step=int(step),
        )

    def artifact(self, path: Path, folder: str = "") -> None:
        """Track a file or a whole directory, in its state at the time of delivery.

        Args:
            path: the file or directory, whose name is kept.
            folder: the folder among the run's artifacts; "" for the top.
        """
        self._journal.note("artifact", path=self._relative(path), folder=folder)

    def picture(self, path: Path, key: str, step: int) -> None:
        """Track an image file, which MLflow shows in its grid by key and step."""
        key = re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", key) or "_"
        self._journal.note("picture", path=self._relative(path), key=key, step=int(step))

    def model(self, path: Path, name: str) -> None:
        """Register a new version in MLflow's model registry.

        Args:
            path: a directory that mlflow.pytorch.save_model has written.
            name: the name of the registered model, which is created if it is new.
        """
        digests = "\n".join(f"{sha256(file)}  data/{file.name}" for file in sorted(path.glob("data/*.pt*")))
        name = re.sub(r"[/:'\"]", "_", name)
        self._journal.note("model", path=self._relative(path), name=name, sha256=digests)

    def commit(self) -> None:
        """Make the events so far final; they are sent to MLflow now or when the store responds again."""
        self._journal.note("commit")
        self._journal.flush()
        self._deliver()

    def finish(self, status: str) -> None:
        """End the run.

        Args:
            status: FINISHED, FAILED or KILLED. After the last two, uncommitted events are not sent, because
                a resumed training repeats them.
        """
        self._journal.note("finish", status=status)
        self._journal.flush()
        self._next_try = 0.0
        self._deliver()
        if self._is_away:
            _logger.warning(
                "MLflow does not have all of this run. %s keeps the rest; `medseg sync %s` sends it.",
                self._journal.path,
                self.folder.parent,
            )

    def _require_store(self, experiment: str) -> None:
        """Raise errors that the user can correct; a store that does not respond may come back."""
        try:
            with impatience():
                experiment_id(connect(), experiment)
        except MedsegError:
            raise
        except Exception as error:
            self._postpone(error)

    def _resume(self, position: int | None) -> str | None:
        if not position:
            return None
        redone = self._journal.cut(position)
        start = self._journal.start()
        if start is None:
            _logger.warning("%s is lost: the training continues in a new MLflow run.", self._journal.path)
            return None
        self._journal.note("resume", process=this_process(), redone=redone)
        return str(start.content["key"])

    def _start(self, experiment: str, run_name: str | None, parent: str | None, shared: str | None) -> str:
        self._journal.set_aside()
        key = shared or uuid.uuid4().hex
        self._journal.note(
            "start",
            experiment=experiment,
            run_name=run_name or datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            key=key,
            parent=parent,
            process=this_process(),
        )
        if shared:  # another process may have created the run, and ended it
            self._journal.note("resume", process=this_process(), redone={})
        return key

    def _deliver(self) -> None:
        if time.monotonic() < self._next_try:
            return
        try:
            self._delivery.deliver()
        except (StoreUnavailable, MedsegError) as error:
            self._postpone(error)
            return
        if self._is_away:
            _logger.info("MLflow responds again and has received everything.")
        self._next_try, self._pause, self._is_away = 0.0, _FIRST_PAUSE_SECONDS, False

    def _postpone(self, error: Exception) -> None:
        self._next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        level = logging.DEBUG if self._is_away else logging.WARNING
        self._is_away = True
        where, path = without_password(tracking_uri()), self._journal.path
        _logger.log(level, "MLflow at %s: %s. Training goes on; %s keeps the run.", where, brief(error), path)

    def _relative(self, path: Path) -> str:
        """A path relative to the folder, so that both can be moved; absolute if it lies elsewhere."""
        path = Path(path).absolute()
        return os.path.relpath(path, self.folder) if path.is_relative_to(self.folder.parent) else str(path)


@contextmanager
def tracked(tracker: Tracker) -> Iterator[Tracker]:
    """End the run at the end of the block: FINISHED, or FAILED on an exception.

    Ctrl-C, SIGTERM and EndedEarly make it KILLED.

    The exception is re-raised. SIGTERM becomes a KeyboardInterrupt in the main thread of this process.
    """
    with terminable():
        try:
            yield tracker
        except BaseException as error:
            status = "KILLED" if isinstance(error, (KeyboardInterrupt, EndedEarly)) else "FAILED"
            with undisturbed():
                try:
                    tracker.finish(status)
                except OSError:
                    _logger.exception("The end of the run (%s) could not be written to the journal.", status)
            raise
        with undisturbed() as signals:
            tracker.finish("FINISHED")
        for number in signals:
            signal.raise_signal(number)


def is_finished(folder: Path) -> bool:
    """Whether the journal in a folder ends with FINISHED."""
    last = list(Journal(Path(folder) / NAME).final())[-1:]
    return [entry.content.get("status") for entry in last] == ["FINISHED"]


def mark_killed_runs() -> list[str]:
    """Set RUNNING runs of this machine to KILLED if their process has ended; return their ids."""
    if (file := database()) and not file.exists():
        return []
    try:
        with impatience():
            return list(_mark_killed_runs(connect()))
    except MedsegError:
        raise
    except Exception as error:
        _logger.info("MLflow does not respond, so killed runs are not marked: %s", brief(error))
        return []


def experiment_pages(address: str) -> dict[str, str]:
    """The page of each experiment's runs on MLflow's server at an address; empty if it does not respond.

    MLflow's own start page leads to its view for language models, whatever the experiments are.
    """
    if (file := database()) and not file.exists():
        return {}
    try:
        with impatience():
            found = connect().search_experiments()
    except Exception as error:
        _logger.info("MLflow does not respond: %s", brief(error))
        return {}
    named = ((entry.name, entry.experiment_id) for entry in found if KIND_TAG in entry.tags)
    return {name: f"{address}/#/experiments/{number}?workflowType=machine_learning" for name, number in named}


def _mark_killed_runs(client: Any) -> Iterator[str]:
    this_host = this_process()["host"]
    query = f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{this_host}'"
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(experiments, query):
        run_id = run.info.run_id
        pid, _, created = run.data.tags.get(PROCESS_TAG, "").partition(" ")
        if not pid or not is_gone({"pid": int(pid), "created": float(created)}):
            continue
        # The process may have ended its run since the search; it is gone now, so this state is final.
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")
            yield run_id


def deliver(folder: Path) -> bool:
    """Send the unsent entries of all journals in a folder and its subfolders.

    Returns:
        Whether MLflow now has everything.

    Raises:
        UsageError: there is no journal, or MLflow can't use the address in MLFLOW_TRACKING_URI.
        MedsegError: an experiment is deleted.
    """
    found = map(Journal, Path(folder).rglob("journal*.jsonl"))
    journals = [(start.time_ms, journal) for journal in found if (start := journal.start())]
    if not journals:
        raise UsageError(
            "a folder of a tracked training",
            got=f"{folder} without {NAME}",
            advice="Give the training's output_dir.",
        )
    # A parent run started earlier and must be sent before its children.
    delivered = [_deliver(journal) for _, journal in sorted(journals, key=itemgetter(0))]
    return all(delivered)


def _deliver(journal: Journal) -> bool:
    if _in_use(journal):
        _logger.warning("%s is in use; its own training sends it.", journal.path)
        return False
    try:
        Delivery(journal).deliver()
    except StoreUnavailable as error:
        _logger.warning("%s is kept: %s", journal.path, error)
        return False
    return True


def _in_use(journal: Journal) -> bool:
    owner, this = journal.owner(), this_process()
    if owner is None or owner["host"] != this["host"] or owner["pid"] == this["pid"]:
        return False
    return not is_gone(owner)
