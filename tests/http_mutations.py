"""Whole HTTP requests to a node, damaged at random in one way each, and sent over a socket."""

import socket
import time

from rest_node import TOKEN, picture

HANG_S = 45.0
HEAD = f"Host: node\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
DICOM = bytes(128) + b"DICM" + bytes(300)


def requests():
    """Whole requests of each kind by name; the service accepts all of them."""
    png = picture(size=24)
    parts = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + DICOM + b"\r\n" for _ in range(3))
    form = b'--cut\r\nContent-Disposition: form-data; name="task"\r\n\r\nlung_ct\r\n--cut\r\n'
    form += b'Content-Disposition: form-data; name="f"; filename="a.dcm"\r\n\r\n' + DICOM + b"\r\n--cut--\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (png[:100], png[100:])) + b"0\r\n\r\n"
    return {
        "raw": post(b"image/png", png, b"retinal_vessel"),
        "form": post(b"multipart/form-data; boundary=cut", form),
        "related": post(b"multipart/related; boundary=cut", parts + b"--cut--\r\n", b"lung_ct"),
        "chunked": b"POST /jobs?task=retinal_vessel HTTP/1.1\r\n" + HEAD
        + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        "list": b"GET /jobs?state=waiting&limit=5 HTTP/1.1\r\n" + HEAD + b"\r\n",
        "result": b"GET /jobs/%s/results/report.html HTTP/1.1\r\n" % (b"0" * 32) + HEAD + b"\r\n",
        "cancel": b"DELETE /jobs/%s HTTP/1.1\r\n" % (b"0" * 32) + HEAD + b"\r\n",
        "login": b"POST /login HTTP/1.1\r\nHost: node\r\nContent-Length: 6\r\n\r\ntoken=",
    }  # fmt: skip


def post(kind, body, task=None):
    query = b"?task=" + task if task else b""
    head = b"POST /jobs" + query + b" HTTP/1.1\r\n" + HEAD + b"Content-Type: " + kind
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def flip(content, choice):
    """Bytes anywhere become others."""
    for _ in range(choice.choice([1, 2, 8])):
        content[choice.randrange(len(content))] = choice.randrange(256)


def flip_head(content, choice):
    """Bytes of the head become others."""
    end = bytes(content).find(b"\r\n\r\n") + 4
    for _ in range(choice.choice([1, 2, 4])):
        content[choice.randrange(end)] = choice.randrange(256)


def cut(content, choice):
    """It ends early."""
    del content[choice.randrange(1, len(content)) :]


def leave_out(content, choice):
    """A stretch is missing."""
    start = choice.randrange(len(content))
    del content[start : start + choice.choice([1, 2, 10, 60])]


def insert(content, choice):
    """Bytes that mean something to a parser stand where they should not."""
    words = [
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"--cut\r\n",
        b"--cut--",
        b"%00",
        b"../",
        b"\xff\xfe",
        b";",
        b'"',
        b"0\r\n",
    ]
    at = choice.randrange(len(content))
    content[at:at] = choice.choice(words) * choice.choice([1, 1, 3, 2000])


def twice(content, choice):
    """A line stands there twice, or a hundred times."""
    lines = bytes(content).split(b"\r\n")
    at = choice.randrange(len(lines))
    lines[at:at] = [lines[at]] * choice.choice([1, 1, 100])
    content[:] = b"\r\n".join(lines)


def number(content, choice):
    """A number in the head is another one."""
    places = [at for at in range(bytes(content).find(b"\r\n\r\n")) if chr(content[at]).isdigit()]
    values = [b"-1", b"0", b"1", b"99999999999999999999", b"1e9", b"0x10", b"", b" 7", b"\xb2"]
    at = choice.choice(places)
    content[at : at + 1] = choice.choice(values)


def noise(content, choice):
    """No HTTP at all."""
    content[:] = choice.randbytes(choice.choice([1, 100, 5000]))


def together(content, choice):
    """Two on one connection, the first damaged."""
    whole = bytes(content)
    choice.choice([flip_head, cut, leave_out, number])(content, choice)
    content += whole


WAYS = (flip, flip_head, cut, leave_out, insert, twice, number, noise, together)


def send(port, content, choice):
    """Send it in pieces; how it ended."""
    begin = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as wire:
            at = 0
            while at < len(content):
                size = choice.choice([1, 50, 1000, 100_000])
                wire.sendall(content[at : at + size])
                at += size
            if choice.random() < 0.7:
                wire.shutdown(socket.SHUT_WR)
            return ending(wire.recv(12))
    except TimeoutError:
        return "HANG" if time.monotonic() - begin >= HANG_S - 1 else "closed"
    except OSError:
        return "closed"


def ending(status):
    code = status[9:12].decode("latin-1")
    return "closed" if not status else code if code in ("500", "503") else f"{code[:1]}xx"


def damaged(count, choice):
    """So many requests: the name of the damage, and the bytes."""
    whole = requests()
    for _ in range(count):
        way = choice.choice(WAYS)
        content = bytearray(whole[choice.choice(sorted(whole))])
        way(content, choice)
        yield way.__name__, bytes(content)
