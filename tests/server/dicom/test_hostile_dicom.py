"""Peers that stop, send garbage, announce too much or say nothing: dropped, and the next one is served."""

import gc
import random
import socket
import struct
import threading
import time

import pytest
from dicom_sender import association, echo, recorded, send, slices, talk

pytestmark = pytest.mark.seconds

SUCCESS = 0x0000


def settled(node, seconds=15):
    """No association is left: none waits for ever. The seconds that took."""
    begin = time.monotonic()
    while node.ae.active_associations or list(node.incoming.temporary.glob("*.dcm")):
        if time.monotonic() - begin > seconds:
            return None
        node.incoming.sweep(older_s=2)
        time.sleep(0.05)
    return time.monotonic() - begin


def serves(node):
    return settled(node) is not None and echo(node.port) == SUCCESS


@pytest.fixture
def pdus(dicom_node):
    """A node and the PDUs of a polite sender: request, command, data, release."""
    node = dicom_node(idle_s=1.0)
    found = recorded(node.port, slices(1))
    assert len(found) == 4
    return node, found


@pytest.mark.parametrize("sent", range(5), ids=["nothing", "request", "command", "half the data", "data"])
def test_a_sender_that_stops(pdus, sent):
    node, (request, command, data, _) = pdus
    half = data[: len(data) // 2]
    parts = [[], [request], [request, command], [request, command, half], [request, command, data]][sent]
    assert talk(node.port, parts) is not None
    assert serves(node)
    assert node.receiver.counts["stored"] + node.receiver.counts["repeated"] == 1 + (sent == 4)


def test_a_sender_that_stops_within_a_header(pdus):
    node, _ = pdus
    assert talk(node.port, [b"\x01\x00\x00"]) is not None
    assert serves(node)


@pytest.mark.parametrize("seed", range(4))
def test_garbage(pdus, seed):
    node, (request, *_) = pdus
    noise = random.Random(seed).randbytes(5000)
    assert (
        talk(node.port, [[noise], [b"GET / HTTP/1.1\r\n\r\n"], [request, noise], [b"\x04" * 999]][seed])
        is not None
    )
    assert serves(node)


@pytest.mark.parametrize("kind", [0x01, 0x04], ids=["request", "data"])
def test_two_gigabytes_are_announced(pdus, kind):
    """The connection ends at once, without waiting for what was announced."""
    node, (request, *_) = pdus
    begin = time.monotonic()
    header = struct.pack(">BBL", kind, 0, 2**31 - 1)
    assert talk(node.port, ([request] if kind == 4 else []) + [header, b"x" * 100]) is not None
    assert time.monotonic() - begin < 5
    assert serves(node)


def test_an_object_beyond_the_limit_ends_its_association_alone(dicom_node, caplog):
    node = dicom_node(instance_mb=0.5)
    good, large = slices(1)[0], slices(1, series="2")[0]
    large.Rows, large.Columns, large.PixelData = 1024, 1024, bytes(2 * 1024 * 1024)
    with association(node.port) as other:
        assert send(node.port, [good, large, good]) == [SUCCESS, None]
        assert other.send_c_store(good).Status == SUCCESS
    assert "an object of more than 0.5 MB" in caplog.text
    assert serves(node)
    assert len(list(node.incoming.folder.glob("*/*.dcm"))) == 1


def test_an_object_that_drips(dicom_node, caplog):
    """Each byte comes in time, the object doesn't."""
    node = dicom_node(idle_s=1.0, instance_s=0.5)
    request, command, data, _ = recorded(node.port, slices(1))
    fragments = [struct.pack(">BBLLBB", 4, 0, 7, 3, data[10], 0) + b"x" for _ in range(30)]
    assert talk(node.port, [request, command, *fragments], pause_s=0.1) is not None
    assert "an object that takes longer than 0.5 s" in caplog.text
    assert serves(node)


def test_objects_without_waiting_for_answers(pdus):
    node, (request, command, data, _) = pdus
    assert talk(node.port, [request, *[command, data] * 500]) is not None
    assert serves(node)
    assert len(list(node.incoming.folder.glob("*/*.dcm"))) == 1


def test_many_tiny_objects(dicom_node):
    node = dicom_node()
    assert send(node.port, slices(60)) == [SUCCESS] * 60
    assert len(list(node.incoming.folder.glob("*/*.dcm"))) == 60


def test_interleaved_studies_over_two_associations(dicom_node):
    node = dicom_node()
    with association(node.port) as one, association(node.port) as other:
        for first, second in zip(slices(5), slices(5, study="1.9.9"), strict=True):
            assert one.send_c_store(first).Status == other.send_c_store(second).Status == SUCCESS
            assert one.send_c_store(slices(5, study="1.9.9")[0]).Status == SUCCESS
    folders = [path for path in node.incoming.folder.iterdir() if path.name != ".tmp"]
    assert sorted(len(list(folder.glob("*.dcm"))) for folder in folders) == [5, 5]


def test_connections_that_say_nothing_keep_others_out_for_no_longer_than_idle_s(dicom_node):
    node = dicom_node(idle_s=1.0, associations=3)
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(12)]
    deadline, answer = time.monotonic() + 10, None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = echo(node.port)
        except AssertionError:  # there are too many
            time.sleep(0.1)
    assert answer == SUCCESS
    for connection in silent:
        connection.close()


def test_unknown_hosts_are_not_read_from(dicom_node, monkeypatch):
    node = dicom_node()
    monkeypatch.setattr(node.receiver, "config", node.receiver.config.model_copy(update={"known": ()}))
    assert talk(node.port, [b"\1" * 100]) == b""
    assert node.ae.active_associations == []


def test_no_thread_stays(pdus):
    node, (request, command, data, _) = pdus
    before = threading.active_count()
    for _ in range(2):
        talk(node.port, [request, command, data[:50]])
    assert settled(node) is not None
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
