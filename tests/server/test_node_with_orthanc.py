"""From a real archive to a node and back: filed under the study, equal by voxel, also after an outage."""

import socket

import numpy as np
import pytest
from node_process import NodeProcess, ended, settings
from orthanc_server import OrthancServer
from seg_reader import read_seg

import medseg
from medseg.archive.address import archive_at
from medseg.archive.send import send
from medseg.phantoms.dicom_series import write_series

pytestmark = pytest.mark.slow

FORMATS = ["dicom-seg", "rtstruct", "dicom-sr"]


@pytest.fixture(scope="module")
def study(chest_phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_series(chest_phantom, folder, seed=21)


@pytest.fixture
def orthanc():
    with OrthancServer() as server:
        yield server


def node_for(orthanc, folder, way):
    """A node that sends its results back by a way, and that Orthanc knows."""
    archives = {
        "web": {"kind": "dicomweb", "url": orthanc.dicomweb_url},
        "pacs": {"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    orthanc.know("MEDSEG", port)
    rule = {"formats": FORMATS, "send_to": way}
    return NodeProcess(folder, settings(archives, rule, dicom={"port": port}))


def to_node(orthanc, study):
    """Store a study in Orthanc by STOW-RS, and let Orthanc send it to the node by C-STORE."""
    send(study, archive_at(orthanc.dicomweb_url))
    (name,) = orthanc.rest("/studies")
    orthanc.rest("/modalities/MEDSEG/store", {"Resources": [name], "Synchronous": True})


@pytest.mark.parametrize("way", ["web", "pacs"])
def test_there_and_back(orthanc, study, tmp_path, way):
    with node_for(orthanc, tmp_path, way) as node:
        to_node(orthanc, study)
        (job,) = node.wait_for(ended(1))
        assert (job.state, job.reason, job.delivered) == ("done", "", (way,))
        assert node.stop() == 0
    assert len(orthanc.rest("/studies")) == 1
    results = {tags["Modality"]: tags for tags in orthanc.instances() if tags["Modality"] != "CT"}
    assert sorted(results) == ["RTSTRUCT", "SEG", "SR"]
    assert len(orthanc.instances()) == len(study) + 3
    mask = medseg.segment(study[0].parent, task="lung_ct").mask
    file = tmp_path / "back.dcm"
    file.write_bytes(orthanc.file(results["SEG"]["SOPInstanceUID"]))
    assert np.array_equal(read_seg(file, mask.labels, mask).array, mask.array)


def test_an_archive_that_is_away_gets_it_once_when_it_is_back(orthanc, study, tmp_path):
    with node_for(orthanc, tmp_path, "pacs") as node:
        to_node(orthanc, study)
        orthanc.stop()
        node.wait_for(lambda jobs: [(job.state, job.attempts > 0) for job in jobs] == [("delivering", True)])
        node.kill()
        orthanc.start()
        node.start()
        (job,) = node.wait_for(ended(1))
        assert (job.state, job.reason) == ("done", "")
    assert len(orthanc.instances()) == len(study) + 3
