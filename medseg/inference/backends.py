"""Which library computes a network: torch, or OpenVINO where that is faster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec

import torch

from medseg.errors import BundleError, UsageError, did_you_mean

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "openvino", "torch")


def accelerate(
    network: torch.nn.Module,
    example_shape: Sequence[int],
    backend: str = "auto",
    device: str | torch.device = "cpu",
) -> torch.nn.Module:
    """Prepare a network for inference with a backend; input and output tensors stay the same.

    Args:
        network: with its weights; it is put into evaluation mode.
        example_shape: (B, C, spatial...) of a small input. Batch and spatial sizes may differ later.
        backend: torch; openvino, which needs a CPU; or auto, which is openvino where it is installed and the
            device is a CPU, else torch.
        device: the network's device with torch.

    Returns:
        The network on its device, or a module in its place.

    Raises:
        UsageError: an unknown backend, openvino without the library, or for another device than a CPU.
        BundleError: openvino was asked for and can't compute this network.
    """
    device = torch.device(device)
    network = network.eval()
    if choose(backend, device) == "torch":
        return _for_torch(network, device)
    from medseg.inference.openvino import OpenVinoNetwork

    try:
        return OpenVinoNetwork(network, example_shape)
    except BundleError as error:
        if backend == "openvino":
            raise
        logger.warning("torch computes the network: %s", error)
        return _for_torch(network, device)


def choose(backend: str, device: torch.device) -> str:
    """The backend that `auto` stands for, or the given one if it is available.

    Raises:
        UsageError: an unknown backend, or one that is not available on this machine or device.
    """
    if backend not in BACKENDS:
        raise UsageError("the name of a backend", got=backend, advice=did_you_mean(backend, BACKENDS))
    installed = find_spec("openvino") is not None
    if backend == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    if backend == "openvino" and device.type != "cpu":
        raise UsageError(
            "a CPU for the backend openvino", got=f"the device {device}", advice="Set backend to torch."
        )
    if backend == "openvino" and not installed:
        raise UsageError(
            "the package openvino for the backend openvino",
            got="an environment without it",
            advice="Run pip install 'medseg[openvino]', or set backend to torch.",
        )
    return backend


def _for_torch(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return network.to(device)
