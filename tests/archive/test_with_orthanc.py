"""Fetching from and sending to Orthanc, by every service, with files that stay what they were."""

import socket

import dicom_phantom
import pydicom
import pytest
from orthanc_server import OrthancServer

from medseg.archive import archive_at, dicomweb, dimse, fetch, send
from medseg.cli import main
from medseg.errors import ArchiveAwayError, ArchiveRefusedError, MedsegError

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def orthanc():
    with OrthancServer() as server:
        server.know("MEDSEG", free_port())
        yield server


@pytest.fixture(params=["web", "get", "move"])
def archive(request, orthanc):
    return archive_of(orthanc, request.param)


def archive_of(orthanc, service):
    if service == "web":
        return archive_at(orthanc.dicomweb_url)
    port = orthanc.modalities["MEDSEG"] if service == "move" else None
    return archive_at(f"dicom://{orthanc.ae_title}@127.0.0.1:{orthanc.dicom_port}", receive_port=port)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def study(folder):
    """A study with two series, of three and two slices; its UIDs and its files."""
    one, other = dicom_phantom.headers("axial")[:3], dicom_phantom.headers("tilted")[:2]
    for header in other:
        header.StudyInstanceUID = one[0].StudyInstanceUID
    dicom_phantom.write(one, folder / "one")
    dicom_phantom.write(other, folder / "other")
    return one[0].StudyInstanceUID, one[0].SeriesInstanceUID


def contents(folder):
    """SOPInstanceUID to data set, of all files of a folder."""
    found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    assert len({str(one.SOPInstanceUID) for one in found}) == len(found)
    return {str(one.SOPInstanceUID): one for one in found}


def test_what_is_sent_comes_back_as_it_was(orthanc, archive, tmp_path):
    uid, series = study(tmp_path / "study")
    for _ in range(2):  # to send again does no harm
        assert send([tmp_path / "study"], archive).count == 5
    assert len(orthanc.instances(StudyInstanceUID=uid)) == 5
    found = fetch(uid, archive, tmp_path / "out")
    assert found.count == 5
    assert contents(found.folder) == contents(tmp_path / "study")
    assert len(list(found.folder.iterdir())) == 2
    # Again, one series alone: it replaces the earlier one, the other stays.
    assert fetch(uid, archive, tmp_path / "out", series=series).count == 3
    assert contents(found.folder) == contents(tmp_path / "study")
    names = "".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*"))
    assert uid not in names
    assert ".medseg" not in names


def test_an_archive_that_does_not_know_where_to_send(orthanc, tmp_path):
    uid, _ = study(tmp_path / "study")
    send([tmp_path / "study"], archive_of(orthanc, "get"))
    address = f"dicom://{orthanc.ae_title}@127.0.0.1:{orthanc.dicom_port}"
    archive = archive_at(address, calling="STRANGER", receive_port=free_port())
    with pytest.raises(ArchiveRefusedError, match=r"C-MOVE .* has to know medseg's AE title with its host"):
        fetch(uid, archive, tmp_path / "out")


def test_what_is_not_there_is_said(archive, tmp_path):
    with pytest.raises(ArchiveRefusedError, match="none with this UID"):
        fetch("1.2.3.4.5", archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_place_of_a_series_stay(orthanc, tmp_path):
    uid, _ = study(tmp_path / "study")
    archive = archive_of(orthanc, "web")
    send([tmp_path / "study"], archive)
    folder = fetch(uid, archive, tmp_path / "out").folder
    note = next(folder.iterdir()) / "note.txt"
    note.write_text("mine")
    with pytest.raises(MedsegError, match="1 other files"):
        fetch(uid, archive, tmp_path / "out")
    assert note.read_text() == "mine"
    assert len(contents(folder)) == 5


def test_echo(orthanc):
    dimse.echo(archive_of(orthanc, "get"))
    dicomweb.echo(archive_of(orthanc, "web"))


def test_the_commands(orthanc, tmp_path, capsys):
    uid, series = study(tmp_path / "study")
    config = tmp_path / "node.yaml"
    config.write_text(
        f"home: x\ndicom: {{ae_title: NODE}}\n"
        f"archives:\n  web: {{kind: dicomweb, url: '{orthanc.dicomweb_url}'}}\n"
    )
    address = f"dicom://ORTHANC@127.0.0.1:{orthanc.dicom_port}"
    assert main(["send", str(tmp_path / "study"), "--to", address, "--calling", "ANYBODY"]) == 0
    assert capsys.readouterr().out == f"5 files stored in ORTHANC at 127.0.0.1:{orthanc.dicom_port}\n"
    words = ["fetch", uid, "--from", "web", "--config", str(config), "-o", str(tmp_path / "out")]
    assert main([*words, "--series", series]) == 0
    folder = capsys.readouterr().out.strip()
    assert len(contents(tmp_path / "out")) == 3
    assert folder.startswith(str(tmp_path / "out"))
    assert main(["fetch", "1.2.3", "--from", address, "-o", str(tmp_path / "none")]) == 3
    assert main(["fetch", "1.2.*", "--from", address, "-o", str(tmp_path / "none")]) == 2
    assert main(["fetch", uid, "--from", "wbe", "--config", str(config), "-o", str(tmp_path / "none")]) == 2
    assert "Did you mean web?" in capsys.readouterr().err
    assert main(["send", str(config), "--to", address]) == 3
    assert main(["send", str(tmp_path / "none"), "--to", address]) == 3


def test_an_archive_that_is_away(tmp_path):
    uid, _ = study(tmp_path / "study")
    with OrthancServer() as gone:
        services = [archive_of(gone, "web"), archive_of(gone, "get")]
        gone.stop()
        for archive in services:
            with pytest.raises(ArchiveAwayError):
                fetch(uid, archive, tmp_path / "out")
            with pytest.raises(ArchiveAwayError, match="0 of 5 files are stored"):
                send([tmp_path / "study"], archive)
        assert main(["fetch", uid, "--from", gone.dicomweb_url, "-o", str(tmp_path / "out")]) == 1
        gone.start()
        for archive in services:
            assert send([tmp_path / "study"], archive).count == 5
