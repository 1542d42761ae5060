"""Orthanc, a real archive, of a test's own on the loopback interface; skips where it is not installed."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
_START_S = 60
_TRIES = 5  # another process may take a port between its choice and the start


class OrthancServer:
    """An empty archive with DICOMweb and DIMSE, without authentication; it is deleted with the block.

    Args:
        modalities: AE title to port on the loopback interface, of those that Orthanc may send to (C-MOVE).
        settings: laid over the configuration.

    Attributes:
        ae_title, dicom_port: of the DIMSE services (C-ECHO, C-STORE, C-FIND, C-GET, C-MOVE).
        dicomweb_url: where QIDO-RS, WADO-RS and STOW-RS begin.
        rest_url: where Orthanc's own interface begins.
    """

    ae_title = "ORTHANC"

    def __init__(self, modalities=None, **settings):
        self.modalities, self.settings = dict(modalities or {}), settings

    def __enter__(self):
        self._program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        plugins = [path for folder in _PLUGINS for path in Path(folder).glob("libOrthancDicomWeb.so")]
        if not os.path.exists(self._program) or not plugins:
            pytest.skip("Orthanc with its DICOMweb plug-in is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="medseg_orthanc_"))
        self._plugin, self._process = str(plugins[0].resolve()), None
        try:
            for last in range(_TRIES):
                self.dicom_port, self._http_port = _free_ports()
                try:
                    self.start()
                    break
                except RuntimeError:
                    if last == _TRIES - 1:
                        raise
        except BaseException:  # Ctrl-C too must leave no server behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def rest_url(self):
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def dicomweb_url(self):
        return f"{self.rest_url}/dicom-web"

    def start(self):
        """Start it with what it held before, on the same ports; returns when it answers."""
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(self._config()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Orthanc did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """Take it away at once, as a power cut does; what it has confirmed is on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
        self._process = None

    def know(self, ae_title, port):
        """Let Orthanc send to an AE title on the loopback interface."""
        self.modalities[ae_title] = port
        self.rest(f"/modalities/{ae_title}", {"AET": ae_title, "Host": "127.0.0.1", "Port": port}, "PUT")

    def rest(self, path, content=None, method=None):
        """The answer of Orthanc's own interface to a request, read as JSON."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.rest_url}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def instances(self, **tags):
        """The tags by keyword, without pixels, of all instances whose tags match."""
        return [self.rest(f"/instances/{name}/simplified-tags") for name in self._find(tags)]

    def file(self, sop_instance_uid):
        """The bytes of an instance as Orthanc keeps it."""
        (name,) = self._find({"SOPInstanceUID": sop_instance_uid})
        with urllib.request.urlopen(f"{self.rest_url}/instances/{name}/file", timeout=30) as answer:
            return answer.read()

    def _find(self, tags):
        return self.rest("/tools/find", {"Level": "Instance", "Query": tags})

    def _is_ready(self):
        try:
            self.rest("/system")
            self.rest("/dicom-web/studies?limit=1")
            with socket.create_connection(("127.0.0.1", self.dicom_port), timeout=1):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def _config(self):
        """Orthanc's settings; C-FIND, C-GET and C-MOVE need a permission of their own."""
        storage = str(self.folder / "storage")
        return {
            **{"Name": "test", "StorageDirectory": storage, "IndexDirectory": storage},
            **{"Plugins": [self._plugin], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}},
            **{"HttpPort": self._http_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False},
            **{"DicomAet": self.ae_title, "DicomPort": self.dicom_port, "DicomCheckCalledAet": False},
            **{"DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True},
            **{"DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "UnknownSopClassAccepted": True},
            **{"HttpThreadsCount": 4, "DicomThreadsCount": 2, "WebDavEnabled": False},
            "DicomModalities": {title: [title, "127.0.0.1", port] for title, port in self.modalities.items()},
            **self.settings,
        }


def _free_ports():
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
