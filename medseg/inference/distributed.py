"""Several processes, started by torchrun, that train one network: one process for each GPU, or on CPUs."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist

from medseg.errors import UsageError
from medseg.inference.devices import pick_device


def start_processes() -> None:
    """Join the processes that torchrun started: by nccl on GPUs, by gloo on CPUs.

    Raises:
        UsageError: this process was not started by torchrun.
    """
    if "LOCAL_RANK" not in os.environ:
        raise UsageError(
            "a process that torchrun started",
            got="a process without LOCAL_RANK in its environment",
            advice="Run `torchrun --nproc_per_node=2 -m monai.bundle run --config_file ...`.",
        )
    device = own_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # The network and the group's threads refer to each other. Such a thread aborts the process when the
    # interpreter shuts down (pytorch/pytorch#179291), so the cycle is collected before.
    atexit.register(gc.collect)


def own_device() -> torch.device:
    """This process's device: a GPU of its own where there are any, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return pick_device(f"cuda:{os.environ['LOCAL_RANK']}")


def shared(network: torch.nn.Module, device: torch.device) -> torch.nn.parallel.DistributedDataParallel:
    """Wrap the network in DistributedDataParallel, which averages gradients over the processes."""
    ids = [device] if device.type == "cuda" else None
    return torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)


def share(items: Sequence[Any]) -> list[Any]:
    """This process's share of some items.

    Raises:
        UsageError: there are fewer items than processes: the others would wait forever for one without items.
    """
    if len(items) < idist.get_world_size():
        raise UsageError(
            "at least one item for each process",
            got=f"{len(items)} items for {idist.get_world_size()} processes",
            advice="Start fewer processes.",
        )
    return list(items[idist.get_rank() :: idist.get_world_size()])


def gather(items: list[Any]) -> list[Any]:
    """The items of all processes, in every process."""
    if idist.get_world_size() == 1:
        return items
    lists: list[Any] = [None] * idist.get_world_size()
    dist.all_gather_object(lists, items)
    return [item for part in lists for item in part]


def take_buffers_of_first(network: torch.nn.Module) -> None:
    """Give every process the first one's buffers, such as the running statistics of batch norm.

    Each process updates its buffers from its own batches, but only the first one's are saved: all must
    validate with the same.
    """
    if idist.get_world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def mean(value: float) -> float:
    """The mean of a number over the processes."""
    return sum(gather([value])) / idist.get_world_size()
