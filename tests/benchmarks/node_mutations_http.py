"""Damage HTTP requests to a running node at random, many times, and count what it answers.

    PYTHONPATH=tests python tests/benchmarks/node_mutations_http.py [COUNT] [SEED]

A node is started as a process of its own. Each request is a whole one that was damaged in one way, sent in
pieces of any size, and sometimes followed by the end of the connection. Each ends as

    2xx, 3xx, 4xx, 503   answered
    500                  an unforeseen error: must not happen
    closed               the connection was closed without an answer
    HANG                 neither within 45 s: must not happen

After each 50 the node must say that it is well. In the end it must be the same process, with as many open
files as before, no unfinished upload, and every job that it accepted must have ended.
"""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from rest_node import TOKEN, picture

TOGETHER = 50  # requests between two questions whether the node is well
HANG_S = 45.0
CONFIG = """
home: home
timeout_s: 60
rest: {host: 127.0.0.1, port: 0, tokens_file: tokens.txt, limits: {body_mb: 1, upload_s: 3}}
"""
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


def start(folder):
    """A node as a process, and its port."""
    (folder / "tokens.txt").write_text(f"anna:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    (folder / "tokens.txt").chmod(0o600)
    (folder / "node.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "medseg.cli", "serve", "--config", str(folder / "node.yaml")]
    with (folder / "log.txt").open("w") as log:
        node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = node.stdout.readline()
    return node, int(line.split("REST at http://127.0.0.1:")[1].split(";")[0])


def is_well(url):
    answer = httpx.get(f"{url}/healthz", timeout=30)
    return answer.json()["is_well"]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    choice = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    whole = requests()
    table = {way.__name__: Counter() for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        node, port = start(Path(name))
        url = f"http://127.0.0.1:{port}"
        process = psutil.Process(node.pid)
        before = process.num_fds(), process.memory_info().rss
        well = Counter()
        with ThreadPoolExecutor(16) as pool:
            for begin in range(0, count, TOGETHER):
                waiting = [
                    (way, pool.submit(send, port, content, random.Random(choice.random())))
                    for way, content in damaged(whole, min(TOGETHER, count - begin), choice)
                ]
                for way, ended in waiting:
                    table[way][ended.result()] += 1
                well[is_well(url)] += 1
        problems = after(node, process, url, Path(name), before)
    report(table, well, problems)
    return 1 if problems or well[False] or any(row["HANG"] or row["500"] for row in table.values()) else 0


def damaged(whole, count, choice):
    for _ in range(count):
        way = choice.choice(WAYS)
        content = bytearray(whole[choice.choice(sorted(whole))])
        way(content, choice)
        yield way.__name__, bytes(content)


def after(node, process, url, folder, before):
    """What is wrong with the node in the end."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    end = time.monotonic() + 120
    while time.monotonic() < end:
        jobs = httpx.get(f"{url}/jobs?limit=1000", headers=headers, timeout=30).json()
        open_jobs = [job for job in jobs if job["state"] in ("received", "waiting", "running")]
        left = list((folder / "home" / "uploads").glob("*"))
        if not open_jobs and not left and process.num_fds() <= before[0] + 4:
            break
        time.sleep(0.5)
    found = [f"{len(open_jobs)} jobs that did not end"] * bool(open_jobs)
    found += [f"{len(left)} uploads left"] * bool(left)
    found += [f"{process.num_fds()} open files, {before[0]} before"] * (process.num_fds() > before[0] + 4)
    found += ["the process ended"] * (node.poll() is not None)
    states = Counter(job["state"] for job in jobs)
    grown = (process.memory_info().rss - before[1]) / 1e6
    files = f"files {before[0]} -> {process.num_fds()}"
    print(f"jobs accepted: {len(jobs)} {dict(states)}; memory {grown:+.0f} MB; {files}")
    log = (folder / "log.txt").read_text()
    found += ["a traceback in the log"] * ("Traceback" in log)
    node.terminate()
    if node.wait(timeout=30) != 0:
        found.append("it did not stop well")
    return found


def report(table, well, problems):
    columns = sorted({key for row in table.values() for key in row} | {"HANG", "500"})
    print(f"{'damage':12}" + "".join(f"{name:>8}" for name in columns) + f"{'all':>8}")
    for way, row in table.items():
        print(f"{way:12}" + "".join(f"{row[name]:8}" for name in columns) + f"{row.total():8}")
    total = sum(table.values(), Counter())
    print(f"{'all':12}" + "".join(f"{total[name]:8}" for name in columns) + f"{total.total():8}")
    print(f"well {well[True]} of {well.total()} times; {'; '.join(problems) or 'nothing else is wrong'}")


if __name__ == "__main__":
    sys.exit(main())
