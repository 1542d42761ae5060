"""A node as a process: what it accepts is done or set aside, whatever happens to it, and it tells no name."""

import signal
import socket
import subprocess
import sys
import time

import pydicom
import pytest
from dicom_sender import association, echo, send, slices
from node_process import NodeProcess, ended, settings
from pydicom.datadict import DicomDictionary

from medseg.server.queue import DONE, SET_ASIDE

pytestmark = pytest.mark.seconds

SUCCESS = 0x0000
NAME = "Plantedname"
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
KEPT = {"PhotometricInterpretation", "Modality", "SpecificCharacterSet"}


def planted(data_set, **more):
    """A name in each attribute that holds text."""
    for vr, _, _, retired, keyword in DicomDictionary.values():
        if vr in TEXTS and keyword and not retired and keyword not in KEPT:
            setattr(data_set, keyword, NAME)
    for name, value in more.items():
        setattr(data_set, name, value)
    return data_set


def everything_written(node):
    """The bytes of all that a node writes beside images and results: names of files, log, queue, output."""
    names = "\n".join(str(path.relative_to(node.home)) for path in node.home.rglob("*"))
    files = [path for path in node.home.iterdir() if path.is_file()]
    return b"\n".join([names.encode(), node.printed.encode(), *(path.read_bytes() for path in files)])


def test_no_name_in_log_queue_output_or_file_names(tmp_path, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    with NodeProcess(tmp_path, settings()) as node:
        good = [planted(found) for found in slices(3)]
        odd = [planted(found, Modality=NAME) for found in slices(1, series="2")]
        damaged = [planted(found, Rows=5000) for found in slices(2, series="3")]
        twice = [planted(found) for found in [*slices(1, series="4"), *slices(1, series="4", pixels=9)]]
        for data_sets in (good, odd, damaged, twice):
            assert send(node.dicom_port, data_sets) == [SUCCESS] * len(data_sets)
        assert send(node.dicom_port, [planted(slices(1)[0], StudyInstanceUID=f"../{NAME}")]) == [0xC000]
        with pytest.raises(AssertionError, match="rejected"):
            echo(node.dicom_port, title=NAME)
        jobs = node.wait_for(ended(4))
        assert {job.state for job in jobs} == {SET_ASIDE}
        assert node.stop() == 0
        assert sum(job.reason.startswith("no rule matches") for job in jobs) == 1
        text = everything_written(node).lower()
        assert b"refused (0xc000)" in text
        assert NAME.lower().encode() not in text


def test_a_kill_loses_nothing_and_a_stop_ends_well(tmp_path):
    with NodeProcess(tmp_path, settings(dicom={"quiet_s": 1.5})) as node:
        assert send(node.dicom_port, slices(2)) == [SUCCESS] * 2
        node.kill()
        node.start()
        assert echo(node.dicom_port) == SUCCESS
        (job,) = node.wait_for(ended(1))
        assert job.settings["instances"] == 2
        assert (job.state, job.attempts) == (SET_ASIDE, 1)
        assert node.stop() == 0
        assert "medseg: node stopped" in node.printed
        assert "Traceback" not in node.printed


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_the_middle_of_an_association(tmp_path, number):
    with NodeProcess(tmp_path, settings()) as node, association(node.dicom_port):
        with socket.create_connection(("127.0.0.1", node.dicom_port)):
            begin = time.monotonic()
            node.process.send_signal(number)
            assert node.process.wait(timeout=60) == 0
        assert time.monotonic() - begin < 15


def run(folder):
    return subprocess.run(
        [sys.executable, "-m", "medseg.cli", "serve", "--config", folder / "node.yaml"],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_one_node_for_a_home_and_a_port(tmp_path):
    with NodeProcess(tmp_path / "one", settings()) as node:
        second = run(tmp_path / "one")
        assert (second.returncode, second.stdout) == (1, "")
        assert "expected a home that no other node uses" in second.stderr
        other = NodeProcess(tmp_path / "two", settings(dicom={"port": node.dicom_port}))
        with pytest.raises(RuntimeError, match="expected a free port for dicom"):
            other.__enter__()
        assert other.process.returncode == 1
        assert "Traceback" not in other.printed
        assert echo(node.dicom_port) == SUCCESS


@pytest.mark.slow
def test_a_chest_goes_through_rule_and_worker_once(tmp_path, chest_phantom):
    from medseg.phantoms.dicom_series import make_series

    series = make_series(chest_phantom, seed=3)
    with NodeProcess(tmp_path, settings()) as node:
        assert set(send(node.dicom_port, series)) == {SUCCESS}
        (job,) = node.wait_for(ended(1))
        assert (job.state, job.rule, job.result["verdict"]) == (DONE, "chest", "pass")
        assert (job.folder / "out" / "case" / "segmentation.dcm").is_file()
        assert set(send(node.dicom_port, series)) == {SUCCESS}
        node.wait_for(lambda _: "is there already" in node.printed)
        assert len(node.jobs()) == 1
