"""One MLflow run for one training: medseg starts it, fills it, goes on with it after a kill, and ends it.

Every call notes an event in a journal on disk first. What is committed goes to MLflow when the store
answers; when it doesn't, training goes on and the journal waits.
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
    "Tracker",
    "deliver",
    "experiment_pages",
    "is_finished",
    "mark_killed_runs",
    "tracked",
    "tracking_uri",
]

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 300.0
# MLflow's limits, or lower.
_PARAMETER_LENGTH, _TAG_LENGTH = 6000, 5000
_logger = logging.getLogger(__name__)


class Tracker:
    """One MLflow run, which no other run is ever taken for.

    Args:
        folder: where the journal lies; one run's alone.
        experiment: MLflow experiment, made when it is new.
        run_name: shown by MLflow; None takes the time.
        parent: `key` of the run that this one is a part of.
        resume_at: `position` at the checkpoint that training goes on from; None begins a new run.

    Raises:
        UsageError: MLflow can't use what MLFLOW_TRACKING_URI names, or doesn't take the experiment's name;
            another process tracks into folder.
        MedsegError: the experiment is deleted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        experiment: str,
        run_name: str | None = None,
        parent: str | None = None,
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
                advice="Wait for its end, or choose another folder.",
            )
        self._require_store(experiment)
        self.key = self._resume(resume_at) or self._start(experiment, run_name, parent)
        self._delivery = Delivery(self._journal)
        self._deliver()

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None until the store has answered."""
        return self._delivery.run_id

    @property
    def position(self) -> int:
        """Bytes of the journal, which the disk then holds."""
        self._journal.flush()
        return self._journal.size

    def parameters(self, values: Mapping[str, Any]) -> None:
        """What to compare runs by; names of nested values are joined by a dot."""
        flat = {
            valid_name(name): shortened(value, _PARAMETER_LENGTH) for name, value in flatten(values).items()
        }
        self._journal.note("parameters", values=flat)

    def tags(self, values: Mapping[str, str]) -> None:
        self._journal.note(
            "tags", values={valid_name(name): shortened(value, _TAG_LENGTH) for name, value in values.items()}
        )

    def dataset(self, name: str, digest: str, split: str) -> None:
        """A data set that this run uses, and which split of it."""
        self._journal.note("dataset", name=name, digest=digest, split=split)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at one step; MLflow shows the infinite as no number."""
        self._journal.note(
            "metrics",
            values={valid_name(name): float(value) for name, value in values.items()},
            step=int(step),
        )

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file or a whole directory, as it is when it is delivered.

        Args:
            path: keeps its name.
            folder: of the run's artifacts; "" for the top one.
        """
        self._journal.note("artifact", path=self._relative(path), folder=folder)

    def picture(self, path: Path, key: str, step: int) -> None:
        """An image file that MLflow shows in its grid, by key and step."""
        key = re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", key) or "_"
        self._journal.note("picture", path=self._relative(path), key=key, step=int(step))

    def model(self, path: Path, name: str) -> None:
        """A new version in MLflow's model registry.

        Args:
            path: directory that mlflow.pytorch.save_model has written.
            name: of the registered model, made when it is new.
        """
        digests = "\n".join(f"{sha256(file)}  data/{file.name}" for file in sorted(path.glob("data/*.pt*")))
        name = re.sub(r"[/:'\"]", "_", name)
        self._journal.note("model", path=self._relative(path), name=name, sha256=digests)

    def commit(self) -> None:
        """What was noted so far is final: it goes to MLflow, now or when the store answers again."""
        self._journal.note("commit")
        self._journal.flush()
        self._deliver()

    def finish(self, status: str) -> None:
        """End the run.

        Args:
            status: FINISHED, FAILED or KILLED. After the last two, what wasn't committed stays unsent:
                a resumed training does it again.
        """
        self._journal.note("finish", status=status)
        self._journal.flush()
        self._next_try = 0.0
        self._deliver()
        if self._is_away:
            _logger.warning(
                "MLflow doesn't have all of this run. %s keeps it; `medseg sync %s` sends it.",
                self._journal.path,
                self.folder.parent,
            )

    def _require_store(self, experiment: str) -> None:
        """Raise now what the user can mend; a store that doesn't answer may come back."""
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
            _logger.warning("%s is lost: what follows is a new MLflow run.", self._journal.path)
            return None
        self._journal.note("resume", process=this_process(), redone=redone)
        return str(start.content["key"])

    def _start(self, experiment: str, run_name: str | None, parent: str | None) -> str:
        self._journal.set_aside()
        key = uuid.uuid4().hex
        self._journal.note(
            "start",
            experiment=experiment,
            run_name=run_name or datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            key=key,
            parent=parent,
            process=this_process(),
        )
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
            _logger.info("MLflow answers again and has everything.")
        self._next_try, self._pause, self._is_away = 0.0, _FIRST_PAUSE_SECONDS, False

    def _postpone(self, error: Exception) -> None:
        self._next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        level = logging.DEBUG if self._is_away else logging.WARNING
        self._is_away = True
        where, path = without_password(tracking_uri()), self._journal.path
        _logger.log(level, "MLflow at %s: %s. Training goes on; %s keeps it.", where, brief(error), path)

    def _relative(self, path: Path) -> str:
        """A path that stays true when the folder is moved, where that is possible."""
        path = Path(path).absolute()
        return os.path.relpath(path, self.folder) if path.is_relative_to(self.folder.parent) else str(path)


@contextmanager
def tracked(tracker: Tracker) -> Iterator[Tracker]:
    """End the run with the block: FINISHED, FAILED on an exception, KILLED on Ctrl-C and SIGTERM.

    The exception goes on. SIGTERM becomes a KeyboardInterrupt in the main thread of this process.
    """
    with terminable():
        try:
            yield tracker
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with undisturbed():
                try:
                    tracker.finish(status)
                except OSError:
                    _logger.exception("The journal doesn't hold that the run has %s.", status)
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
    """Set runs of this machine whose process is gone from RUNNING to KILLED; returns their run_id."""
    if (file := database()) and not file.exists():
        return []
    try:
        with impatience():
            return list(_mark_killed_runs(connect()))
    except MedsegError:
        raise
    except Exception as error:
        _logger.info("MLflow doesn't answer; which runs were killed stays open: %s", brief(error))
        return []


def experiment_pages(address: str) -> dict[str, str]:
    """Experiment to the page of its runs at an address; none when the store doesn't answer.

    MLflow's own start page leads to its view for language models, whatever the experiments are.
    """
    if (file := database()) and not file.exists():
        return {}
    try:
        with impatience():
            found = connect().search_experiments()
    except Exception as error:
        _logger.info("MLflow doesn't answer: %s", brief(error))
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
        # It may have ended its run since the search; from now on it can't.
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")
            yield run_id


def deliver(folder: Path) -> bool:
    """Send what journals in a folder, and in folders in it, still hold.

    Returns:
        Whether MLflow now has everything.

    Raises:
        UsageError: no journal is there; MLflow can't use what MLFLOW_TRACKING_URI names.
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
    # A run needs its parent's, which began before it.
    delivered = [_deliver(journal) for _, journal in sorted(journals, key=itemgetter(0))]
    return all(delivered)


def _deliver(journal: Journal) -> bool:
    if _in_use(journal):
        _logger.warning("%s is in use; its training sends it.", journal.path)
        return False
    try:
        Delivery(journal).deliver()
    except StoreUnavailable as error:
        _logger.warning("%s stays: %s", journal.path, error)
        return False
    return True


def _in_use(journal: Journal) -> bool:
    owner, this = journal.owner(), this_process()
    if owner is None or owner["host"] != this["host"] or owner["pid"] == this["pid"]:
        return False
    return not is_gone(owner)
