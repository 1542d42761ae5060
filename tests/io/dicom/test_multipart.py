"""multipart/related messages: cut anywhere, in chunks of any size."""

import hashlib
from io import BytesIO

import dicom_writer
import numpy as np
import pytest

from medseg.errors import UnreadableError
from medseg.io import case_name, find_inputs, is_study, read_volume
from medseg.io.dicom.multipart import boundary_of, parts_of, saved_body

PARTS = [b"first\r\nwith --edge inside\r\n", b"", b"\x00\xff" * 5000, b"--edg"]
HEADERS = b"Content-Type: application/dicom\r\nContent-Location: x"


def message(parts=PARTS, boundary=b"edge", preamble=b"", headers=HEADERS, end=b"--\r\n"):
    body = b"".join(b"\r\n--" + boundary + b"\r\n" + headers + b"\r\n\r\n" + part for part in parts)
    body += b"\r\n--" + boundary + end
    return preamble + (body if preamble else body[2:])


def read(content, size=7, most=10**6, boundary=b"edge"):
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return list(parts_of(chunks, boundary, most))


@pytest.mark.parametrize("size", [1, 2, 3, 64, 10**6])
def test_parts_in_chunks_of_any_size(size):
    assert read(message(), size) == PARTS
    assert read(message(preamble=b"To be ignored.\r\n"), size) == PARTS
    assert read(b"\r\n" + message(), size) == PARTS
    assert read(message() + b"epilogue", size) == PARTS


def test_a_part_without_headers_and_spaces_after_the_boundary():
    assert read(b"--edge  \r\n\r\ncontent\r\n--edge--") == [b"content"]


def test_no_parts():
    assert read(b"--edge--\r\n") == []


def test_every_cut_is_seen():
    whole = message([b"abc", b"defgh"], end=b"--")
    for length in range(len(whole)):
        with pytest.raises(UnreadableError, match="ends too early"):
            read(whole[:length])


def test_limits_and_damage():
    with pytest.raises(UnreadableError, match="more than 17384 bytes"):
        read(message([b"x" * 20_000]), most=1000)
    with pytest.raises(UnreadableError, match="without headers"):
        read(b"--edge\r\nno headers at all\r\n--edge--")
    with pytest.raises(UnreadableError, match="damaged boundary"):
        read(b"--edge-of-another\r\n\r\nx\r\n--edge--")


def test_the_boundary_of_a_content_type():
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert boundary_of("Multipart/Related;boundary=x;type=application/dicom") == b"x"
    for wrong in (
        "text/html",
        "",
        "multipart/related",
        "multipart/related; boundary=",
        "multipart/mixed; boundary=x",
    ):
        with pytest.raises(UnreadableError, match="multipart/related"):
            boundary_of(wrong)


def saved(path, head=b"", slices=None, **more):
    """A message of CT slices as `curl` saves it, with the headers of HTTP (-i) or without."""
    contents = []
    for values in dicom_writer.ct_slices() if slices is None else slices:
        content = BytesIO()
        dicom_writer.as_file(values).save_as(content, enforce_file_format=True)
        contents.append(content.getvalue())
    path.write_bytes(head + message(contents, **more))
    return path


HTTP = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/2 200 \r\nserver: x\r\n"
    b"Content-type: multipart/related; boundary=edge; type=application/dicom\r\n\r\n"
)


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"", {}),
        (HTTP, {}),
        (HTTP.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2], {}),  # without the status line
        (HTTP, {"headers": b"MIME-Version: 1.0"}),
        (b"", {"boundary": b"a b=c"}),
        (b"", {"headers": b"Content-Length: 1\r\ncontent-TYPE:application/dicom; transfer-syntax=*"}),
    ],
)
def test_a_saved_message_is_read_as_a_study(head, more, tmp_path):
    path = saved(tmp_path / "answer", head, **more)
    assert is_study(path)
    volume = read_volume(path, "CT")
    assert np.array_equal(volume.array[0].T, dicom_writer.body_hu())
    assert find_inputs([path]) == find_inputs([tmp_path]) == find_inputs([f"{tmp_path}/a*"]) == [path]


def test_a_saved_message_that_is_cut_is_refused(tmp_path):
    path = saved(tmp_path / "answer")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UnreadableError, match="ends too early"):
        read_volume(path, "CT")


def test_a_saved_message_gets_the_digest_of_its_study(tmp_path):
    path = saved(tmp_path / "study.multipart")
    assert case_name(path) == f"study-{hashlib.sha256(b'1.2.3').hexdigest()[:8]}"
    assert case_name(path.rename(tmp_path / "chest_7.bin")) == "chest_7"


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"--",
            b"--edge\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"--- a list\r\n",
        ),
        b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n--edge--",
        b"Content-Type: multipart/related; type=application/dicom\r\n\r\n--edge--",
        b"a: b\r\n" * 10_000,
    ],
)
def test_what_is_no_message_of_dicom(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert saved_body(tmp_path / "file") is None
    assert not is_study(tmp_path / "file")
