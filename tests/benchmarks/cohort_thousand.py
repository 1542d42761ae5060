"""A thousand cases, broken files among them, under kills and on a full disk: is each accounted for?

    python tests/benchmarks/cohort_thousand.py [--cases 1000] [--kills 10] [--workers 2] [--engine local|ray]
                                               [--checked 100] [--timed 60] [--folder DIR]

Nine of ten cases are ultrasound pictures of phantoms, the others chest volumes of phantoms; 5% are broken in
ten ways. The pictures are segmented into a small file system that fills up (a tmpfs; where none may be
mounted, that is left out), by a runner that is killed once, whose workers are killed at random moments; then
the same command goes on with --resume. Afterwards each case must be in the ledger with an end, and the masks
of --checked cases must be those of a Segmenter in this process, bit for bit.

Then, undisturbed, --timed pictures with one and two workers, and a loop of `medseg segment` over six of them;
and the memory of all processes from second to second: medians of the first and last third.

--engine ray starts a cluster of two nodes of one processor each. One of the kills is that of a node, which is
replaced; the others are those of actors.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psutil
from cohort_cases import make_pictures, make_scans, write_picture

from medseg import Segmenter
from medseg.cohort.ledger import Ledger
from medseg.console import table
from medseg.io import read_mask

PICTURES, SCANS = "breast_ultrasound", "lung_ct"
_LOOPED = 6


def main() -> None:
    options = _options()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name, _cluster(options.engine) as cluster:
        root = Path(name)
        pictures, scans = options.cases * 9 // 10, options.cases // 10
        broken = make_pictures(root / "pictures", pictures), make_scans(root / "scans", scans)
        print(f"made {pictures} pictures and {scans} scans, {sum(map(len, broken))} of them broken")
        with _small_disk(root / "disk") as disk:
            run = Run(PICTURES, root / "pictures" / "cases.csv", root / "disk" / "out", options, cluster)
            run.through_everything(disk, pictures)
        report(run, broken[0], options.checked)
        run = Run(SCANS, root / "scans" / "cases.csv", root / "out_scans", options, cluster)
        run.to_the_end("undisturbed")
        report(run, broken[1], max(1, options.checked // 10))
        if options.timed and options.engine == "local":
            measure(root, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--checked", type=int, default=100)
    parser.add_argument("--timed", type=int, default=60)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--folder")
    return parser.parse_args()


# A run and what disturbs it


class Run:
    """One cohort: its command, and what is seen while it runs."""

    def __init__(self, task: str, cases: Path, out: Path, options: argparse.Namespace, cluster) -> None:
        self.task, self.cases, self.out, self.options, self.cluster = task, cases, out, options, cluster
        self.said = cases.with_name("said.txt")
        self.killed = 0
        self.moments: list[int] = []

    def command(self) -> list[str]:
        words = [
            sys.executable,
            "-m",
            "medseg.cli",
            "cohort",
            self.task,
            str(self.cases),
            "-o",
            str(self.out),
        ]
        how = ["--engine", self.options.engine, "--workers", str(self.options.workers)]
        return [*words, *how, "--device", "cpu", "--resume"]

    def through_everything(self, disk: Callable[[int], None] | None, count: int) -> None:
        """Worker kills all along; the runner killed after 40% of the cases, the disk full after about 70%."""
        self.moments = sorted(random.sample(range(2, max(4, int(count * 0.9))), self.options.kills))
        self.go("killed runner", until=int(count * 0.4))
        if disk is not None:
            disk(self._size_of_a_case() * int(count * 0.7) + (1 << 18))
            code, said = self.go("full disk")
            assert code == 1, (code, said[-2000:])
            assert "No space left on device" in said or "disk is full" in said, said[-2000:]
            disk(0)
        self.to_the_end("resumed")

    def to_the_end(self, name: str) -> None:
        code, said = self.go(name)
        assert code in (0, 4), (code, said[-2000:])

    def go(self, name: str, until: int | None = None) -> tuple[int, str]:
        """Start the command, kill workers at their moments, and the runner when so many cases are done."""
        start = time.monotonic()
        with self.said.open("w+") as said:
            runner = subprocess.Popen(self.command(), stdout=said, stderr=said)
            while runner.poll() is None:
                done = done_in(self.out)
                if until is not None and done >= until:
                    runner.kill()
                while self.killed < len(self.moments) and done >= self.moments[self.killed]:
                    if not self._kill_a_worker(runner.pid):
                        break
                    self.killed += 1
                time.sleep(0.05)
            said.seek(0)
            text = said.read()
        print(f"  {self.task}, {name}: exit code {runner.returncode}, {done_in(self.out)} done, ", end="")
        print(f"{self.killed} workers killed, {time.monotonic() - start:.0f} s")
        return runner.returncode, text

    def _kill_a_worker(self, runner: int) -> bool:
        if self.cluster is not None and self.killed == len(self.moments) // 2:
            self.cluster()
            return True
        found = workers_of(runner, self.options.engine)
        if found:
            os.kill(random.choice(found).pid, signal.SIGKILL)
        return bool(found)

    def _size_of_a_case(self) -> int:
        sizes = [
            sum(f.stat().st_size for f in case.iterdir()) for case in self.out.iterdir() if case.is_dir()
        ]
        return int(statistics.mean(sizes)) + 8192


def workers_of(runner: int, engine: str) -> list[psutil.Process]:
    """The processes that segment: children of the fork server, or actors of the cluster."""
    if engine == "ray":
        return [process for process in psutil.process_iter() if _named(process, "ray::Actor")]
    try:
        servers = [p for p in psutil.Process(runner).children() if _named(p, "multiprocessing.forkserver")]
        return [worker for server in servers for worker in server.children()]
    except psutil.Error:
        return []


def _named(process: psutil.Process, text: str) -> bool:
    try:
        return text in " ".join(process.cmdline())
    except psutil.Error:
        return False


def done_in(out: Path) -> int:
    """How many cases are done; a count of folders, which disturbs no ledger."""
    try:
        return sum(1 for entry in os.scandir(out) if entry.is_dir() and entry.name[0] != ".")
    except OSError:
        return 0


@contextmanager
def _small_disk(folder: Path) -> Iterator[Callable[[int], None] | None]:
    """A tmpfs, and a function that sets its size in bytes, 0 for enough; None where none may be mounted."""
    folder.mkdir()

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size or 1 << 32}", folder], check=True)

    if subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=False).returncode:
        print("no file system of our own: no full disk")
        yield None
        return
    try:
        yield resize
    finally:
        kept = folder.with_name("kept")
        shutil.copytree(folder, kept)
        while subprocess.run(["umount", folder], check=False).returncode:
            time.sleep(1)
        shutil.copytree(kept, folder, dirs_exist_ok=True)


@contextmanager
def _cluster(engine: str) -> Iterator[Callable[[], None] | None]:
    """With Ray: two nodes; a function that kills one of them and adds another. RAY_ADDRESS names them."""
    if engine != "ray":
        yield None
        return
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=node)
    nodes = [found.add_node(**node)]
    found.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = found.address

    def kill() -> None:
        found.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(found.add_node(**node))

    try:
        yield kill
    finally:
        found.shutdown()


# What came of it


def report(run: Run, broken: dict[str, str], checked: int) -> None:
    with closing(Ledger(run.out / "cohort.sqlite")) as ledger:
        rows, counts = ledger.cases(), ledger.counts()
    listed = [row["case"] for row in csv.DictReader(run.cases.open())]
    assert sorted(row.case for row in rows) == sorted(listed), "cases are missing in the ledger"
    assert counts["pending"] + counts["running"] == 0, counts
    sound = [row for row in rows if row.case not in broken]
    lost = [(row.case, row.state, row.kind, row.text) for row in sound if row.state != "done"]
    with (run.out / "cohort.csv").open() as file:
        assert {row["case"]: row["state"] for row in csv.DictReader(file)} == {r.case: r.state for r in rows}
    assert not list(run.out.glob(".medseg-*")), "leftovers"
    same, of = compare(run, [row for row in rows if row.state == "done"], checked)
    told = {name: count for name, count in counts.items() if count}
    print(
        f"{run.task}: {len(rows)} cases in the ledger, {told}; of the sound ones not done: {lost or 'none'}"
    )
    crashes, again = sum(row.crashes for row in rows), sum(row.attempts > 1 for row in rows)
    print(f"  crashes in the ledger: {crashes}; cases that were tried again: {again}")
    print(f"  masks equal to one by one, bit for bit: {same} of {of}")
    by_way = Counter((broken[r.case], r.state, r.kind or r.verdict) for r in rows if r.case in broken)
    print(
        table([(*key, str(count)) for key, count in sorted(by_way.items())], ("broken", "state", "kind", "n"))
    )


def compare(run: Run, rows: Sequence, checked: int) -> tuple[int, int]:
    import torch

    torch.set_num_threads(1)
    segmenter = Segmenter(run.task, "cpu")
    chosen = random.sample(list(rows), min(checked, len(rows)))
    same = 0
    for row in chosen:
        alone = segmenter(Path(row.source[0])).mask
        name = "segmentation.png" if alone.affine is None else "segmentation.nii.gz"
        same += np.array_equal(read_mask(run.out / row.case / name, alone.labels).array, alone.array)
    return same, len(chosen)


# Undisturbed: speed and memory


def measure(root: Path, options: argparse.Namespace) -> None:
    folder = root / "timed"
    folder.mkdir()
    paths = [folder / f"t{number:04}.png" for number in range(options.timed)]
    for number, path in enumerate(paths):
        write_picture(path, number)
    rows = []
    for workers in (1, 2):
        command = [sys.executable, "-m", "medseg.cli", "cohort", PICTURES, str(folder), "--device", "cpu"]
        command += ["-o", str(root / f"timed_{workers}"), "--workers", str(workers)]
        seconds, memory = timed(command)
        rows.append((f"cohort, {workers} worker(s)", len(paths), seconds, memory))
    seconds = 0.0
    for path in paths[:_LOOPED]:
        one = [sys.executable, "-m", "medseg.cli", "segment", PICTURES, str(path), "--device", "cpu"]
        seconds += timed([*one, "-o", str(root / "looped")])[0]
    rows.append(("loop of medseg segment", min(_LOOPED, len(paths)), seconds, ""))
    cells = [(name, str(n), f"{s:.1f}", f"{n / s * 60:.1f}", memory) for name, n, s, memory in rows]
    print(table(cells, ("way", "cases", "seconds", "cases/min", "MiB: first third -> last third")))


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Seconds of a command, and the resident memory of its processes over time."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples: list[tuple[int, int]] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            workers = workers_of(process.pid, "local")
            try:
                own = psutil.Process(process.pid).memory_info().rss
                samples.append((own, max((worker.memory_info().rss for worker in workers), default=0)))
            except psutil.Error:
                continue

    thread = threading.Thread(target=sample)
    thread.start()
    process.wait()
    over.set()
    thread.join()
    return time.monotonic() - start, _thirds(samples)


def _thirds(samples: Sequence[tuple[int, int]]) -> str:
    """Medians of the first and last third of the time in which a worker had its model."""
    busy = [sample for sample in samples if sample[1] > 200 << 20] or list(samples)
    third = max(1, len(busy) // 3)
    told = []
    for place, name in enumerate(("runner", "largest worker")):
        ends = [statistics.median(s[place] for s in part) / 2**20 for part in (busy[:third], busy[-third:])]
        told.append(f"{name} {ends[0]:.0f} -> {ends[1]:.0f}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
