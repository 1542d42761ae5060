"""Which device a network runs on."""

from __future__ import annotations

import re

import torch

from medseg.errors import UsageError, did_you_mean


def pick_device(name: str = "auto") -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`; auto takes a GPU when there is one.

    Raises:
        UsageError: an unknown name, or a GPU that is not there.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(
            "a device (auto, cpu, cuda or cuda:N)",
            got=name,
            advice=did_you_mean(name, ["auto", "cpu", "cuda"]),
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(
            f"a GPU that torch can use as {name}",
            got=f"{count} GPUs that torch can use",
            advice="Use --device cpu.",
        )
    return device
