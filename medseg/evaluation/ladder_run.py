"""Score one method in a process of its own, and measure what an image costs it.

In one process the peak memory of the second method could never be below that of the first.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.bundle import (
    configuration,
    inference_files,
    inference_overrides,
    parse,
    sha256,
)
from medseg.bundle.config import running
from medseg.case import Case
from medseg.errors import error_text
from medseg.evaluation.ladder_plan import FILES, Entry, Plan
from medseg.evaluation.split import evaluate
from medseg.io import case_names, write_mask
from medseg.pipeline import Segmenter

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MASKS = "masks"
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MB = 1e6
_END_S = 20.0  # in which a process ends by itself


@dataclass(frozen=True)
class Cost:
    """What a method costs.

    Attributes:
        seconds_per_case: the median of the time from a file to its mask, without the first case where there
            are several: it warms up the libraries.
        peak_memory_mb: the largest resident memory of the process while it makes a mask, in 10^6 bytes.
        parameters: how many numbers the method has learned; 0 for a method without weights.
        weights_sha256: of each file of weights.
    """

    seconds_per_case: float
    peak_memory_mb: float
    parameters: int
    weights_sha256: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """Why a method has no scores: the case, None if it failed before the first one, and the reason."""

    case: str | None
    reason: str

    def __str__(self) -> str:
        return f"failed{f' on {self.case}' if self.case else ''}: {self.reason.rstrip('.')}"


class MeasuredSegmenter(Segmenter):
    """A Segmenter that measures each mask that it makes, and writes it.

    Args:
        masks: an existing folder, for <case>.png or <case>.nii.gz.
        begin: is called with the name of each case before it is segmented.
        names: image to the name of its case.
        task, device, overrides, method, weights: as for Segmenter.
    """

    def __init__(
        self, masks: Path, names: Mapping[str, str], begin: Callable[[str], None], task: str, **options: Any
    ) -> None:
        super().__init__(task, **options)
        self.masks, self.names, self.begin = masks, names, begin
        self.seconds: list[float] = []
        self.peak_mb = 0.0

    def case(self, source: Any, pixel_spacing_mm: tuple[float, float] | None = None) -> Case:
        """As Segmenter's; only this is measured, not the scoring after it."""
        name = self.names[str(source)]
        self.begin(name)
        _forget_peak()
        start = time.perf_counter()
        case = super().case(source, pixel_spacing_mm)
        self.seconds.append(time.perf_counter() - start)
        self.peak_mb = max(self.peak_mb, _peak_mb())
        ending = ".png" if case.mask.affine is None else ".nii.gz"
        write_mask(case.mask, self.masks / f"{name}{ending}")
        return case


def run_alone(plan: Plan, entry: Entry, folder: Path) -> Cost | Failure:
    """Score a method on the plan's cases in a process of its own.

    The folder gets what medseg.evaluation.split.evaluate writes, and masks/. The process ends with this call,
    however that ends.
    """
    context = multiprocessing.get_context("spawn")  # a fork would begin with this process's memory
    receiver, sender = context.Pipe(duplex=False)
    level = logging.getLogger("medseg").getEffectiveLevel()
    process = context.Process(target=_in_process, args=(sender, plan, entry, folder, level))
    case: str | None = None
    try:
        process.start()
        sender.close()
        while isinstance(message := receiver.recv(), str):
            case = message
    except EOFError:
        process.join()
        return Failure(case, _end_text(process.exitcode))
    else:
        process.join(_END_S)  # it cleans up behind its libraries
        return message if isinstance(message, Cost) else Failure(case, message.reason)
    finally:
        if process.pid is not None:
            process.kill()
            process.join()


def _end_text(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, perhaps because memory ran out"
    return f"its process ended with exit code {exit_code}"


def _in_process(sender: Connection, plan: Plan, entry: Entry, folder: Path, level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(level)
    sender.send(_scored(plan, entry, folder, sender.send))


def _end_with_parent() -> None:
    """A process that nobody waits for any more must not go on for hours."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _scored(plan: Plan, entry: Entry, folder: Path, begin: Callable[[str], None]) -> Cost | Failure:
    token = running.set(entry.overrides)
    try:
        segmenter = _segmenter(plan, entry, folder, begin)
        evaluate(
            segmenter,
            plan.items,
            output_dir=folder,
            split=f"{plan.data} {plan.split}",  # not "validation" alone, for which a threshold is sought
            scoring=parse(plan.bundle, *FILES, overrides=entry.overrides).get_parsed_content(
                "validate::scoring"
            ),
            parameters=configuration(plan.bundle.root, FILES),
        )
        return Cost(
            statistics.median(segmenter.seconds[1:] or segmenter.seconds),
            segmenter.peak_mb,
            _parameters(plan, entry),
            tuple(map(sha256, entry.files)),
        )
    except Exception as error:
        return Failure(None, error_text(error))  # the parent knows the case
    finally:
        running.reset(token)


def _segmenter(plan: Plan, entry: Entry, folder: Path, begin: Callable[[str], None]) -> MeasuredSegmenter:
    config = parse(plan.bundle, *FILES, overrides=entry.overrides)
    own_files = inference_files(plan.bundle, entry.method.name)
    (folder / MASKS).mkdir(parents=True, exist_ok=True)
    return MeasuredSegmenter(
        folder / MASKS,
        names_of(plan),
        begin,
        str(plan.bundle.root),
        device=str(config.get_parsed_content("device")),
        overrides=inference_overrides(plan.bundle.root, own_files, config["inference"]),
        method=entry.method.name,
        weights=entry.weights,
    )


def names_of(plan: Plan) -> dict[str, str]:
    """Image to the name of its case, as evaluate names it."""
    return case_names(sorted(str(item["image"]) for item in plan.items))


def _parameters(plan: Plan, entry: Entry) -> int:
    """How many numbers were learned: those that a network's optimizer changes, else all in the files.

    What is not learned by gradients, such as a random forest, has no other numbers than learned ones.
    """
    import torch

    if not entry.files:
        return 0
    own_files = inference_files(plan.bundle, entry.method.name)
    config = parse(plan.bundle, *FILES, overrides=entry.overrides)
    overrides = inference_overrides(plan.bundle.root, own_files, config["inference"])
    network = parse(plan.bundle, *own_files, overrides=overrides).get_parsed_content("network_def")
    counted = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    if counted:
        return int(counted) * len(entry.files)
    states = [torch.load(file, map_location="cpu", weights_only=True) for file in entry.files]
    return sum(tensor.numel() for state in states for tensor in state.get("model", state).values())


def _forget_peak() -> None:
    """Let the process's peak memory start again from what it has now, where the system can (Linux)."""
    with suppress(OSError):
        _FORGET.write_text("5")  # see clear_refs in the manual page proc_pid_clear_refs(5)


def _peak_mb() -> float:
    """The peak resident memory in 10^6 bytes: on Linux since _forget_peak, else since the process began.

    Not ru_maxrss on Linux, which a process inherits from the one that started it.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024 / _MB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / _MB
