"""A DICOMweb server that answers wrongly: nothing is kept, nothing hangs, the token goes nowhere else."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dicom_phantom
import pytest

from medseg.archive import archive_at, dicomweb, fetch, send
from medseg.errors import ArchiveAwayError, ArchiveRefusedError, MedsegError

TOKEN = "hush-hush"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=edge'


class Web:
    """Answers each request by `answer(path)`: status, headers, chunks; notes what it was asked."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []


@contextmanager
def serving(answer):
    web = Web(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.seen.append((self.command, self.path, self.headers.get("Authorization")))
            status, headers, chunks = web.answer(self.path.partition("?")[0])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
            except OSError:
                pass  # the client has had enough

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    web.url = f"http://127.0.0.1:{server.server_port}/web"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def files(tmp_path):
    return sorted(dicom_phantom.write(dicom_phantom.headers("axial")[:2], tmp_path / "study").iterdir())


@pytest.fixture
def uids(files):
    import pydicom

    headers = [pydicom.dcmread(file) for file in files]
    return headers[0].StudyInstanceUID, headers[0].SeriesInstanceUID, [h.SOPInstanceUID for h in headers]


def element(*values):
    return {"vr": "UI", "Value": list(values)}


def listing(uids):
    """What QIDO-RS answers."""
    found = [
        {"0020000E": element(uids[1]), "00080018": element(one), "00080060": element("CT")} for one in uids[2]
    ]
    return 200, {"Content-Type": "application/dicom+json"}, [json.dumps(found).encode()]


def first_listing(uids, answer):
    return lambda path: listing(uids) if path.endswith("/instances") else answer


def body(contents, end=b"\r\n--edge--"):
    return b"".join(b"\r\n--edge\r\nContent-Type: application/dicom\r\n\r\n" + one for one in contents) + end


def archive_of(web):
    return archive_at(web.url, token=TOKEN)


def refusal(uids, answer, tmp_path):
    """The error of a fetch where WADO-RS answers so; nothing may be left of it."""
    with serving(first_listing(uids, answer)) as web, pytest.raises(MedsegError) as refused:
        fetch(uids[0], archive_of(web), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    return refused.value


def web_answer(content, **headers):
    return 200, {"Content-Type": MULTIPART, **headers}, content


def test_a_right_answer_is_kept(files, uids, tmp_path):
    answer = web_answer([body([file.read_bytes() for file in files])])
    with serving(first_listing(uids, answer)) as web:
        assert fetch(uids[0], archive_of(web), tmp_path / "out").count == 2
    assert {token for _, _, token in web.seen} == {f"Bearer {TOKEN}"}


def test_answers_that_are_no_whole_study(files, uids, tmp_path):
    one, other = (file.read_bytes() for file in files)
    stranger = dicom_phantom.write(dicom_phantom.headers("axial")[:1], tmp_path / "stranger")
    stranger = next(stranger.iterdir()).read_bytes()
    whole = body([one, other])
    wrong = {
        "text/html": (200, {"Content-Type": "text/html"}, [b"<html>Please log in</html>"]),
        "without one": (200, {"Content-Type": "multipart/related"}, [whole]),
        "ends too early": web_answer([whole[: len(whole) // 2]]),
        "other content": web_answer([body([b"<html>", one, other])]),
        "another one": web_answer([body([one, stranger])]),
        "a second time": web_answer([body([one, one])]),
    }
    for text, answer in wrong.items():
        error = refusal(uids, answer, tmp_path)
        assert isinstance(error, ArchiveRefusedError)
        assert text in str(error)
        assert "PLANTED" not in str(error)
    lost = refusal(uids, web_answer([body([one])]), tmp_path)
    assert isinstance(lost, ArchiveAwayError)
    assert "series 1 of 1 (CT): 1 of 2 instances" in str(lost)
    torn = refusal(uids, web_answer([whole[:-100]], **{"Content-Length": str(len(whole))}), tmp_path)
    assert isinstance(torn, ArchiveAwayError)


def test_an_endless_answer_is_left(files, uids, tmp_path, monkeypatch):
    monkeypatch.setattr(dicomweb, "MOST_FILE_BYTES", 2**20)
    start = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
    endless = (chunk for chunk in [start, *[bytes(2**16)] * 10_000])
    assert "more than" in str(refusal(uids, web_answer(endless), tmp_path))
    monkeypatch.setattr(dicomweb, "MOST_SECONDS", -1)
    slow = web_answer([body([file.read_bytes() for file in files])])
    assert "got a longer one" in str(refusal_of_all(uids, slow, tmp_path))


def refusal_of_all(uids, answer, tmp_path):
    with serving(lambda path: answer) as web, pytest.raises(ArchiveAwayError) as refused:
        fetch(uids[0], archive_of(web), tmp_path / "out")
    return refused.value


def test_a_full_disk_is_told_as_such(files, uids, tmp_path, monkeypatch):
    from pathlib import Path

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = web_answer([body([file.read_bytes() for file in files])])
    with serving(first_listing(uids, answer)) as web, pytest.raises(OSError, match="No space left"):
        fetch(uids[0], archive_of(web), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((200, {}, [b"<html>"]), ArchiveRefusedError, "DICOM JSON"),
        ((200, {}, [b'{"a": 1}']), ArchiveRefusedError, "DICOM JSON"),
        ((200, {}, [b"[" * 100_000]), ArchiveRefusedError, "DICOM JSON"),
        ((200, {}, [b"[1, 2]"]), ArchiveRefusedError, "DICOM JSON"),
        ((200, {}, [b'[{"0020000E": {"Value": ["../../x"]}}]']), ArchiveRefusedError, "UIDs from"),
        ((200, {}, [b'[{"0020000E": {"Value": [{"a": []}]}}]']), ArchiveRefusedError, "UIDs from"),
        ((200, {}, [b"[]"]), ArchiveRefusedError, "none with this UID"),
        ((204, {}, []), ArchiveRefusedError, "none with this UID"),
        ((401, {}, []), ArchiveRefusedError, "Check the token"),
        ((404, {}, []), ArchiveRefusedError, "HTTP status 404"),
        ((429, {}, []), ArchiveAwayError, "HTTP status 429"),
        ((503, {}, []), ArchiveAwayError, "HTTP status 503"),
        ((200, {"Content-Encoding": "gzip"}, [b"no gzip"]), ArchiveRefusedError, "DecodingError"),
        ((200, {"Content-Length": "100"}, [b"[]"]), ArchiveAwayError, "RemoteProtocolError"),
    ],
)
def test_wrong_listings(answer, error, text, tmp_path):
    with serving(lambda path: answer) as web, pytest.raises(error) as refused:
        fetch("1.2.3", archive_of(web), tmp_path / "out")
    assert text in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_follows_no_redirect(status, files, tmp_path):
    with (
        serving(lambda path: (200, {}, [b"[]"])) as thief,
        serving(lambda path: (status, {"Location": thief.url}, [])) as web,
    ):
        with pytest.raises(ArchiveRefusedError, match="name the final address"):
            fetch("1.2.3", archive_of(web), tmp_path / "out")
        with pytest.raises(ArchiveRefusedError, match=f"HTTP status {status}"):
            send(files[:1], archive_of(web))
    assert thief.seen == []


def answered(**sequences):
    tags = {"failed": "00081198", "stored": "00081199"}
    content = {tags[name]: {"vr": "SQ", "Value": items} for name, items in sequences.items()}
    return [json.dumps(content).encode()]


def test_what_is_not_said_to_be_stored_is_not_stored(files, uids):
    name = element(uids[2][0])
    wrong = {
        "failure reason A900H": (200, {}, answered(failed=[{"00081155": name, "00081197": element(0xA900)}])),
        "failure reason 0110H": (409, {}, answered(failed=[{"00081155": name, "00081197": element(0x110)}])),
        "an answer that doesn't name the instance": (
            200,
            {},
            answered(stored=[{"00081155": element("1.2")}]),
        ),
        "something else": (200, {"Content-Type": "text/html"}, [b"<html>Please log in</html>"]),
        "HTTP status 413": (413, {}, []),
    }
    for text, answer in wrong.items():
        with serving(lambda path, answer=answer: answer) as web:
            with pytest.raises(ArchiveRefusedError) as refused:
                send(files[:1], archive_of(web))
            assert text in str(refused.value)
    with serving(lambda path: (502, {}, [])) as web, pytest.raises(ArchiveAwayError):
        send(files[:1], archive_of(web))


def test_a_warning_is_passed_on(files, uids):
    stored = answered(stored=[{"00081155": element(uids[2][0]), "00081196": element(0xB000)}])
    with serving(lambda path: (202, {}, stored)) as web:
        assert send(files[:1], archive_of(web)).warnings == ("000.dcm: warning reason B000H",)


def test_all_that_can_be_stored_is(files, uids):
    answers = iter(
        [(200, {}, answered(failed=[{}])), (200, {}, answered(stored=[{"00081155": element(uids[2][1])}]))]
    )
    with serving(lambda path: next(answers)) as web:
        with pytest.raises(ArchiveRefusedError, match="refused 1"):
            send(files, archive_of(web))
        assert [method for method, *_ in web.seen] == ["POST", "POST"]


def test_basic_authentication(tmp_path):
    with serving(lambda path: (200, {}, [b"[]"])) as web:
        (tmp_path / "password").write_text("pw")
        dicomweb.echo(archive_at(web.url, user="me", token_file=tmp_path / "password"))
    assert web.seen[0][2] == "Basic bWU6cHc="
