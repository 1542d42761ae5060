"""What a run says about its origin, and how the machine's load is measured."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import medseg
from medseg import __version__
from medseg.tracking import provenance
from medseg.tracking.provenance import SystemMetrics, git_commit, host_facts, tags, versions


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a package medseg in it, from which provenance seems to run."""
    package = tmp_path / "checkout" / "medseg"
    (package / "training").mkdir(parents=True)
    (package / "__init__.py").touch()
    git(package.parent, "init", "-q")
    git(package, "add", "__init__.py")
    git(package, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "__file__", str(package / "training" / "provenance.py"))
    return package


def test_the_commit_of_this_checkout():
    root = Path(medseg.__file__).parents[1]
    if not (root / ".git").exists() or not shutil.which("git"):
        pytest.skip("medseg is not in a checkout here")
    assert git_commit().removesuffix("+dirty") == git(root, "rev-parse", "HEAD")


def test_the_commit_of_a_checkout(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_commit() == commit
    # Files that git doesn't track are no change, and the whole checkout counts.
    (checkout / "untracked.py").touch()
    assert git_commit() == commit
    (checkout.parent / "train.yaml").write_text("a")
    git(checkout.parent, "add", "train.yaml")
    assert git_commit() == f"{commit}+dirty"
    git(checkout, "commit", "-qm", "second")
    (checkout / "__init__.py").write_text("1")
    assert git_commit() == f"{git(checkout, 'rev-parse', 'HEAD')}+dirty"


def test_an_installed_package_has_no_commit(checkout, monkeypatch, tmp_path):
    """Not that of the project whose virtual environment holds it, either."""
    installed = checkout.parent / "venv" / "medseg"
    (installed / "training").mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(installed / "training" / "provenance.py"))
    assert git_commit() is None
    elsewhere = shutil.copytree(installed, tmp_path / "elsewhere")
    monkeypatch.setattr(provenance, "__file__", str(elsewhere / "training" / "provenance.py"))
    assert git_commit() is None


def test_without_git_or_commits(checkout, monkeypatch, tmp_path):
    shutil.rmtree(checkout.parent / ".git")
    git(checkout.parent, "init", "-q")
    git(checkout, "add", "__init__.py")
    assert git_commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None


def test_the_machine(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    facts = host_facts()
    assert set(facts) == {"platform", "cpu", "cores", "ram_gib", "gpu"}
    assert facts["cores"] == str(os.cpu_count())
    assert facts["cpu"]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert float(facts["ram_gib"]) == pytest.approx(pages / 2**30, rel=0.02)
    assert facts["gpu"] == "GPU 0, GPU 1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gpu" not in host_facts()


def test_versions():
    import mlflow
    import torch

    found = versions()
    assert set(found) == {"medseg", "python", "torch", "monai", "ignite", "numpy", "mlflow"}
    assert found["medseg"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (found["torch"], found["mlflow"]) == (torch.__version__, mlflow.__version__)


def test_tags(monkeypatch):
    monkeypatch.setattr(provenance, "git_commit", lambda: "abc+dirty")
    found = tags()
    assert found["mlflow.source.git.commit"] == "abc+dirty"
    assert found["version.medseg"] == __version__
    assert "machine.cpu" in found
    assert os.uname().nodename not in found["machine.platform"].split("-")
    monkeypatch.setattr(provenance, "git_commit", lambda: None)
    assert "mlflow.source.git.commit" not in tags()


class Monitor:
    """Counts 1, 2, 3, as MLflow's monitors measure."""

    def __init__(self):
        self.count, self.values = 0, []

    def collect_metrics(self):
        self.count += 1
        self.values.append(self.count)

    def aggregate_metrics(self):
        return {"count": sum(self.values) / len(self.values)}

    def clear_metrics(self):
        self.values.clear()


class Broken(Monitor):
    def collect_metrics(self):
        raise RuntimeError("driver")

    def aggregate_metrics(self):
        return {}


def test_means_since_the_last_call(monkeypatch):
    monkeypatch.setattr(provenance, "_monitors", lambda: [Broken(), Monitor()])
    system = SystemMetrics()
    system._sample()
    system._sample()
    assert system.collect() == {"system/count": 2.0}
    assert system.collect() == {"system/count": 4.0}


def test_samples_come_from_a_thread_that_ends(monkeypatch):
    monkeypatch.setattr(provenance, "_SAMPLING_SECONDS", 0.01)
    monitor = Monitor()
    monkeypatch.setattr(provenance, "_monitors", lambda: [monitor])
    with SystemMetrics():
        end = time.monotonic() + 10
        while monitor.count < 5 and time.monotonic() < end:
            time.sleep(0.01)
    assert monitor.count >= 5
    assert "medseg system metrics" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.seconds
def test_names_that_mlflow_shows_as_system_metrics():
    with SystemMetrics() as system:
        spin = time.monotonic() + 0.3
        while time.monotonic() < spin:
            pass
        found = system.collect()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_usage_percentage",
        "system/network_receive_megabytes",
        "system/process_memory_megabytes",
    } <= set(found)
    assert all(isinstance(value, float) for value in found.values())
    assert found["system/cpu_utilization_percentage"] > 0
    assert found["system/process_memory_megabytes"] > 10


@pytest.mark.seconds
def test_memory_of_workers_counts():
    monitor = provenance._ProcessMonitor()
    monitor.collect_metrics()
    alone = monitor.aggregate_metrics()["process_memory_megabytes"]
    code = "x = bytearray(100_000_000); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as worker:
        worker.stdout.readline()
        monitor.collect_metrics()
        worker.communicate(b"\n")
    monitor.collect_metrics()
    # The maximum, not the last.
    assert monitor.aggregate_metrics()["process_memory_megabytes"] > alone + 90


@pytest.mark.seconds
def test_workers_may_be_forked_meanwhile(monkeypatch):
    """And a process that forgets to stop the thread ends all the same."""
    code = """
import os
from medseg.tracking import provenance

provenance._SAMPLING_SECONDS = 0.001
system = provenance.SystemMetrics()
system.__enter__()
for _ in range(50):
    worker = os.fork()
    if not worker:
        os._exit(0)
    os.waitpid(worker, 0)
    system.collect()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
