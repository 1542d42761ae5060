"""MONAI Label on the loopback interface, in an environment of its own, with one bundle.

MEDSEG_MONAI_LABEL names that environment's Python; docs/how-to/monai-label.md tells how to make it.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from medseg.bundle import find

NAME = "MEDSEG_MONAI_LABEL"
STARTS_IN_S, TRAINS_IN_S = 600, 1800


def python_of_monai_label():
    """The Python that has MONAI Label; the test is skipped without one."""
    python = os.environ.get(NAME)
    if not python or not Path(python).is_file():
        pytest.skip(f"{NAME} names no Python with MONAI Label (docs/how-to/monai-label.md)")
    return python


class Server:
    """A running server.

    Attributes:
        bundle: the server's own copy of the bundle.
        http: a client of its address.
    """

    def __init__(self, bundle, http):
        self.bundle, self.http = bundle, http

    def infer(self, image):
        """The bytes of a mask as NIfTI."""
        answer = self.http.post(
            f"/infer/{self.bundle.name}",
            params={"image": image, "output": "image"},
            files={"params": (None, '{"result_extension": ".nii.gz"}')},
        )
        assert answer.status_code == 200, answer.text
        return answer.content

    def label(self, image, file):
        answer = self.http.put(
            "/datastore/label",
            params={"image": image, "tag": "final"},
            files={"label": (file.name, file.read_bytes())},
        )
        assert answer.status_code == 200, answer.text

    def train(self, **request):
        """What became of a training, once it has ended."""
        answer = self.http.post(f"/train/{self.bundle.name}", json=request)
        assert answer.status_code == 200, answer.text
        deadline = time.monotonic() + TRAINS_IN_S
        while time.monotonic() < deadline:
            state = self.http.get("/train/").json()
            if state["status"] not in ("SUBMITTED", "RUNNING"):
                return state
            time.sleep(1)
        raise AssertionError(f"the training takes longer than {TRAINS_IN_S} s")


@contextlib.contextmanager
def monai_label(folder, task, images):
    """A server with a copy of a bundle and these images; it ends with the block."""
    python = python_of_monai_label()
    environment = {
        **{
            k: v
            for k, v in os.environ.items()
            if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "MEDSEG_DATA")
        },
        "OMP_NUM_THREADS": "1",
    }
    command = [python, "-m", "monailabel.main"]
    app, studies = folder / "monaibundle", folder / "studies"
    made = subprocess.run(
        [*command, "apps", "--download", "--name", "monaibundle", "--output", folder],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert app.is_dir(), made.stdout + made.stderr
    bundle = shutil.copytree(find(task), app / "model" / task)
    studies.mkdir()
    for image in images:
        shutil.copy(image, studies)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [
        word
        for pair in (("models", task), ("zoo_source", "local"), ("sam2", "false"))
        for word in ("--conf", *pair)
    ]
    where = ["--app", app, "--studies", studies, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "start_server", *where, *settings],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TRAINS_IN_S, trust_env=False) as http:
            _wait(process, http, folder / "server.log")
            yield Server(bundle, http)
    finally:
        process.terminate()
        process.wait(60)


def _wait(process, http, log):
    deadline = time.monotonic() + STARTS_IN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/info/").status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError(f"MONAI Label does not start: {log.read_text()[-3000:]}")
