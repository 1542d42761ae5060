"""The archive of other tests: it answers, keeps what it confirmed, and is gone when stopped."""

import urllib.error
import urllib.request
from pathlib import Path

import dicom_phantom
import pytest
from orthanc_server import OrthancServer

pytestmark = pytest.mark.seconds


def test_an_archive_that_goes_away_and_comes_back(tmp_path):
    files = sorted(dicom_phantom.write(dicom_phantom.headers("axial")[:2], tmp_path / "study").iterdir())
    with OrthancServer(modalities={"MEDSEG": 1}) as orthanc:
        orthanc.know("OTHER", 2)
        assert set(orthanc.rest("/modalities")) == {"MEDSEG", "OTHER"}
        for file in files:
            upload(orthanc, file)
        uids = sorted(found["SOPInstanceUID"] for found in orthanc.instances())
        assert len(uids) == 2
        orthanc.stop()
        with pytest.raises(urllib.error.URLError):
            orthanc.instances()
        orthanc.start()
        assert sorted(found["SOPInstanceUID"] for found in orthanc.instances()) == uids
        assert orthanc.file(uids[0])[128:132] == b"DICM"
        folder = orthanc.folder
    assert not Path(folder).exists()


def upload(orthanc, file):
    urllib.request.urlopen(
        urllib.request.Request(f"{orthanc.rest_url}/instances", file.read_bytes()), timeout=30
    )
