"""Provenance of a run: the machine, the versions and the commit; and the load of the machine."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("medseg", "torch", "monai", "pytorch-ignite", "numpy", "mlflow")
_SAMPLING_SECONDS = 5.0
_GIT_SECONDS = 10
_logger = logging.getLogger(__name__)


def tags() -> dict[str, str]:
    """Machine, versions, program and commit under the names of MLflow tags."""
    found = {f"machine.{name}": value for name, value in host_facts().items()}
    found |= {f"version.{name}": value for name, value in versions().items()}
    found |= {"mlflow.source.name": program(), "mlflow.source.type": "LOCAL"}
    if commit := git_commit():
        found["mlflow.source.git.commit"] = commit
    return found


def program() -> str:
    """The program that started the training, without its arguments, which may hold paths and names."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.parts[-3:] == ("medseg", "cli", "__main__.py"):  # python -m medseg.cli
        return "medseg"
    if started.name == "__main__.py":
        return f"python -m {'.'.join(started.parts[-3:-1]).removeprefix('site-packages.')}"
    return started.name or "python"


def host_facts() -> dict[str, str]:
    """The machine: platform, processor, cores, memory in GiB and, if there is one, the GPU."""
    import psutil
    import torch

    facts = {
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "ram_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
    }
    if torch.cuda.is_available():
        facts["gpu"] = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return facts


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name.removeprefix("pytorch-")] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout that medseg runs from, with "+dirty" if tracked files are changed.

    None for an installed package, or if git is missing.
    """
    package = Path(__file__).resolve().parents[1]
    # A package may lie in a checkout that does not track it, such as a virtual environment in a project.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no", ":/")
    return f"{commit}+dirty" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class SystemMetrics:
    """Samples the load of the machine, in a thread that ends with the process.

    Use it as a context manager. Forked workers do not inherit the thread and must not call this.
    """

    def __init__(self) -> None:
        self._monitors = _monitors()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, name="medseg system metrics", daemon=True)

    def __enter__(self) -> SystemMetrics:
        _begin_cpu_time()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def collect(self) -> dict[str, float]:
        """Means since the last call, under the names that MLflow uses for system metrics.

        The process's memory is the maximum since the last call, network traffic the total since the start.
        """
        self._sample()
        found: dict[str, float] = {}
        with self._lock:
            for monitor in self._monitors:
                found |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return {f"system/{name}": float(value) for name, value in found.items()}

    def _sample_on(self) -> None:
        _begin_cpu_time()
        while not self._stop.wait(_SAMPLING_SECONDS):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            for monitor in self._monitors:
                try:
                    monitor.collect_metrics()
                except Exception as error:
                    # A driver may fail for a moment, which must not end the training.
                    _logger.debug("no sample of %s: %s", type(monitor).__name__, error)


class _ProcessMonitor:
    """Memory of this process and its workers; shared memory is counted for each of them."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._megabytes: list[float] = []

    def collect_metrics(self) -> None:
        import psutil

        total = self._process.memory_info().rss
        for worker in self._process.children(recursive=True):
            with suppress(psutil.Error):  # the worker has ended meanwhile
                total += worker.memory_info().rss
        self._megabytes.append(total / 1e6)

    def aggregate_metrics(self) -> dict[str, float]:
        return {"process_memory_megabytes": round(max(self._megabytes), 1)} if self._megabytes else {}

    def clear_metrics(self) -> None:
        self._megabytes.clear()


def _begin_cpu_time() -> None:
    """Start psutil's measurement in this thread; it measures from call to call, and the first is invalid."""
    import psutil

    psutil.cpu_percent()


def _monitors() -> list[Any]:
    try:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    except ImportError:  # without MLflow the journal keeps the run for `medseg sync` on another machine
        return [_ProcessMonitor()]

    monitors: list[Any] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, _ProcessMonitor, GPUMonitor):
        try:
            monitors.append(kind())
        except Exception as error:
            # GPUMonitor fails without a GPU or the package nvidia-ml-py, the others in some containers.
            _logger.debug("no %s: %s", kind.__name__, error)
    return monitors
