"""Studies from Orthanc to a node and back, with kills of the node at random moments: what is lost or doubled.

    PYTHONPATH=tests python tests/benchmarks/node_fifty.py [--studies 50] [--kills 20] [--timed 5] [--by web]

First some studies are sent one by one, and timed from the moment at which Orthanc has sent the last slice to
the moment at which it has the SEG; the same studies by `medseg segment`, a new process for each, stand
beside. Then the rest is sent in a row while the node is killed (SIGKILL) and started again. Orthanc sends a
study again until the node has confirmed all of it, as an archive does. In the end each study must have one
SEG, one RTSTRUCT and one SR in Orthanc.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from pathlib import Path

from node_process import NodeProcess, settings
from orthanc_server import OrthancServer

from medseg.phantoms import Chest, Scan, chest
from medseg.phantoms.dicom_series import make_series, save

FORMATS = ["dicom-seg", "rtstruct", "dicom-sr"]
MODALITIES = ("SEG", "RTSTRUCT", "SR")


def main() -> int:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder, OrthancServer() as orthanc:
        port = free_port()
        orthanc.know("MEDSEG", port)
        node = NodeProcess(Path(folder, "node"), configuration(orthanc, port, options.by))
        studies = [*made_studies(orthanc, Path(folder), options.studies)]
        with node:
            print(f"{len(studies)} studies of {len(studies[0][2])} slices; results by {options.by}")
            warm_up(orthanc, node, studies[0])
            timed(orthanc, studies[1 : 1 + options.timed])
            kills = run_with_kills(orthanc, node, studies, options)
            wait_for_end(node, len(studies))
            report(orthanc, node, studies, kills)
            print(f"exit code after SIGTERM: {node.stop()}")
            return int(bool(unequal(orthanc, studies)) or "Traceback" in node.printed)


def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--timed", type=int, default=5)
    parser.add_argument("--by", choices=("web", "pacs"), default="web")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def configuration(orthanc, port, by):
    archives = {
        "web": {"kind": "dicomweb", "url": orthanc.dicomweb_url},
        "pacs": {"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port},
    }
    dicom = {"port": port, "quiet_s": 1.0}
    return settings(archives, rule={"formats": FORMATS, "send_to": by}, dicom=dicom)


def made_studies(orthanc, folder, count):
    """StudyInstanceUID, Orthanc's name and files of each study; all are in Orthanc."""
    scan = Scan((80, 64, 60), spacing_mm=(4.7, 4.7, 6.4), thickness_mm=6.4, centre_mm=(0, -12, -75))
    phantom = chest(Chest(seed=8, disease={}, position="supine", scan=scan))
    for number in range(count):
        series = make_series(phantom, seed=1000 + number)
        files = save(series, folder / f"study{number:03}")
        for file in files:
            answer = post(orthanc, "/instances", file.read_bytes())
        yield str(series[0].StudyInstanceUID), answer["ParentStudy"], files


def post(orthanc, path, content):
    import urllib.request

    request = urllib.request.Request(f"{orthanc.rest_url}{path}", content, method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def send_until_confirmed(orthanc, name):
    """Let Orthanc send a study to the node; how often it had to."""
    order = {"Resources": [name], "Synchronous": True, "Timeout": 60}
    for attempt in range(1, 100):
        try:
            orthanc.rest("/modalities/MEDSEG/store", order)
        except (urllib.error.HTTPError, OSError):
            time.sleep(0.5)
        else:
            return attempt
    raise RuntimeError("the node did not take a study")


def found(orthanc, study, modality):
    query = {"StudyInstanceUID": study, "Modality": modality}
    return orthanc.rest("/tools/find", {"Level": "Instance", "Query": query})


def warm_up(orthanc, node, study):
    begin = time.monotonic()
    send_until_confirmed(orthanc, study[1])
    wait_for_seg(orthanc, study[0])
    print(f"first study, with the start of the worker: {time.monotonic() - begin:.1f} s")


def timed(orthanc, studies):
    warm, cold = [], []
    for study, name, files in studies:
        send_until_confirmed(orthanc, name)
        begin = time.monotonic()
        wait_for_seg(orthanc, study)
        warm.append(time.monotonic() - begin)
        begin = time.monotonic()
        command = [sys.executable, "-m", "medseg.cli", "segment", "lung_ct", str(files[0].parent)]
        more = ["-o", str(files[0].parent.parent / "cold"), "--formats", ",".join(FORMATS)]
        subprocess.run([*command, *more], check=True, capture_output=True)
        cold.append(time.monotonic() - begin)
    if warm:
        print(f"from the last slice to the SEG in Orthanc, warm: {line(warm)} (with a quiet_s of 1 s)")
        print(f"medseg segment of the same, a process each: {line(cold)} (without sending)")


def line(seconds):
    low, high = min(seconds), max(seconds)
    return f"median {statistics.median(seconds):.1f} s ({low:.1f} to {high:.1f}, n = {len(seconds)})"


def wait_for_seg(orthanc, study, seconds=300):
    deadline = time.monotonic() + seconds
    while not found(orthanc, study, "SEG"):
        if time.monotonic() > deadline:
            raise TimeoutError("no SEG")
        time.sleep(0.02)


def run_with_kills(orthanc, node, studies, options):
    """Send all that was not sent, the node being killed meanwhile; the kills by what the node was doing."""
    rng, kills, stop = random.Random(options.seed), [], threading.Event()

    def killer():
        while len(kills) < options.kills and not stop.wait(rng.uniform(0.5, 8)):
            states = {job.state for job in node.jobs()} - {"done"}
            node.kill()
            kills.append(", ".join(sorted(states)) or "nothing, or receiving")
            node.start()

    thread = threading.Thread(target=killer)
    thread.start()
    begin = time.monotonic()
    try:
        attempts = [send_until_confirmed(orthanc, name) for _, name, _ in studies[1 + options.timed :]]
        deadline = time.monotonic() + 1800
        while thread.is_alive() and time.monotonic() < deadline:  # kills while it works off the queue
            time.sleep(0.2)
    finally:
        stop.set()
        thread.join()
    took = time.monotonic() - begin
    print(f"{len(attempts)} studies sent in {took:.0f} s, {sum(attempts)} attempts of Orthanc")
    return kills


def wait_for_end(node, count):
    node.wait_for(lambda jobs: len(jobs) >= count and all(job.finished for job in jobs), seconds=3600)


def unequal(orthanc, studies):
    """Counts of results that are not one."""
    counts = [
        (study, modality, len(found(orthanc, study, modality)))
        for study, _, _ in studies
        for modality in MODALITIES
    ]
    return [count for _, _, count in counts if count != 1]


def report(orthanc, node, studies, kills):
    bad = unequal(orthanc, studies)
    jobs = node.jobs()
    states = {state: sum(job.state == state for job in jobs) for state in {job.state for job in jobs}}
    doing = {each: kills.count(each) for each in sorted(set(kills))}
    print(f"{len(kills)} kills, while the queue had: {doing}")
    print(f"jobs: {states}")
    for job in jobs:
        if job.state != "done":
            print(f"  {job.state}: {job.reason}")
    double = sum(count > 1 for count in bad)
    print(f"results in Orthanc: {len(studies) * 3} expected, lost {bad.count(0)}, double {double}")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
