"""A REST service over a queue of its own, without a worker: tests say what becomes of a job."""

import hashlib
import io
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

TOKEN = "a-token-of-the-tests"


@dataclass
class RestNode:
    """The parts of a service.

    Attributes:
        app, queue, metrics: its parts.
        added: how often the dispatcher was told of a job.
        cancelled: the jobs that were to be stopped.
        health: what its other parts say.
        tokens_file: with one token, of anna.
    """

    app: object
    queue: object
    metrics: object
    tokens_file: object
    added: list = field(default_factory=list)
    cancelled: list = field(default_factory=list)
    health: dict = field(default_factory=dict)

    def finish(self, job, files=("measurements.json", "report.html", "segmentation.png"), **result):
        """Let the next job that waits be done, with files."""
        taken = self.queue.take()
        assert taken.id == job
        folder = taken.folder / "out" / "case"
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_bytes(name.encode() * 100)
        self.queue.finish(job, {"verdict": "pass", "warnings": [], "seconds": 1.25, **result})


def rest_node(home, **limits):
    """A service whose files lie in a folder; limits are of medseg.server.config.RestLimits."""
    from medseg.server.config import RestConfig, RestLimits
    from medseg.server.metrics import Metrics
    from medseg.server.queue import Queue
    from medseg.server.rest.app import build_app

    tokens_file = home / "tokens.txt"
    tokens_file.write_text(f"anna:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    tokens_file.chmod(0o600)
    queue = Queue(home / "node" / "queue.sqlite")
    metrics = Metrics(queue.counts)
    node = RestNode(None, queue, metrics, tokens_file)
    config = RestConfig(tokens_file=tokens_file, limits=RestLimits(**limits))
    node.app = build_app(
        queue,
        config,
        lambda: node.added.append(1),
        metrics,
        cancel=node.cancelled.append,
        health=lambda: node.health,
    )
    return node


@contextmanager
def listening(node):
    """The service on a free port of the loopback interface."""
    from medseg.server.rest.http import RestServer

    server = RestServer(node.app, "127.0.0.1", 0)
    try:
        yield SimpleNamespace(
            port=server.port, url=f"http://127.0.0.1:{server.port}", server=server, node=node
        )
    finally:
        server.stop()


def client_of(service, token=TOKEN):
    """A client of a listening service."""
    import httpx

    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=service.url, headers=headers, timeout=30)


def picture(seed=0, size=64):
    """A PNG of noise."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def wait_for(condition, seconds=20.0):
    """Ask until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)
