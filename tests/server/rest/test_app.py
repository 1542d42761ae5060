"""The REST service from a client's side: an image in, a job, its result out; what is refused, and how."""

import io
import logging
import zipfile

import numpy as np
import pytest
from rest_node import client_of, listening, picture, rest_node

TASK = {"task": "retinal_vessel"}
PNG = {"content-type": "image/png"}


@pytest.fixture
def node(tmp_path):
    return rest_node(tmp_path)


@pytest.fixture
def service(node):
    with listening(node) as found:
        yield found


@pytest.fixture
def client(service):
    with client_of(service) as found:
        yield found


def post(client, content=None, **fields):
    content = picture() if content is None else content
    return client.post("/jobs", params={**TASK, **fields}, content=content, headers=PNG)


def test_an_image_its_job_and_its_result(client, node):
    answer = post(client, formats="png,html", mode="instance", pixel_spacing_mm="0.25")
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert answer.json()["state"] == "waiting"
    assert node.added == [1]
    kept = node.queue.get(job)
    assert kept.origin == "rest"
    expected = {"method": None, "mode": "instance", "formats": ["png", "html"], "pixel_spacing_mm": 0.25}
    expected["bytes"] = len(picture())
    assert kept.settings == expected
    assert (kept.folder / "in" / "00001.png").read_bytes() == picture()
    refused = client.get(f"/jobs/{job}/results")
    assert (refused.status_code, refused.json()["got"]) == (409, "one that is waiting")

    node.finish(job, warnings=["blurred"], verdict="warn")
    told = client.get(f"/jobs/{job}").json()
    assert (told["state"], told["verdict"], told["warnings"]) == ("done", "warn", ["blurred"])
    assert told["seconds"] == 1.25
    assert told["files"] == ["measurements.json", "report.html", "segmentation.png"]
    assert client.get("/jobs").json() == [told]
    with zipfile.ZipFile(io.BytesIO(client.get(f"/jobs/{job}/results").content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{job}/{name}" for name in told["files"]]
        assert archive.read(f"{job}/segmentation.png") == b"segmentation.png" * 100
    page = client.get(f"/jobs/{job}/results/report.html")
    assert page.content == b"report.html" * 100
    assert page.headers["content-security-policy"] == "sandbox allow-scripts"


def test_forms(client, node):
    answer = client.post(
        "/jobs", files={"image": ("Doe^John.png", picture())}, data={**TASK, "formats": "png"}
    )
    assert answer.status_code == 202
    assert node.queue.get(answer.json()["id"]).settings["formats"] == ["png"]


def test_dicom_files_are_one_study(client, node):
    slices = [("file", (f"{n}.dcm", bytes(128) + b"DICM" + bytes([n] * 9))) for n in range(3)]
    answer = client.post("/jobs", files=slices, data={"task": "lung_ct"})
    assert answer.status_code == 202
    files = sorted(path.name for path in (node.queue.get(answer.json()["id"]).folder / "in").iterdir())
    assert files == ["00001.dcm", "00002.dcm", "00003.dcm"]
    mixed = client.post("/jobs", files=[*slices, ("file", ("a.png", picture()))], data={"task": "lung_ct"})
    assert (mixed.status_code, mixed.json()["got"]) == (422, "4 files of other kinds")
    assert client.post("/jobs", files={"task": (None, "lung_ct")}).json()["got"] == "no file"


def test_the_same_work_is_done_once(client, node):
    jobs = [post(client).json()["id"] for _ in range(3)]
    assert len(set(jobs)) == 1
    assert post(client, mode="instance").json()["id"] != jobs[0]
    assert post(client, picture(1)).json()["id"] != jobs[0]
    assert node.queue.counts()["waiting"] == 3


def test_a_result_is_there_when_it_is_whole_and_when_no_archive_took_it(client, node):
    job = post(client).json()["id"]
    node.queue.take()
    folder = node.queue.get(job).folder / "out" / "case"
    folder.mkdir(parents=True)
    (folder / "segmentation.dcm").write_bytes(b"half")
    assert client.get(f"/jobs/{job}").json()["files"] == []
    assert client.get(f"/jobs/{job}/results").status_code == 409
    node.queue.finish(job, {"verdict": "pass"}, deliver=True)
    node.queue.set_aside(job, "pacs: it takes no such objects")
    assert client.get(f"/jobs/{job}").json()["files"] == ["segmentation.dcm"]
    assert client.get(f"/jobs/{job}/results/segmentation.dcm").content == b"half"


def test_again(client, node):
    job = post(client).json()["id"]
    early = client.post(f"/jobs/{job}/again")
    assert (early.status_code, early.json()["got"]) == (409, "one that is waiting")
    node.queue.take()
    node.queue.set_aside(job, "its worker ended twice")
    answer = client.post(f"/jobs/{job}/again")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")


def test_cancel(client, node):
    job = post(client).json()["id"]
    node.queue.take()
    assert client.delete(f"/jobs/{job}").json()["state"] == "cancelled"
    assert node.cancelled == [job]
    again = client.delete(f"/jobs/{job}")
    assert (again.status_code, again.json()["got"]) == (409, "one that is cancelled")
    assert client.get(f"/jobs/{job}/results").status_code == 409
    assert post(client).json()["id"] != job


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "retinal_vesel"}, "Did you mean retinal_vessel?"),
        ({"task": ""}, "Known names: "),
        ({"task": "../../bundles/retinal_vessel"}, "Did you mean retinal_vessel?"),
        ({"metod": "unet"}, "Did you mean method"),
        ({"method": "residual_unt"}, "Did you mean residual_unet"),
        ({"method": "../inference"}, "Known names: "),
        ({"mode": "instanc"}, "Did you mean instance?"),
        ({"formats": "png,htm"}, "Did you mean html?"),
        ({"pixel_spacing_mm": "0"}, "such as 0.2"),
        ({"pixel_spacing_mm": "nan"}, "such as 0.2"),
        ({"pixel_spacing_mm": "1e999"}, "such as 0.2"),
        ({"mode": ["instance", "object"]}, "Give it once."),
    ],
    ids=[
        "task",
        "no_task",
        "path",
        "field",
        "method",
        "method_path",
        "mode",
        "format",
        "zero",
        "nan",
        "infinite",
        "twice",
    ],
)
def test_orders_that_are_refused(client, node, fields, message):
    answer = client.post("/jobs", params={**TASK, **fields}, content=picture(), headers=PNG)
    assert answer.status_code == 422
    assert message in answer.json()["advice"]
    assert set(answer.json()) == {"expected", "got", "advice"}
    assert node.queue.counts()["waiting"] == 0
    assert list((node.queue.home / "uploads").glob("*")) == []


def test_rubbish_is_refused(client, node):
    answer = post(client, b"no image at all")
    assert answer.status_code == 415
    assert answer.json()["got"] == "a file that begins like none of these"
    assert list((node.queue.home / "uploads").glob("*")) == []


def test_limits(tmp_path):
    node = rest_node(tmp_path, body_mb=0.01, jobs_waiting=1)
    with listening(node) as service, client_of(service) as client:
        assert post(client, picture(size=32)).status_code == 202
        full = post(client, picture(1, size=32))
        assert (full.status_code, full.headers["retry-after"]) == (503, "60")
        node.queue.take()
        large = post(client)
        assert (large.status_code, large.json()["expected"]) == (413, "a body of at most 10000 bytes")
        pieces = client.post("/jobs", params=TASK, content=iter([picture()] * 2), headers=PNG)
        assert pieces.status_code == 413  # whose size no header told
        assert list((node.queue.home / "uploads").glob("*")) == []


def test_a_full_disk(client, node, monkeypatch):
    from medseg.server.rest import inbox

    monkeypatch.setattr(inbox, "SPARE_BYTES", 1 << 60)
    answer = post(client)
    assert (answer.status_code, answer.json()["expected"]) == (507, "free space on the node's disk")
    monkeypatch.undo()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "/srv/DOE^JOHN")

    monkeypatch.setattr(node.queue, "add", full)
    answer = post(client)
    assert answer.status_code == 507
    assert "DOE" not in answer.text
    assert list((node.queue.home / "uploads").glob("*")) == []


@pytest.mark.parametrize("token", [None, "", "wrong", "é" * 20, "a-token-of-the-tests "], ids=range(5))
def test_without_a_token_nothing_opens(service, node, token):
    job = "0" * 32
    paths = [("GET", "/"), ("GET", "/jobs"), ("GET", f"/jobs/{job}"), ("DELETE", f"/jobs/{job}")]
    paths += [("GET", f"/jobs/{job}/results"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("PUT", "/x")]
    headers = {} if token is None else {"authorization": f"Bearer {token}x".encode()}
    with client_of(service, None) as client:
        for method, path in paths:
            assert client.request(method, path, headers=headers).status_code == 401, path
        refused = client.post("/jobs", params=TASK, content=picture(), headers={**PNG, **headers})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz", headers=headers).status_code == 200
    assert node.queue.jobs() == []


def test_health(client, node):
    assert client.get("/healthz").json() == {"is_well": True, "parts": {"queue": True, "disk": True}}
    node.health["workers"] = False
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["parts"]["workers"]) == (503, False)
    node.queue.close()
    assert client.get("/healthz").json()["parts"]["queue"] is False


def test_lists(client, node):
    jobs = [post(client, picture(n)).json()["id"] for n in range(3)]
    node.queue.cancel(jobs[0])
    assert {job["id"] for job in client.get("/jobs").json()} == set(jobs)
    assert [job["id"] for job in client.get("/jobs?state=cancelled").json()] == [jobs[0]]
    assert len(client.get("/jobs?limit=2").json()) == 2
    assert "Did you mean waiting?" in client.get("/jobs?state=waitin").json()["advice"]
    for limit in ("0", "x", "9" * 5000, "-1", "1001"):
        assert client.get("/jobs", params={"limit": limit}).status_code == 422


@pytest.mark.parametrize("job", ["x", "0" * 32, "..%2f..%2fetc", "%00", "0" * 31 + "G"])
def test_jobs_that_are_none(client, job):
    for path in (f"/jobs/{job}", f"/jobs/{job}/results", f"/jobs/{job}/results/report.html"):
        assert client.get(path).status_code == 404


def test_files_that_are_none(client, node):
    job = post(client).json()["id"]
    node.finish(job)
    (node.queue.get(job).folder / "out" / "case" / "link.txt").symlink_to("/etc/passwd")
    for name in ("link.txt", "..%2f..%2fin%2f00001.png", "measurements", "/etc/passwd"):
        assert client.get(f"/jobs/{job}/results/{name}").status_code == 404
    assert b"link" not in client.get(f"/jobs/{job}/results").content


def test_figures(client, node):
    post(client)
    post(client, b"rubbish")
    text = client.get("/metrics").text
    assert 'medseg_jobs{state="waiting"} 1.0' in text
    assert 'medseg_refused_total{origin="rest",reason="image"} 1.0' in text


def test_the_description(client):
    told = client.get("/openapi.json").json()
    assert set(told["paths"]["/jobs"]["post"]["requestBody"]["content"]) > {"multipart/form-data", "image/*"}
    assert [each["name"] for each in told["paths"]["/jobs"]["post"]["parameters"]][:1] == ["task"]
    assert {"HTTPBearer"} == set(told["components"]["securitySchemes"])
    assert client.get("/docs").status_code == 404


def test_headers(client):
    answer = client.get("/jobs")
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_what_a_sender_says_is_not_in_the_log(service, node, caplog):
    name = "DOE^JOHN"
    with caplog.at_level(logging.DEBUG), client_of(service) as client:
        client.post("/jobs", params=TASK, files={"file": (f"{name}.png", picture())})
        client.post("/jobs", params={"task": name}, files={name: (f"{name}.txt", name.encode() * 99)})
        client.get(f"/jobs/{name}", params={name: name}, headers={"user-agent": name, "referer": name})
        client.get(f"/{name}")
        client.request(name.replace("^", ""), "/jobs")
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("medseg"))
    assert "anna POST /jobs 202" in ours
    assert "anna GET /jobs/{job} 404" in ours
    assert "DOE" not in ours
    assert name.encode() not in (node.queue.home / "queue.sqlite").read_bytes()
    assert [path for path in node.queue.home.rglob("*") if "DOE" in path.name] == []
    assert "DOE" not in node.metrics.text().decode()


def test_an_unforeseen_error_tells_nothing(client, node, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise ValueError("DOE^JOHN")

    monkeypatch.setattr(node.queue, "jobs", broken)
    answer = client.get("/jobs")
    assert answer.status_code == 500
    assert answer.json()["got"] == "an unforeseen error"
    assert "GET /jobs: medseg could not process it (ValueError in test_app.py" in caplog.text
    assert "DOE" not in caplog.text + answer.text


def test_what_an_earlier_process_left_is_removed(tmp_path):
    left = tmp_path / "node" / "uploads" / "x"
    left.mkdir(parents=True)
    (left / "00001").write_bytes(b"half an image")
    rest_node(tmp_path)
    assert not left.exists()


def test_an_upload_is_on_disk_when_it_is_accepted(client, node, tmp_path):
    """Another process that opens the queue finds the job with all its bytes."""
    from medseg.server.queue import Queue

    content = np.random.default_rng(0).bytes(300_000)
    job = post(client, b"\x89PNG\r\n\x1a\n" + content).json()["id"]
    again = Queue(node.queue.path)
    again.recover()
    assert again.get(job).state == "waiting"
    assert (again.get(job).folder / "in" / "00001.png").read_bytes()[8:] == content
    again.close()
