"""multipart/related messages: cut anywhere, in chunks of any size."""

import pytest

from medseg.errors import UnreadableError
from medseg.io.dicom.multipart import boundary_of, parts_of

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
