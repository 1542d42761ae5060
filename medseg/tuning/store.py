"""The store of studies: a SQLite file, or a PostgreSQL server that several machines share."""

from __future__ import annotations

import fcntl
import logging
import math
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from medseg.errors import MedsegError, UsageError
from medseg.tracking.store import brief, without_password

HEARTBEAT_S, GRACE_S = 15, 60
# Pauses between the attempts to reach a store that is down: about five minutes in all.
PAUSES_S = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
_POSTGRESQL = "postgresql+psycopg://"
_PREFIXES = {"postgresql://": _POSTGRESQL, "postgres://": _POSTGRESQL, _POSTGRESQL: _POSTGRESQL}
_SQLITE = "sqlite:///"
_WAIT_FOR_FILE_S = 60
_logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def require_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        MedsegError: it is not.
    """
    try:
        import optuna
    except ImportError as error:
        raise MedsegError(
            "optuna, which searches for parameters",
            got=f"none ({error})",
            advice="Run `pip install 'medseg[tune]'`.",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage_url(given: str | None, default: Path) -> str:
    """The address of a store as SQLAlchemy takes it.

    Args:
        given: postgresql://user@host/database, also with the beginnings postgres:// and
            postgresql+psycopg://, or sqlite:///file; None for the default.
        default: a SQLite file.

    Raises:
        UsageError: it is none of these.
    """
    if given is None:
        return f"{_SQLITE}{default.absolute()}"
    for prefix, driver in _PREFIXES.items():
        if given.startswith(prefix):
            return driver + given.removeprefix(prefix)
    if given.startswith(_SQLITE) and given != _SQLITE:
        return f"{_SQLITE}{Path(given.removeprefix(_SQLITE)).absolute()}"
    raise UsageError(
        "--storage postgresql://USER@HOST/DATABASE or sqlite:///FILE",
        got=without_password(given),
        advice="Leave it out for a SQLite file in --output_dir.",
    )


def require_store(url: str) -> None:
    """Check that the file of a SQLite store exists, before one is created for nothing.

    Args:
        url: see storage_url.

    Raises:
        UsageError: it does not.
    """
    file = Path(url.removeprefix(_SQLITE))
    if url.startswith(_SQLITE) and not file.is_file():
        raise UsageError(
            "a study with a complete trial", got=f"no file {file}", advice="Run some trials first."
        )


class Store:
    """A store that is reached when it is first asked; it can be sent to another process.

    Args:
        url: see storage_url.
        on_lost: is called with the study and each trial that is set to FAILED because its heartbeat ended.
    """

    def __init__(self, url: str, on_lost: Callable[[Any, Any], None]) -> None:
        self.url, self.on_lost = url, on_lost
        self._storage: Any = None
        self._engine: Any = None
        self._back_at = -math.inf

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_storage": None, "_engine": None}

    def __str__(self) -> str:
        from sqlalchemy import make_url

        return make_url(self.url).render_as_string(hide_password=True)

    @property
    def storage(self) -> Any:
        """Optuna's storage; its tables are created if they are missing.

        Raises:
            MedsegError: the store can't be reached, or another version of Optuna made it.
        """
        if self._storage is None:
            from sqlalchemy.exc import SQLAlchemyError

            try:
                with self.turn(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the heartbeat is experimental
                    self._storage = self._connected()
            except (ImportError, SQLAlchemyError, OSError, ValueError) as error:
                raise self._unreachable(error) from error
        return self._storage

    def _connected(self) -> Any:
        from optuna.storages import RDBStorage

        try:
            return RDBStorage(
                self.url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                {**self._options(), "pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=self.on_lost,
            )
        except RuntimeError as error:  # of the tables' version
            raise UsageError(
                "a store that this version of Optuna can use",
                got=f"{self} ({brief(error)})",
                advice="Choose another --storage, or upgrade a copy of this one as Optuna says.",
            ) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep all other processes that search in this store out of the block."""
        if self.url.startswith(_SQLITE):
            file = Path(self.url.removeprefix(_SQLITE))
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.with_name(f".{file.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            return
        from sqlalchemy import text

        # The server releases the lock when the transaction or the connection ends, whatever ends it.
        with self._own_engine().begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": zlib.crc32(b"medseg")})
            yield

    def patiently(self, action: Callable[[], Result]) -> Result:
        """The result of an action on the store; it is repeated for some minutes while the store is down.

        Raises:
            MedsegError: the store stays down.
        """
        pauses = iter(PAUSES_S)
        while True:
            try:
                return action()
            except Exception as error:
                if not is_outage(error):
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise self._unreachable(error) from error
                _logger.warning("%s does not respond (%s). Next attempt in %d s.", self, _cause(error), pause)
                time.sleep(pause)
                self._back_at = time.monotonic()

    @property
    def has_just_come_back(self) -> bool:
        """Whether it was down a moment ago, so that not all processes have sent a heartbeat since."""
        return time.monotonic() - self._back_at < 2 * HEARTBEAT_S

    def _own_engine(self) -> Any:
        from sqlalchemy import create_engine

        if self._engine is None:
            self._engine = create_engine(self.url, pool_pre_ping=True, **self._options())
        return self._engine

    def _options(self) -> dict[str, Any]:
        if self.url.startswith(_SQLITE):
            return {"connect_args": {"timeout": _WAIT_FOR_FILE_S}}
        return {"connect_args": {"connect_timeout": 10}}

    def _unreachable(self, error: Exception) -> MedsegError:
        return MedsegError(
            "a store of studies that responds",
            got=f"{self} ({_cause(error)})",
            advice="Start the server or correct --storage, then run the same command again: "
            "finished trials are kept.",
        )


def _cause(error: Exception) -> str:
    """What the server or its driver says, without the statement that SQLAlchemy quotes."""
    from sqlalchemy.exc import DBAPIError

    while isinstance(error.__cause__, Exception) and not isinstance(error, DBAPIError):
        error = error.__cause__
    return brief(error.orig if isinstance(error, DBAPIError) else error)


def is_outage(error: BaseException) -> bool:
    """Whether an error means that the store is not available at the moment."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, DBAPIError) and type(cause).__name__ in {"OperationalError", "InterfaceError"}
