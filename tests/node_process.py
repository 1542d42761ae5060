"""A node as a process of its own, for tests that speak to it over real sockets, and kill it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from medseg.server.queue import Queue

READY_S = 60
SENDER = "ORTHANC"
TOKEN = "a-token-of-the-tests"
RULE = {"name": "chest", "when": {"modality": "CT"}, "task": "lung_ct", "formats": ["dicom-seg"]}


def settings(archives=None, rule=None, limits=None, **more):
    """The content of a node.yaml with free ports; `rule` and `more` are laid over it."""
    known = [{"ae_title": SENDER, "host": "127.0.0.1"}]
    dicom = {"port": 0, "quiet_s": 0.5, "known": known, "limits": {"free_mb": 1, **(limits or {})}}
    return {
        "home": "home",
        "dicom": {**dicom, **more.pop("dicom", {})},
        "archives": archives or {},
        "rules": [{**RULE, **(rule or {})}],
        **more,
    }


class NodeProcess:
    """`medseg serve` in a folder of its own; it is ended with the block.

    Attributes:
        home: HOME, whose queue can be looked at while the node runs.
        dicom_port, rest_port: of the latest start.
        printed: what it has printed since the first start.
    """

    def __init__(self, folder, content):
        self.folder, self.content = Path(folder), content
        self.home = self.folder / content["home"]
        self.file = self.folder / "node.yaml"
        self.process, self.printed = None, ""

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(self.content))
        self.start()
        return self

    def __exit__(self, *error):
        self.kill()

    def start(self):
        """Start it; returns when it says that it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "medseg.cli", "serve", "--config", self.file],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=[self.process], daemon=True)
        self._reader.start()
        if not self._ready.wait(READY_S) or self.process.poll() is not None:
            self.kill()
            raise RuntimeError(f"the node did not start:\n{self.printed}")

    def kill(self):
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        self._wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def _wait(self):
        if self.process is None:
            return None
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code

    def _read(self, process):
        for line in process.stdout:
            self.printed += line
            if "medseg: node ready" in line:
                for name, pattern in (
                    ("dicom_port", r"DICOM \S+ at \S+:(\d+)"),
                    ("rest_port", r"http://\S+:(\d+)"),
                ):
                    found = re.search(pattern, line)
                    setattr(self, name, int(found[1]) if found else None)
                self._ready.set()
        process.wait()  # its output ends a moment before it does
        self._ready.set()

    def jobs(self):
        """The rows of its queue, whether it runs or not."""
        queue = Queue(self.home / "queue.sqlite")
        try:
            return queue.jobs(limit=-1)
        finally:
            queue.close()

    def wait_for(self, condition, seconds=120):
        """The jobs, as soon as they meet a condition."""
        deadline = time.monotonic() + seconds
        while True:
            jobs = self.jobs()
            if condition(jobs):
                return jobs
            if time.monotonic() > deadline:
                raise TimeoutError(f"{[(job.state, job.reason) for job in jobs]}\n{self.printed[-4000:]}")
            time.sleep(0.05)


def ended(count, *states):
    """A condition: so many jobs, all ended (or in these states)."""
    wanted = states or ("done", "set_aside", "cancelled")
    return lambda jobs: len(jobs) == count and all(job.state in wanted for job in jobs)
