"""Hostile or broken clients over a socket: the service refuses them, stays well and keeps nothing."""

import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_mutations import damaged, send
from rest_node import TOKEN, client_of, listening, picture, rest_node, wait_for

from medseg.server.rest import http, page, uploads

HOST = b"Host: node\r\n"
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()
POST = b"POST /jobs?task=retinal_vessel HTTP/1.1\r\n" + HOST + AUTH + b"Content-Type: image/png\r\n"


@pytest.fixture
def node(tmp_path):
    return rest_node(tmp_path, upload_s=1.0)


@pytest.fixture
def service(node, monkeypatch):
    monkeypatch.setattr(http, "HEAD_S", 0.6)
    with listening(node) as found:
        yield found


def connect(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def answer_to(service, *pieces):
    """What comes back until the service closes the connection, or 10 s."""
    with connect(service) as wire:
        for piece in pieces:
            wire.sendall(piece)
        return all_of(wire)


def all_of(wire):
    found = b""
    try:
        while piece := wire.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def is_well(service):
    with client_of(service) as client:
        return client.get("/healthz").json()["is_well"]


def is_clean(node):
    return not list((node.queue.home / "uploads").glob("*"))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/one\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /jobs HTTP/1.1\r\n" + AUTH + b"\r\n", 400),
        (b"GET /jobs HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET /jobs HTTP/1.1\r\n" + HOST + AUTH + b"X: y\r\n" * 4000 + b"\r\n", 431),
        (b"FETCH /jobs HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n", 405),
        (b"GET /jobs/../../etc/passwd HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n", 404),
        (b"GET //jobs HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n", 404),
        (b"GET http://elsewhere/jobs HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n", 404),
        (b"GET /healthz/../jobs HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 401),
        (b"GET /jobs?limit=5%00 HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n", 422),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", 400),
        (POST + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n", 413),
        (b"GET /jobs HTTP/1.1\r\n" + HOST + AUTH + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", 200),
    ],
    ids=[
        *(
            "version",
            "tls",
            "no_host",
            "long_header",
            "long_path",
            "many_headers",
            "method",
            "dots",
            "slashes",
        ),
        *("absolute", "around_the_token", "nul", "negative", "two_lengths", "encoding", "chunks", "huge"),
        "websocket",
    ],
)
def test_requests_that_are_refused(service, node, request_bytes, status):
    found = answer_to(service, request_bytes)
    assert found.startswith(b"HTTP/1.1 %d " % status), found[:200]
    assert b"Traceback" not in found
    assert is_well(service)
    wait_for(lambda: is_clean(node))
    assert node.queue.jobs() == []


def test_a_body_that_stops(service, node):
    """A client that goes away in the middle leaves nothing."""
    with connect(service) as wire:
        wire.sendall(POST + b"Content-Length: 5000\r\n\r\n" + picture()[:1000])
        wait_for(lambda: not is_clean(node))
    wait_for(lambda: is_clean(node))
    with connect(service) as wire:
        wire.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + picture()[:100])
    wait_for(lambda: is_clean(node))
    assert node.queue.jobs() == []
    assert is_well(service)


def test_slow_clients_are_let_go(service, node, monkeypatch):
    """Heads and bodies that trickle, and connections that say nothing, while others are served."""
    monkeypatch.setattr(uploads, "IDLE_S", 0.5)
    silent, head, body = (connect(service) for _ in range(3))
    stop = threading.Event()

    def trickle():
        for byte in b"GET /jobs HTTP/1.1\r\nX: " + b"a" * 10_000:
            if stop.wait(0.05):
                return
            try:
                head.sendall(bytes([byte]))
                body.sendall(b"a")
            except OSError:
                return

    body.sendall(POST + b"Content-Length: 50000\r\n\r\n" + picture()[:200])
    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with client_of(service) as client:
            for number in range(5):
                posted = client.post(
                    "/jobs?task=retinal_vessel",
                    content=picture(number),
                    headers={"content-type": "image/png"},
                )
                assert posted.status_code == 202
        assert all_of(silent) == b""
        assert all_of(head) == b""
        assert all_of(body).startswith(b"HTTP/1.1 408 ")
    finally:
        stop.set()
        thread.join()
        for wire in (silent, head, body):
            wire.close()
    wait_for(lambda: is_clean(node))


def test_a_form_that_stops_is_let_go(service, monkeypatch):
    """Without a token anyone may send one."""
    monkeypatch.setattr(page, "FORM_S", 0.3)
    with connect(service) as wire:
        wire.sendall(b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 20\r\n\r\ntoken=")
        assert all_of(wire).startswith(b"HTTP/1.1 408 ")


def test_a_refused_body_is_not_waited_for(service):
    """Without a token: the answer comes at once, and who sends on is cut off."""
    with connect(service) as wire:
        wire.sendall(POST.replace(TOKEN.encode(), b"wrong") + b"Content-Length: 10000000\r\n\r\nabc")
        assert wire.recv(100).startswith(b"HTTP/1.1 401 ")
        all_of(wire)


def test_a_client_that_does_not_read_is_let_go(service, node, monkeypatch):
    """The answer is larger than what the network holds."""
    monkeypatch.setattr(http, "STALL_S", 0.5)
    with client_of(service) as client:
        params, headers = {"task": "retinal_vessel"}, {"content-type": "image/png"}
        job = client.post("/jobs", params=params, content=picture(), headers=headers).json()["id"]
    node.finish(job, files=["large" * 10])
    large = next((node.queue.home / "jobs" / job / "out" / "case").iterdir())
    large.write_bytes(bytes(30_000_000))
    with connect(service) as wire:
        path = f"/jobs/{job}/results/{large.name}".encode()
        wire.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + AUTH + b"\r\n")
        connections = service.server._server.server_state.connections
        wait_for(lambda: len(connections) == 1)
        wait_for(lambda: not connections)
        assert 0 < len(all_of(wire)) < 30_000_000
    assert is_well(service)


def test_two_requests_at_once_on_a_wire(service):
    get = b"GET /jobs HTTP/1.1\r\n" + HOST + AUTH
    found = answer_to(service, get + b"\r\n" + get + b"Connection: close\r\n\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.seconds
def test_many_at_once(service, node):
    """200 requests, 40 at a time: uploads, wrong tokens, rubbish and questions; none is lost, none hangs."""
    begin = threading.Barrier(40)

    def ask(number):
        token = "wrong" if number % 4 == 3 else TOKEN
        with client_of(service, token) as client:
            if number < 160:
                begin.wait()
            if number % 4 == 0:
                return client.get("/jobs?limit=5").status_code
            content = b"rubbish" * 99 if number % 4 == 1 else picture(number)
            headers = {"content-type": "image/png"}
            return client.post("/jobs?task=retinal_vessel", content=content, headers=headers).status_code

    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(ask, range(200)))
    assert [found.count(status) for status in (200, 415, 202, 401)] == [50, 50, 50, 50]
    assert node.queue.counts()["waiting"] == 50
    assert len(node.added) == 50
    assert is_well(service)
    assert is_clean(node)


def test_more_connections_than_are_served(service, node):
    """Beyond the limit the answer is 503, and the service is well when they have gone."""
    wires = []
    try:
        service.server._server.config.limit_concurrency = 20
        wires = [connect(service) for _ in range(30)]
        wires[-1].sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert wires[-1].recv(100).startswith(b"HTTP/1.1 503 ")
    finally:
        for wire in wires:
            wire.close()
    wait_for(lambda: is_well_or_busy(service))


def is_well_or_busy(service):
    try:
        return is_well(service)
    except (json.JSONDecodeError, OSError):
        return False


@pytest.mark.seconds
def test_damaged_requests(service, node):
    """A few of those of tests/benchmarks/node_mutations_http.py."""
    choice = random.Random(4)
    with ThreadPoolExecutor(8) as pool:
        waiting = [
            pool.submit(send, service.port, content, random.Random(choice.random()))
            for _, content in damaged(80, choice)
        ]
        found = {ended.result() for ended in waiting}
    assert found <= {"2xx", "3xx", "4xx", "closed"}
    assert {"4xx", "closed"} <= found
    assert is_well(service)
    wait_for(lambda: is_clean(node))
