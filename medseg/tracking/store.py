"""The MLflow store: its address, a client for it, and the meaning of its errors."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError, UsageError

DEFAULT_STORE = Path("experiments") / "mlflow.db"

_SETTINGS = {
    # MLflow would retry for minutes, and a request whose response was lost would create a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_NAME_LENGTH = 250
# Without this tag MLflow opens an experiment in its view for language models.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
# Unauthorised, forbidden, request timeout, conflict and too many requests may be temporary.
_MAY_PASS = {401, 403, 408, 409, 429}


class StoreUnavailable(Exception):
    """The store can't be reached or accepts nothing at the moment; the journal keeps the entries."""


def tracking_uri() -> str:
    """The address of the store: MLFLOW_TRACKING_URI, else experiments/mlflow.db in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_STORE}"


def database() -> Path | None:
    """The file of a SQLite store; None for a server."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()


@contextmanager
def impatience(seconds: int = 10) -> Iterator[None]:
    """Use short timeouts for MLflow; variables that the user has set in the environment are kept."""
    settings = _SETTINGS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds)}
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def connect() -> Any:
    """A client for the store of `tracking_uri`; a new SQLite file is created.

    Raises:
        UsageError: MLflow can't use the address in MLFLOW_TRACKING_URI.
        StoreUnavailable: the store is not available at the moment.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    file = database()
    uri = f"sqlite:///{file}" if file and "?" not in tracking_uri() else tracking_uri()
    if file:
        _require_database(file)
    elif re.match("https?:", uri) and not re.match(r"https?://[^/]", uri):
        raise _unusable("it has no host")
    try:
        with alone():
            return MlflowClient(uri)
    except MlflowException as error:
        if is_refusal(error):
            raise _unusable(str(error)) from error
        raise StoreUnavailable(brief(error)) from error


def experiment_id(client: Any, name: str) -> str:
    """The experiment's id; a new experiment is created, with its artifacts beside a SQLite store.

    Raises:
        UsageError: MLflow does not accept the name.
        MedsegError: the experiment is deleted.
    """
    from mlflow.exceptions import MlflowException

    with alone():
        found = client.get_experiment_by_name(name) or _create_experiment(client, name)
    if found.lifecycle_stage != "active":
        raise MedsegError(
            "an experiment that takes runs",
            got=f"{name!r}, which is deleted in MLflow",
            advice=f"Run `mlflow experiments restore --experiment-id {found.experiment_id}`, "
            "or choose another experiment.",
        )
    if KIND_TAG not in found.tags:
        with suppress(MlflowException):  # another user's experiment may be read-only
            client.set_experiment_tag(found.experiment_id, KIND_TAG, KIND)
    return str(found.experiment_id)


def _create_experiment(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    file = database()
    location = None
    if file:
        location = (file.parent / "artifacts" / re.sub(r"[^\w\- ]", "_", name)).as_uri()
    try:
        client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise UsageError(
                "a name of an experiment that MLflow accepts",
                got=f"{name[:100]!r} ({brief(error)})",
                advice="Choose another name.",
            ) from error
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process has just created it
            raise
    return client.get_experiment_by_name(name)


@contextmanager
def alone() -> Iterator[None]:
    """Lock a SQLite store against processes that start at the same moment: each would create its tables."""
    import fcntl

    file = database()
    if not file:
        yield
        return
    with file.with_name(f".{file.name}.lock").open("a") as lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_database(file: Path) -> None:
    # MLflow would retry ten times, for two minutes.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=1)) as connection:
            connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):
            raise StoreUnavailable(brief(error)) from error
        raise _unusable(str(error)) from error


def _unusable(reason: str) -> UsageError:
    return UsageError(
        "an MLflow store in MLFLOW_TRACKING_URI",
        got=f"{without_password(tracking_uri())} ({brief(reason)})",
        advice="Set it to a server like http://127.0.0.1:5000 or a file like sqlite:///experiments/mlflow.db.",
    )


def is_refusal(error: Exception) -> bool:
    """Whether the store or MLflow's client rejects a request for good."""
    if isinstance(error, ValueError | TypeError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    return status is not None and 400 <= status < 500 and status not in _MAY_PASS


def brief(error: object) -> str:
    """A message in one line without passwords; a long one is shortened in its middle."""
    text = " ".join(without_password(str(error)).split())
    return text if len(text) <= 240 else f"{text[:100]} ... {text[-140:]}"


def without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested values, their names joined by dots."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = str(value)
    return flat


def valid_name(name: str) -> str:
    """The nearest name that MLflow accepts for a metric, parameter or tag; slashes make groups."""
    parts = re.sub(r"[^/\w.\- :]", "_", name)[:_NAME_LENGTH].split("/")
    kept = ["_" if part == ".." else part for part in parts if part not in {"", "."}]
    return re.sub(r"^\.\.", "__", "/".join(kept)) or "_"


def shortened(value: object, length: int) -> str:
    """A value that MLflow accepts, with ~ for the home folder, which may contain the user's name."""
    text = without_home({"": value})[""]
    return text if len(text) <= length else f"{text[: length - 40]}... ({len(text)} characters)"


def without_home(values: Mapping[str, object]) -> dict[str, str]:
    """Values as text, with ~ for the home folder."""
    home = str(Path.home())
    return {
        name: str(value) if home in {"", "/"} else str(value).replace(home, "~")
        for name, value in values.items()
    }
