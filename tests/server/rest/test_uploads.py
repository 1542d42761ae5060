"""Bodies to files: whole, in the pieces of any network, and within bounds."""

import asyncio
import hashlib

import pytest
from rest_node import picture

from medseg.errors import UnreadableError
from medseg.server.rest.refusal import Refusal
from medseg.server.rest.uploads import UploadLimits, receive

LIMITS = UploadLimits(body_bytes=1_000_000, files=20, upload_s=5, idle_s=2)
DICOM = bytes(128) + b"DICM" + bytes(200)


def form(*parts, kind="multipart/form-data", end=b"--cut--\r\n"):
    """The type and the body of several parts: headers and content."""
    body = b"".join(b"--cut\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return f"{kind}; boundary=cut", body + end


def file_part(content, name="a.png"):
    return f'Content-Disposition: form-data; name="file"; filename="{name}"'.encode(), content


def field_part(name, value):
    return f'Content-Disposition: form-data; name="{name}"'.encode(), value


def received(folder, kind, body, limits=LIMITS, piece=997, pause_s=0.0):
    async def pieces():
        for at in range(0, len(body), piece):
            if pause_s:
                await asyncio.sleep(pause_s)
            yield body[at : at + piece]

    return asyncio.run(receive(pieces(), kind, folder, limits))


@pytest.mark.parametrize("piece", [7, 997, 1_000_000], ids=["tiny", "usual", "whole"])
def test_a_form(tmp_path, piece):
    content = picture()
    body = form(file_part(content, "../../DOE^JANE.png"), field_part("task", b"retinal_vessel"))
    found = received(tmp_path, *body, piece=piece)
    assert found.files == {"00001.png": hashlib.sha256(content).hexdigest()}
    assert found.fields == {"task": ["retinal_vessel"]}
    assert [file.name for file in tmp_path.iterdir()] == ["00001.png"]
    assert (tmp_path / "00001.png").read_bytes() == content


def test_one_file_of_a_raw_body(tmp_path):
    assert list(received(tmp_path, "application/dicom", DICOM).files) == ["00001.dcm"]


def test_the_content_chooses_the_suffix(tmp_path):
    assert list(received(tmp_path, "image/jpeg", picture()).files) == ["00001.png"]


def test_dicom_as_stow_has_it(tmp_path):
    kind, body = form(
        *[(b"Content-Type: application/dicom", DICOM + bytes([n])) for n in range(12)],
        kind='multipart/related; type="application/dicom"',
    )
    found = received(tmp_path, kind, body)
    assert sorted(found.files) == [f"{n:05d}.dcm" for n in range(1, 13)]
    assert len(set(found.files.values())) == 12


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("text/plain", b"x", 415, "a body of multipart/form-data"),
        ("", b"x", 415, "no Content-Type"),
        ("multipart/form-data", b"x", 400, "no boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", b"x", 400, "whole parts|too long"),
        (*form(file_part(picture()), end=b""), 400, "stops before its last boundary"),
        (*form(file_part(picture()), end=b"--cutter"), 400, "whole parts"),
        ("multipart/form-data; boundary=cut", b"rubbish", 400, "other bytes"),
        (*form(*[file_part(picture())] * 21), 413, "at most 20 files"),
        (*form(*[field_part(f"f{n}", b"x") for n in range(40)]), 413, "at most 32 fields"),
        (*form(field_part("task", b"x" * 2000)), 413, "fields of 1000 bytes"),
        ("image/png", picture(size=800), 413, "a body of at most 1000000 bytes"),
    ],
    ids=[
        "type",
        "no_type",
        "no_boundary",
        "long_boundary",
        "cut",
        "other_end",
        "rubbish",
        "files",
        "fields",
        "field",
        "size",
    ],
)
def test_bodies_that_are_refused(tmp_path, kind, body, status, message):
    with pytest.raises(Refusal, match=message) as caught:
        received(tmp_path, kind, body)
    assert caught.value.status == status


@pytest.mark.parametrize("content", [b"rubbish" * 20_000, b""], ids=["text", "empty"])
def test_rubbish_is_refused(tmp_path, content):
    with pytest.raises(UnreadableError):
        received(tmp_path, *form(file_part(content)))


def test_rubbish_is_refused_before_its_end(tmp_path):
    """By its first 64 KB, not after 2 GB."""
    taken = []

    async def endless():
        while True:
            taken.append(1)
            yield b"rubbish!" * 8192

    limits = UploadLimits(10**12, 1, 60)
    with pytest.raises(UnreadableError):
        asyncio.run(receive(endless(), "image/png", tmp_path, limits))
    assert len(taken) < 10


@pytest.mark.parametrize(
    ("limits", "pause_s"),
    [(UploadLimits(10**6, 1, 0.3, 5), 0.05), (UploadLimits(10**6, 1, 5, 0.1), 0.4)],
    ids=["in_all", "silent"],
)
def test_slow_bodies(tmp_path, limits, pause_s):
    with pytest.raises(Refusal, match=r"a body within .* without pauses") as caught:
        received(tmp_path, "image/png", picture(), limits, piece=300, pause_s=pause_s)
    assert caught.value.status == 408
