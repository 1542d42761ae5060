"""Which archive is meant: addresses and records, and what is refused."""

import pytest

from medseg.archive import Archive, archive_at, archives_from
from medseg.archive.address import unencrypted
from medseg.errors import MedsegError, UsageError


def test_addresses():
    assert archive_at("https://pacs.example/dicom-web/") == Archive(
        "dicomweb", "https://pacs.example/dicom-web"
    )
    found = archive_at("dicom://OLD%20PACS@pacs.example:104", calling="ME")
    assert found == Archive("dimse", ae_title="OLD PACS", host="pacs.example", port=104, calling="ME")
    assert archive_at("dicom://A@[::1]:104").host == "::1"


@pytest.mark.parametrize(
    "address",
    [
        *("", "pacs", "dicom://pacs:104", "dicom://A@pacs", "dicom://A@pacs:0", "dicom://A@pacs:70000"),
        *(
            "dicom://A@pacs:104/x",
            "ftp://pacs/x",
            "https://",
            "https://pacs/x?token=SECRET",
            "https://[::1/x",
        ),
        *("dicom://SEVENTEEN_LETTERS@pacs:104", "dicom://A%5CB@pacs:104", "https://u:SECRET@pacs/x"),
    ],
)
def test_other_addresses_are_refused_and_not_quoted(address):
    with pytest.raises(UsageError) as refused:
        archive_at(address)
    assert "SECRET" not in str(refused.value)


def test_records(tmp_path):
    (tmp_path / "token").write_text("abc\n")
    web = {"kind": "dicomweb", "url": "https://pacs.example/web", "token_file": "token"}
    pacs = {"kind": "dimse", "ae_title": "PACS", "host": "pacs", "port": 104, "receive_port": None}
    found = archives_from({"web": web, "pacs": pacs}, tmp_path, "NODE")
    assert found["web"].secret() == "abc"
    assert (found["pacs"].calling, found["pacs"].receive_port) == ("NODE", None)
    (tmp_path / "token").write_text("new")
    assert found["web"].secret() == "new"
    assert "abc" not in repr(archive_at("https://pacs.example", token="abc"))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"kind": "dimse", "ae_titel": "A", "host": "h", "port": 1}, "Did you mean ae_title?"),
        ({"kind": "dicomweb", "url": "https://h", "host": "h"}, "host in archive x"),
        ({"kind": "dimse", "ae_title": "A", "host": "h"}, "`port` in archive x"),
        ({"kind": "dimse", "ae_title": "A", "host": "h", "port": "104"}, "a number as `port`"),
        ({"kind": "dimse", "ae_title": "A", "host": "h", "port": True}, "a number as `port`"),
        ({"kind": "dicomweb", "url": "dicom://A@h:1"}, "address of an archive"),
        ({"kind": "other"}, "kind: dimse"),
        (None, "kind: dimse"),
    ],
)
def test_wrong_records(record, text, tmp_path):
    with pytest.raises(UsageError) as refused:
        archives_from({"x": record}, tmp_path)
    assert text in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"\xff\xfe"])
def test_a_token_file_that_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(MedsegError, match="a file with one token"):
        archive_at("https://h/x", token_file=tmp_path / "token").secret()


def test_a_token_in_clear_text_is_warned_of():
    assert "unencrypted" in unencrypted(archive_at("http://pacs.example/x", token="t"))
    for address in ("https://pacs.example/x", "http://127.0.0.1:8042/x", "http://localhost/x"):
        assert unencrypted(archive_at(address, token="t")) is None
    assert unencrypted(archive_at("http://pacs.example/x")) is None
