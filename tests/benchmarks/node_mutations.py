"""Damage the bytes of DICOM associations to a running node, many times, and count what became of them.

    PYTHONPATH=tests python tests/benchmarks/node_mutations.py [COUNT] [SEED]

A node is started as a process of its own. What a polite sender sends (request, command, data, release) is
recorded and then sent with one damage: bits, lengths, order, parts left out, doubled, cut, noise. After each
25 a C-ECHO must be answered. In the end the node must be the same process, and every object that it answered
by success must be in a job or be received again.
"""

from __future__ import annotations

import random
import struct
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from dicom_sender import echo, recorded, slices, talk
from node_process import NodeProcess, settings

TOGETHER = 25  # between two C-ECHOs
HANG_S = 30


def flip_bits(parts, rng):
    at = rng.randrange(len(parts))
    changed = bytearray(parts[at])
    for _ in range(rng.choice((1, 1, 4, 40))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return [*parts[:at], bytes(changed), *parts[at + 1 :]]


def wrong_length(parts, rng):
    at = rng.randrange(len(parts))
    length = rng.choice((0, 1, 7, 2**16, 2**20, 2**31 - 1, 2**32 - 1))
    changed = parts[at][:2] + struct.pack(">L", length) + parts[at][6:]
    return [*parts[:at], changed, *parts[at + 1 :]]


def wrong_item_length(parts, rng):
    at = rng.randrange(min(3, len(parts)))
    changed = bytearray(parts[at])
    place = rng.randrange(6, len(changed) - 4)
    changed[place : place + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\1"))
    return [*parts[:at], bytes(changed), *parts[at + 1 :]]


def shuffled(parts, rng):
    return rng.sample(parts, len(parts))


def left_out(parts, rng):
    at = rng.randrange(len(parts))
    return [*parts[:at], *parts[at + 1 :]]


def doubled(parts, rng):
    at = rng.randrange(len(parts))
    return [*parts[: at + 1], *[parts[at]] * rng.choice((1, 3, 50)), *parts[at + 1 :]]


def cut(parts, rng):
    at = rng.randrange(len(parts))
    return [*parts[:at], parts[at][: rng.randrange(len(parts[at]))]]


def noise(parts, rng):
    at = rng.randrange(len(parts) + 1)
    return [*parts[:at], rng.randbytes(rng.choice((1, 6, 100, 5000))), *parts[at:]]


def other_kind(parts, rng):
    at = rng.randrange(len(parts))
    return [*parts[:at], bytes([rng.randrange(256)]) + parts[at][1:], *parts[at + 1 :]]


WAYS = (flip_bits, wrong_length, wrong_item_length, shuffled, left_out, doubled, cut, noise, other_kind)


def attack(port, parts, way, seed):
    """What became of one damaged association."""
    begin = time.monotonic()
    answer = talk(port, way(parts, random.Random(seed)), seconds=HANG_S)
    if answer is None:
        return "HANG", time.monotonic() - begin
    kinds = {1: "request", 2: "accepted", 3: "rejected", 5: "released", 6: "released", 7: "aborted"}
    last = ["closed", *(kinds.get(kind, "answered") for kind in _kinds(answer))][-1]
    return last, time.monotonic() - begin


def _kinds(answer):
    """The kinds of the PDUs of an answer."""
    while len(answer) >= 6:
        yield answer[0]
        answer = answer[6 + struct.unpack(">L", answer[2:6])[0] :]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    content = settings(limits={"idle_s": 2.0, "associations": 20}, dicom={"quiet_s": 2.0})
    with tempfile.TemporaryDirectory() as folder, NodeProcess(Path(folder), content) as node:
        parts = recorded(node.dicom_port, slices(1))
        process, ends, ways, longest = psutil.Process(node.process.pid), Counter(), Counter(), 0.0
        before = process.num_fds(), process.memory_info().rss
        done, failed = 0, 0
        with ThreadPoolExecutor(4) as pool:
            while done < count:
                jobs = []
                for number in range(done, min(done + TOGETHER, count)):
                    way = random.Random(seed * 10**6 + number).choice(WAYS)
                    ways[way.__name__] += 1
                    jobs.append(pool.submit(attack, node.dicom_port, parts, way, seed * 10**6 + number))
                for job in jobs:
                    end, seconds = job.result()
                    ends[end], longest = ends[end] + 1, max(longest, seconds)
                done += len(jobs)
                failed += answers_echo(node.dicom_port) != 0
        jobs = node.wait_for(lambda jobs: all(job.state in ("done", "set_aside") for job in jobs))
        alive = node.process.poll() is None
        after = process.num_fds(), process.memory_info().rss
        print(f"{count} damaged associations, by damage: {dict(sorted(ways.items()))}")
        print(f"ended as: {dict(sorted(ends.items()))}; the longest took {longest:.1f} s")
        print(
            f"C-ECHO after each {TOGETHER}: {failed} not answered; the node is {'alive' if alive else 'DEAD'}"
        )
        print(f"open files {before[0]} -> {after[0]}, memory {before[1] >> 20} -> {after[1] >> 20} MiB")
        print(f"jobs: {dict(Counter(job.state for job in jobs))}; exit code {node.stop()}")
        tracebacks = node.printed.count("Traceback")
        print(f"tracebacks in the log: {tracebacks}")
        return int(bool(failed or not alive or ends["HANG"] or tracebacks))


def answers_echo(port):
    """The status of a C-ECHO, tried for as long as dropped associations may take their places."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return echo(port)
        except AssertionError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
