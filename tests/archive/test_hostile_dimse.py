"""A DIMSE peer that refuses, stops in the middle, or sends what nobody asked for."""

import socket
import threading
from contextlib import contextmanager

import dicom_phantom
import dicom_writer
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from medseg.archive import archive_at, fetch, retrieval, send
from medseg.errors import ArchiveAwayError, ArchiveRefusedError

pytestmark = pytest.mark.seconds


@contextmanager
def peer(*handlers, syntaxes=(ImplicitVRLittleEndian,), contexts=(CTImageStorage,), known=None):
    """An archive whose services are `handlers`; yields its Archive."""
    entity = AE("PEER")
    for context in contexts:
        entity.add_supported_context(context, list(syntaxes), scu_role=True, scp_role=True)
    if known:
        entity.require_calling_aet = [known]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        yield archive_at(f"dicom://PEER@127.0.0.1:{server.socket.getsockname()[1]}")
    finally:
        server.shutdown()


@pytest.fixture
def files(tmp_path):
    return sorted(dicom_phantom.write(dicom_phantom.headers("axial")[:3], tmp_path / "study").iterdir())


def storing(*statuses):
    """A C-STORE service that answers these statuses, one after the other."""
    left = iter(statuses)
    return evt.EVT_C_STORE, lambda event: next(left)


def test_each_answer_counts(files):
    with peer(storing(0x0000, 0xB000, 0x0000)) as archive:
        assert send(files, archive).warnings == ("001.dcm: status B000H",)
    with (
        peer(storing(0x0000, 0xC123, 0x0000)) as archive,
        pytest.raises(ArchiveRefusedError, match=r"refused 1 of 3 \(001.dcm: status C123H\)"),
    ):
        send(files, archive)
    with (
        peer(storing(0x0000, 0xA700)) as archive,
        pytest.raises(ArchiveAwayError, match="A700H; 1 of 3 files are stored"),
    ):
        send(files, archive)


def test_the_syntax_that_the_peer_speaks(files, tmp_path):
    got = []

    def keep(event):
        got.append((event.context.transfer_syntax, event.dataset.PixelData, event.dataset.PatientName))
        return 0x0000

    with peer((evt.EVT_C_STORE, keep)) as archive:
        assert send(files[:1], archive).count == 1
    before = pydicom.dcmread(files[0])
    assert got == [(ImplicitVRLittleEndian, before.PixelData, before.PatientName)]
    compressed = dicom_writer.ct_slices()[:1]
    dicom_writer.save_compressed(tmp_path / "rle", compressed, RLELossless)
    with (
        peer(storing(0x0000, 0x0000)) as archive,
        pytest.raises(ArchiveRefusedError, match=f"transfer syntax {RLELossless}") as refused,
    ):
        send([tmp_path / "rle", files[0]], archive)
    assert "refused 1" in str(refused.value)
    assert "Secret" not in str(refused.value)


def test_a_peer_that_takes_nothing_of_it(files):
    with peer(contexts=(StudyRootQueryRetrieveInformationModelFind,)) as archive:
        with pytest.raises(ArchiveRefusedError, match=f"refused 3 of 3 .000.dcm: SOP class {CTImageStorage}"):
            send(files, archive)
        with pytest.raises(ArchiveRefusedError, match="C-FIND by PEER"):
            fetch("1.2.3", archive, files[0].parent.parent / "out")


def test_an_unknown_caller_is_told_so(files):
    with (
        peer(storing(), known="OTHER") as archive,
        pytest.raises(ArchiveRefusedError, match="have to know MEDSEG"),
    ):
        send(files, archive)


def test_a_peer_that_goes_in_the_middle(files):
    def leave(event):
        event.assoc.abort()
        return 0x0000

    with (
        peer((evt.EVT_C_STORE, leave)) as archive,
        pytest.raises(ArchiveAwayError, match="0 of 3 files are stored"),
    ):
        send(files, archive)


def test_a_peer_that_is_none(files):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def chat():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)

        threading.Thread(target=chat, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(ArchiveAwayError, match="none that speaks DICOM"):
            send(files, archive_at(f"dicom://PEER@127.0.0.1:{port}"))


def answering(files, sent=None, final=None):
    """C-FIND and C-GET services of these files, of which `sent` are sent."""
    known = [pydicom.dcmread(file) for file in files]
    sent = known if sent is None else sent

    def find(event):
        for one in known[:1] if event.identifier.QueryRetrieveLevel == "SERIES" else known:
            found = Dataset()
            found.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
            for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"):
                setattr(found, keyword, one[keyword].value)
            yield 0xFF00, found

    def get(event):
        yield len(sent) or 1
        for one in sent:
            yield 0xFF00, one
        if final:
            yield final, None

    return (evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)


def fetched(files, handlers, tmp_path):
    from pydicom.uid import ExplicitVRLittleEndian

    models = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
    with peer(*handlers, syntaxes=[ExplicitVRLittleEndian], contexts=(CTImageStorage, *models)) as archive:
        uid = str(pydicom.dcmread(files[0]).StudyInstanceUID)
        try:
            return fetch(uid, archive, tmp_path / "out")
        finally:
            if (tmp_path / "out").exists():
                assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_study_that_comes_as_asked_for(files, tmp_path):
    assert fetched(files, answering(files), tmp_path).count == 3


def test_fewer_files_than_found(files, tmp_path):
    with pytest.raises(ArchiveAwayError, match=r"series 1 of 1 \(CT\): 1 of 3 instances"):
        fetched(files, answering(files, [pydicom.dcmread(file) for file in files[:2]]), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_nobody_asked_for(files, tmp_path):
    other = dicom_phantom.write(dicom_phantom.headers("axial")[:1], tmp_path / "other")
    strangers = [pydicom.dcmread(file) for file in [files[0], next(other.iterdir())]]
    with pytest.raises(ArchiveRefusedError, match="another one") as refused:
        fetched(files, answering(files, strangers), tmp_path)
    assert "PLANTED" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("status", "error"), [(0xA702, ArchiveAwayError), (0xC001, ArchiveRefusedError)])
def test_a_retrieval_that_fails(status, error, files, tmp_path):
    with pytest.raises(error, match=f"status {status:04X}H"):
        fetched(files, answering(files, [], status), tmp_path)


def test_a_file_that_does_not_end(files, tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "MOST_FILE_BYTES", 600)
    with pytest.raises(ArchiveRefusedError, match="files of at most 600 bytes; got a larger one"):
        fetched(files, answering(files), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
