"""Where a tracked training writes, and a store that does not answer."""

import logging
import os

import pytest
from tracked_training import CLOSED


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out" / "tracking"


@pytest.fixture
def away(monkeypatch):
    """MLflow doesn't answer; called, it does again, at what MLFLOW_TRACKING_URI named before."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def back():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    return back


@pytest.fixture(autouse=True)
def _log_level(caplog):
    caplog.set_level(logging.INFO, logger="medseg")
