"""A node from its start to its end: its services and threads, and how they stop."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError, error_text, file_error_text
from medseg.io.dicom.instance import silence_dicom
from medseg.server.config import NodeConfig
from medseg.server.deliver import deliver_due
from medseg.server.dicom.admit import admit
from medseg.server.dicom.peers import stop_server
from medseg.server.dicom.receive import Receiver, start_receiver
from medseg.server.dicom.series import Incoming
from medseg.server.dispatch import Dispatcher
from medseg.server.janitor import Janitor
from medseg.server.metrics import Metrics
from medseg.server.queue import LIVE, Queue
from medseg.workers import Pool

LOG = logging.getLogger("medseg.server")

_STEP_S = 0.2
_ERROR_PAUSE_S = 2.0
_JANITOR_S = 60.0
_LOG_BYTES, _LOG_FILES = 10 * 2**20, 5


def run_node(config: NodeConfig, say: Callable[[str], None], stop: threading.Event | None = None) -> None:
    """Run a node until it is told to stop by SIGTERM, SIGINT or `stop`.

    Args:
        config: of read_config.
        say: gets the line that tells that the node is ready and where it listens.
        stop: instead of signals, for a thread that is not the main one.

    Raises:
        MedsegError: another node uses HOME, a port is in use, or the tokens can't be read.
        OSError: HOME can't be written to.
    """
    stop = _by_signals() if stop is None else stop
    config.home.mkdir(parents=True, exist_ok=True)
    silence_dicom()
    with _locked(config.home), _logged(config.home):
        node = Node(config, stop)
        try:
            say(node.start())
            while not stop.wait(_STEP_S):
                pass  # a signal may come to another thread, and does not end this one's wait then
        finally:
            node.end()


class Node:
    """The parts of a running node."""

    def __init__(self, config: NodeConfig, stop: threading.Event) -> None:
        self.config, self.stop = config, stop
        self.queue = Queue(config.home / "queue.sqlite")
        self.metrics = Metrics(self.queue.counts)
        self._threads: list[threading.Thread] = []
        self._ae: Any = None
        self._rest: Any = None
        self._pool: Pool | None = None
        self.dispatcher: Dispatcher | None = None
        self._wake = threading.Event()
        self._due = threading.Event()

    def start(self) -> str:
        """Go on where an earlier process ended, and listen; returns what is ready."""
        config = self.config
        if again := self.queue.recover():
            LOG.info("%d jobs that were running begin again", len(again))
        dicom = config.dicom
        self.incoming = Incoming(
            config.home, dicom.quiet_s if dicom else 0.0, dicom.limits.instances if dicom else 1
        )
        places = [*self._start_dicom(), *self._start_rest()]
        self._thread("series", self._admit)
        self._thread("dispatch", self._dispatch)
        self._thread("deliver", self._deliver)
        self._thread("janitor", self._clean)
        text = f"node ready: {', '.join(places)}; home {config.home}"
        LOG.info(text)
        return text

    def end(self) -> None:
        """Listen no more, give back what is running, and close the queue."""
        self.stop.set()
        self._wake.set()
        self._due.set()
        if self._ae is not None:
            stop_server(self._server)
        if self._rest is not None:
            self._rest.stop()
        for thread in self._threads:
            thread.join(timeout=5)
        if self._pool is not None:
            self._pool.close(wait=False)
        if self.dispatcher is not None:
            with contextlib.suppress(OSError):  # recover() does it at the next start
                self.dispatcher.release()
        LOG.info("node stopped")
        self.queue.close()

    def health(self) -> dict[str, bool]:
        """Each part, and whether it is well."""
        parts = {thread.name: thread.is_alive() for thread in self._threads}
        return {**parts, **({} if self._ae is None else {"dicom": bool(self._ae._servers)})}

    def _start_dicom(self) -> Iterator[str]:
        dicom = self.config.dicom
        if dicom is None:
            return
        self.receiver = Receiver(dicom, self.incoming)
        self._ae, self._server = start_receiver(self.receiver)
        yield f"DICOM {dicom.ae_title} at {dicom.host}:{self._server.server_address[1]}"

    def _start_rest(self) -> Iterator[str]:
        rest = self.config.rest
        if rest is None:
            return
        from medseg.server.rest.app import build_app
        from medseg.server.rest.http import RestServer

        app = build_app(
            self.queue,
            rest,
            self._wake.set,
            self.metrics,
            cancel=lambda job: self._wake.set(),
            health=self.health,
        )
        self._rest = RestServer(app, rest.host, rest.port)
        host = f"[{rest.host}]" if ":" in rest.host else rest.host
        yield f"REST at http://{host}:{self._rest.port}"

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        def supervised() -> None:
            while not self.stop.is_set():
                try:
                    work()
                except Exception as error:  # without its traceback, in which libraries quote what they read
                    text = file_error_text(error) if isinstance(error, OSError) else error_text(error)
                    LOG.warning("%s: %s", name, text)
                else:
                    continue
                self.stop.wait(_ERROR_PAUSE_S)

        thread = threading.Thread(target=supervised, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _admit(self) -> None:
        """Make jobs of the series that are complete, and tell the receiver how full the queue is."""
        if self.config.dicom is not None:
            for folder in self.incoming.complete():
                job, is_new = admit(folder, self.config, self.queue)
                found = self.queue.get(job)
                state = f"{found.state} {found.reason}".strip() if found and is_new else "is there already"
                LOG.info("job %s: a series was received: %s", job, state)
                self.metrics.received(_size(found), "dicom")
                self._wake.set()
            waiting = self.queue.jobs(LIVE, limit=-1)
            self.receiver.queued_bytes = sum(_size(job) for job in waiting)
        self.stop.wait(min(max(self.incoming.next_s(), 0.02), _STEP_S))

    def _dispatch(self) -> None:
        if self.dispatcher is None:  # here, because workers take seconds to start: the node listens meanwhile
            self.dispatcher = self._new_dispatcher()
        try:
            ended = self.dispatcher.step(_STEP_S if self.dispatcher.is_busy else 0.0)
        except MedsegError:  # workers could not be started: begin anew, after a pause
            self.dispatcher.release()
            self.dispatcher = None
            raise
        if ended:
            self._due.set()
        if not self.dispatcher.is_busy:
            self._wake.wait(_STEP_S)
            self._wake.clear()

    def _new_dispatcher(self) -> Dispatcher:
        config = self.config
        if self._pool is not None:
            self._pool.close(wait=False)
        self._pool = Pool(config.workers, config.timeout_s, log=LOG.warning)
        return Dispatcher(self.queue, self._pool, self.metrics, config.workers, config.device)

    def _deliver(self) -> None:
        from medseg.archive.send import send

        deliver_due(self.queue, self.config.archives, send, self.stop.is_set)
        self._due.wait(1.0)
        self._due.clear()

    def _clean(self) -> None:
        if not hasattr(self, "_janitor"):
            idle_s = self.config.dicom.limits.idle_s if self.config.dicom else 0.0
            self._janitor = Janitor(self.queue, self.incoming, self.config.keep_days, idle_s)
        self._janitor.step()
        self.stop.wait(_JANITOR_S)


def _size(job: Any) -> int:
    return int(job.settings.get("bytes", 0)) if job is not None else 0


def _by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Only one process uses a home; the lock goes with it, however it ends."""
    with (home / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MedsegError(
                "a home that no other node uses", got=str(home), advice="Stop the other node."
            ) from error
        yield


@contextlib.contextmanager
def _logged(home: Path) -> Iterator[None]:
    """The log goes to HOME/node.log, which is kept small, and to the terminal."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    file = logging.handlers.RotatingFileHandler(
        home / "node.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [file, logging.StreamHandler()]
    logger = logging.getLogger("medseg")
    before = logger.level, logger.propagate
    logger.level, logger.propagate = logging.INFO, False  # libraries print what reaches the root
    for handler in handlers:
        handler.setFormatter(form)
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
