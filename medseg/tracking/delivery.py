"""Deliver a journal to MLflow in order; what is sent repeatedly is stored only once."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.errors import MedsegError
from medseg.tracking.journal import Entry, Journal
from medseg.tracking.store import StoreUnavailable, brief, connect, experiment_id, impatience, is_refusal

KEY_TAG = "medseg.key"
HOST_TAG = "medseg.host"
PROCESS_TAG = "medseg.process"

_ITEMS_PER_REQUEST = 1000
_DIGEST_LENGTH = 36  # MLflow's limit
# A server may take long to forward a large file.
_UPLOADS = {"artifact", "picture", "model"}
_UPLOAD_SECONDS = 120
_AT_ONCE_SECONDS = 1.0
_logger = logging.getLogger(__name__)


class Delivery:
    """Sends one journal. Each step can be repeated, because the process may be killed between any two."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.run_id: str | None = journal.delivered()[0]
        self._client: Any = None
        # Metric to the steps that MLflow already has of epochs that a resumed training repeats.
        self._there: dict[str, set[int]] = {}
        self._single: dict[str, Callable[[Entry], None]] = {
            "resume": self._resume,
            "dataset": self._dataset,
            "artifact": self._artifact,
            "picture": self._picture,
            "model": self._model,
            "finish": self._finish,
        }

    def deliver(self) -> None:
        """Send all final entries that were not sent yet.

        Raises:
            StoreUnavailable: not all entries were sent.
            MedsegError: nothing can be sent until the user corrects something.
        """
        begin = time.monotonic()
        try:
            self._try()
        except StoreUnavailable:
            if time.monotonic() - begin > _AT_ONCE_SECONDS:
                raise
            # A connection that was idle for too long fails this fast; a new one may work.
            self._try()

    def _try(self) -> None:
        try:
            self._open()
            self._send()
        except MedsegError:
            raise
        except Exception as error:
            self._client = None
            if isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(f"{type(error).__name__}: {brief(error)}") from error

    def _open(self) -> None:
        """Connect, and find the run by its id or its key; else create it."""
        start = self.journal.start()
        if self._client or start is None:
            return
        with impatience():
            client = connect()
            experiment = experiment_id(client, start.content["experiment"])
            run_id = _existing_run(client, self.run_id) or run_of(client, start.content["key"], [experiment])
            run_id = run_id or _create_run(client, experiment, start)
            self._there = _steps_there(client, run_id, self.journal)
        if run_id != self.run_id:
            # This store did not have the run, so it gets the whole journal.
            self.journal.set_delivered(run_id, 0)
        self._client, self.run_id = client, run_id

    def _send(self) -> None:
        _, delivered = self.journal.delivered()
        for batch in _batches(self.journal.final(delivered)):
            first = batch[0]
            upload = first.kind in _UPLOADS
            if upload:
                # Check that the server responds before a request with a long timeout.
                with impatience():
                    self._require_active()
            with impatience(_UPLOAD_SECONDS) if upload else impatience():
                if first.kind in self._single:
                    self._send_single(first)
                else:
                    self._send_items([item for entry in batch for item in self._items(entry)])
            self.journal.set_delivered(str(self.run_id), batch[-1].end)

    def _send_single(self, entry: Entry) -> None:
        try:
            self._single[entry.kind](entry)
        except Exception as error:
            self._require_refusal(error)
            _leave_out(entry.kind, error)

    def _send_items(self, items: list[Any]) -> None:
        """Send metrics, parameters and tags; of a refused batch, all except the refused items."""
        try:
            self._log(items)
        except Exception as error:
            self._require_refusal(error)
            if len(items) == 1:
                _leave_out(items[0].key, error)
                return
            middle = len(items) // 2
            self._send_items(items[:middle])
            self._send_items(items[middle:])

    def _log(self, items: list[Any]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [item for item in items if isinstance(item, Metric)]
        params = [item for item in items if isinstance(item, Param)]
        # The last value of a tag is kept.
        tags = {item.key: item for item in items if isinstance(item, RunTag)}
        self._client.log_batch(self.run_id, metrics, params, list(tags.values()), synchronous=True)

    def _items(self, entry: Entry) -> Iterator[Any]:
        from mlflow.entities import Metric, Param, RunTag

        for name, value in entry.content.get("values", {}).items():
            if entry.kind == "parameters":
                yield Param(name, value)
            elif entry.kind == "tags":
                yield RunTag(name, value)
            elif entry.content["step"] not in self._there.get(name, ()):
                # MLflow draws infinity as 1.8e308, which flattens the rest of the curve.
                number = value if math.isfinite(value) else math.nan
                yield Metric(name, number, entry.time_ms, entry.content["step"])

    def _require_refusal(self, error: Exception) -> None:
        """Raise unless the store refuses this entry for good; it, or a proxy, may only be unavailable."""
        if not is_refusal(error):
            raise error
        self._require_active()

    def _require_active(self) -> None:
        run = self._client.get_run(self.run_id)
        if run.info.lifecycle_stage != "active":
            raise StoreUnavailable(
                f"the run is deleted in MLflow; `mlflow runs restore --run-id {self.run_id}` brings it back"
            )

    def _resume(self, entry: Entry) -> None:
        for name, value in process_tags(entry.content["process"]).items():
            self._client.set_tag(self.run_id, name, value)
        self._client.update_run(self.run_id, status="RUNNING")

    def _finish(self, entry: Entry) -> None:
        self._client.set_terminated(self.run_id, entry.content["status"], end_time=entry.time_ms)

    def _dataset(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest, split = (entry.content[key] for key in ("name", "digest", "split"))
        dataset = Dataset(
            # MLflow merges two splits that have the same name and digest.
            name=f"{name}/{split}",
            digest=digest[:_DIGEST_LENGTH],
            source_type="manifest",
            source=json.dumps({"name": name, "digest": digest}),
        )
        tag = InputTag("mlflow.data.context", split)
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def _artifact(self, entry: Entry) -> None:
        if path := self._file(entry):
            self._client.log_artifact(self.run_id, str(path), entry.content["folder"] or None)

    def _picture(self, entry: Entry) -> None:
        # MLflow gives every copy a new name, in which only the time identifies the picture.
        logged = self._client.list_artifacts(self.run_id, "images")
        if any(str(entry.time_ms) in file.path and file.path.endswith(".webp") for file in logged):
            return
        if path := self._file(entry):
            options = {"key": entry.content["key"], "step": entry.content["step"]}
            self._client.log_image(
                self.run_id, _image(path), **options, timestamp=entry.time_ms, synchronous=True
            )

    def _model(self, entry: Entry) -> None:
        path, name = self._file(entry), entry.content["name"]
        if path is None:
            return
        self._client.log_artifacts(self.run_id, str(path), "model")
        _register_name(self._client, name)
        digests = entry.content["sha256"]
        versions = self._client.search_model_versions(f"name = '{name}' and run_id = '{self.run_id}'")
        if all(version.tags.get("sha256") != digests for version in versions):
            self._client.create_model_version(
                name,
                f"runs:/{self.run_id}/model",
                self.run_id,
                tags={"sha256": digests},
                await_creation_for=0,
            )

    def _file(self, entry: Entry) -> Path | None:
        path = self.journal.path.parent / entry.content["path"]
        if path.exists():
            return path
        _logger.warning("%s was deleted before it could be sent to MLflow.", path)
        return None


def process_tags(process: dict[str, Any]) -> dict[str, str]:
    return {HOST_TAG: process["host"], PROCESS_TAG: f"{process['pid']} {process['created']}"}


def run_of(client: Any, key: str, experiments: list[str]) -> str | None:
    """The id of the MLflow run with a key, deleted runs included; None if there is none."""
    from mlflow.entities import ViewType

    query = f"tags.`{KEY_TAG}` = '{key}'"
    found = client.search_runs(experiments, query, run_view_type=ViewType.ALL, max_results=1)
    return found[0].info.run_id if found else None


def _existing_run(client: Any, run_id: str | None) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.run_id if run_id else None
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _create_run(client: Any, experiment: str, start: Entry) -> str:
    content = start.content
    tags = {KEY_TAG: content["key"], "medseg.version": __version__, **process_tags(content["process"])}
    if content["parent"]:
        everywhere = [found.experiment_id for found in client.search_experiments()]
        parent = run_of(client, content["parent"], everywhere)
        if parent is None:
            raise StoreUnavailable("MLflow does not have the parent run yet")
        tags["mlflow.parentRunId"] = parent
    run = client.create_run(experiment, start_time=start.time_ms, tags=tags, run_name=content["run_name"])
    return str(run.info.run_id)


def _steps_there(client: Any, run_id: str, journal: Journal) -> dict[str, set[int]]:
    redone: dict[str, set[int]] = {}
    for entry in journal.final():
        if entry.kind == "resume":
            for name, steps in entry.content["redone"].items():
                redone.setdefault(name, set()).update(steps)
    return {
        name: steps & {metric.step for metric in client.get_metric_history(run_id, name)}
        for name, steps in redone.items()
    }


def _register_name(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _image(path: Path) -> Any:
    from mlflow import Image

    try:
        image = Image(str(path))
        image.to_pil().load()
    except OSError as error:
        raise ValueError(f"{path.name} is not a picture") from error
    return image


def _batches(entries: Iterator[Entry]) -> Iterator[Sequence[Entry]]:
    """Group neighbouring entries into requests; an entry that sends a file or changes the run is alone."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        together = entry.kind in {"start", "commit", "parameters", "tags", "metrics"}
        added = len(entry.content.get("values", ()))
        if batch and (not together or size + added > _ITEMS_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += added
        if not together:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _leave_out(what: str, error: Exception) -> None:
    _logger.warning("MLflow refuses %s, which is left out: %s", what, brief(error))
