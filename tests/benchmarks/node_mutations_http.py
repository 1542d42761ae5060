"""Damage HTTP requests to a running node at random, many times, and count what it answers.

    PYTHONPATH=tests python tests/benchmarks/node_mutations_http.py [COUNT] [SEED]

A node is started as a process of its own. Each request is a whole one that was damaged in one way, sent in
pieces of any size, and sometimes followed by the end of the connection. Each ends as

    2xx, 3xx, 4xx, 503   answered
    500                  an unforeseen error: must not happen
    closed               the connection was closed without an answer
    HANG                 neither within HANG_S seconds: must not happen

After each 50 the node must say that it is well. In the end it must be the same process, with as many open
files as before, no unfinished upload, and every job that it accepted must have ended.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from http_mutations import WAYS, damaged, send
from rest_node import TOKEN

TOGETHER = 50  # requests between two questions whether the node is well
CONFIG = """
home: home
timeout_s: 60
rest: {host: 127.0.0.1, port: 0, tokens_file: tokens.txt, limits: {body_mb: 1, upload_s: 3}}
"""


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
                    for way, content in damaged(min(TOGETHER, count - begin), choice)
                ]
                for way, ended in waiting:
                    table[way][ended.result()] += 1
                well[is_well(url)] += 1
        problems = after(node, process, url, Path(name), before)
    report(table, well, problems)
    return 1 if problems or well[False] or any(row["HANG"] or row["500"] for row in table.values()) else 0


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
