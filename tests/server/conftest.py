"""A node's DICOM service in the process of the tests, without workers."""

import logging
import tempfile
import warnings
from types import SimpleNamespace

import pydicom
import pytest


@pytest.fixture
def dicom_node(tmp_path, monkeypatch):
    """Starts the DICOM service; its limits are the arguments. It ends with the test."""
    from pynetdicom import _config

    from medseg.io.dicom.instance import silence_dicom
    from medseg.server.config import DicomConfig
    from medseg.server.dicom.peers import stop_server
    from medseg.server.dicom.receive import Receiver, start_receiver
    from medseg.server.dicom.series import Incoming

    loggers = [logging.getLogger(name) for name in ("pydicom", "pynetdicom")]
    for holder, name in (  # what a node sets for its whole process is as before after the test
        (tempfile, "tempdir"),
        (_config, "STORE_RECV_CHUNKED_DATASET"),
        (_config, "LOG_HANDLER_LEVEL"),
        (pydicom.config.settings, "reading_validation_mode"),
        *((logger, name) for logger in loggers for name in ("level", "propagate")),
        (warnings, "filters"),
    ):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    warnings.filters = [*warnings.filters]
    silence_dicom()
    started = []

    def start(**limits):
        known = (
            {"ae_title": "ORTHANC", "host": "localhost"},
            {"ae_title": "FROM_AFAR", "host": "192.0.2.1"},
        )
        config = DicomConfig(port=0, quiet_s=0.3, known=known, limits={"free_mb": 0, "idle_s": 2.0, **limits})
        incoming = Incoming(tmp_path / "home", config.quiet_s, config.limits.instances)
        receiver = Receiver(config, incoming)
        ae, server = start_receiver(receiver)
        started.append(server)
        return SimpleNamespace(
            port=server.server_address[1], receiver=receiver, incoming=incoming, ae=ae, home=tmp_path / "home"
        )

    yield start
    for server in started:
        stop_server(server)
