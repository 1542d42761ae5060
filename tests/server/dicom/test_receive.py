"""C-ECHO and C-STORE over real sockets: who is let in, what is confirmed, and what the answers are."""

import os

import pytest
from dicom_sender import SYNTAX, association, echo, send, slices
from pydicom.uid import MPEG2MPML, JPEG2000Lossless
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelFind

from medseg.server.dicom.receive import FULL, NO_MATCH, NOT_UNDERSTOOD, SUCCESS


def kept(node):
    return sorted(path.name for path in node.incoming.folder.glob("*/*.dcm"))


def test_echo(dicom_node):
    assert echo(dicom_node().port) == SUCCESS


@pytest.mark.parametrize(
    "titles", [{"title": "NOBODY"}, {"called": "ANYBODY"}, {"title": "FROM_AFAR"}], ids=str
)
def test_unknown_titles_and_hosts_are_rejected(dicom_node, titles):
    node = dicom_node()
    with pytest.raises(AssertionError, match="rejected"):
        echo(node.port, **titles)
    assert node.receiver.counts["rejected_associations"] == 1
    assert echo(node.port) == SUCCESS


def test_what_is_confirmed_is_on_disk(dicom_node):
    node = dicom_node()
    assert send(node.port, slices(3)) == [SUCCESS] * 3
    assert len(kept(node)) == 3
    assert list(node.incoming.temporary.iterdir()) == []


def test_the_same_object_again_is_confirmed_and_kept_once(dicom_node):
    node = dicom_node()
    assert send(node.port, slices(2) * 2) == [SUCCESS] * 4
    assert (len(kept(node)), node.receiver.counts["repeated"]) == (2, 2)


def test_a_full_disk_is_told_and_the_sender_may_come_again(dicom_node, monkeypatch):
    node = dicom_node()

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(node.incoming, "_place", full)
        assert send(node.port, slices(2)) == [FULL] * 2
    assert kept(node) == []
    assert send(node.port, slices(2)) == [SUCCESS] * 2
    assert len(kept(node)) == 2


@pytest.mark.parametrize("limits", [{"free_mb": 1e12}, {"waiting_mb": 1e-6}], ids=["free", "waiting"])
def test_no_room_is_told(dicom_node, limits):
    node = dicom_node(**limits)
    assert send(node.port, slices(1)) == [FULL]
    assert kept(node) == []


def test_more_instances_than_allowed_are_refused(dicom_node):
    assert send(dicom_node(instances=2).port, slices(3)) == [SUCCESS, SUCCESS, FULL]


def test_a_wrong_transfer_syntax_is_rejected_in_negotiation_and_logged(dicom_node, caplog):
    node = dicom_node()
    with association(node.port, syntaxes=[MPEG2MPML]) as made:
        assert [context.abstract_syntax for context in made.rejected_contexts] == [CTImageStorage]
    with association(node.port, classes=[StudyRootQueryRetrieveInformationModelFind]) as made:
        assert len(made.rejected_contexts) == 1
    assert "1 with an unknown transfer syntax" in caplog.text
    assert "1 of an unknown kind" in caplog.text


def test_compressed_objects_are_accepted(dicom_node):
    with association(dicom_node().port, syntaxes=[JPEG2000Lossless]) as made:
        assert made.rejected_contexts == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"StudyInstanceUID": ""}, NOT_UNDERSTOOD),
        ({"SeriesInstanceUID": "../../escape"}, NOT_UNDERSTOOD),
        ({"StudyInstanceUID": "/etc/passwd\0"}, NOT_UNDERSTOOD),
    ],
    ids=["no study", "a path", "a path with a zero"],
)
def test_objects_without_sound_uids_are_refused(dicom_node, change, status):
    node = dicom_node()
    assert send(node.port, slices(1, **change)) == [status]
    assert kept(node) == []


def test_a_request_that_names_another_instance_is_refused(dicom_node):
    node = dicom_node()
    (data_set,) = slices(1)
    path = node.incoming.temporary / "object.dcm"
    data_set.save_as(path, enforce_file_format=True)
    assert node.receiver.keep(path, "1.2.3.4.5", "ORTHANC") == NO_MATCH
    assert node.receiver.keep(path, str(data_set.SOPInstanceUID), "ORTHANC") == SUCCESS


def test_too_many_associations_are_rejected(dicom_node):
    node = dicom_node(associations=1)
    with association(node.port), pytest.raises(AssertionError, match="rejected"):
        echo(node.port)


def test_syntaxes_are_those_that_are_read():
    from medseg.io.dicom.decoding import _DECODERS
    from medseg.server.dicom.receive import TRANSFER_SYNTAXES

    assert set(_DECODERS) < set(TRANSFER_SYNTAXES)
    assert SYNTAX in TRANSFER_SYNTAXES
