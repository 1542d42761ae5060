"""The deepest features of a segmentation network, pooled over an image.

A UNet looks at the whole picture at its coarsest grid, the bottleneck. Mean and standard deviation of each
channel there say what is in the image, not where. Source of pooled features of a trained network as a
descriptor: Babenko and others, "Neural Codes for Image Retrieval", ECCV 2014; of the sum over positions:
Babenko and Lempitsky, ICCV 2015.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from medseg.bundle.ensemble import Ensemble
from medseg.errors import UsageError


class DeepestFeatures:
    """Collects the deepest features of a network while something else calls it, for each thread by itself.

    In each call of the network the deepest features are the output of the last of its modules that works on
    the coarsest grid. That holds for any network that goes down and up again, such as MONAI's UNet and the
    one on EfficientNet. Modules whose outputs have no grid, such as classifiers, or a single position, don't
    count.

    Args:
        network: a module that maps (B, C, spatial...) to (B, labels, spatial...); of an ensemble the members'
            features are joined.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        members = network.members if isinstance(network, Ensemble) else [network]
        self._members = [_Member(member) for member in members]
        for member in self._members:
            member.attach()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect while the block runs, and forget what was collected before."""
        for member in self._members:
            member.begin()
        try:
            yield
        finally:
            for member in self._members:
                member.end()

    def pooled(self) -> np.ndarray:
        """Mean, then standard deviation, of each channel over all positions of all calls; (2 x channels,)
        float32.

        Windows that overlap count each; so do mirrored copies.

        Raises:
            UsageError: the network has no grid that is at least twice as coarse as its input.
        """
        return np.concatenate([member.pooled() for member in self._members]).astype(np.float32)


class _Member(threading.local):
    """One network, and the running sums of its deepest features in the calling thread.

    Hooks stay on the network: another thread may be calling it when one begins or ends to collect.
    """

    is_collecting = False

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self._forget()

    def attach(self) -> None:
        """Once for all threads."""
        for module in self.network.modules():
            if module is not self.network:
                module.register_forward_hook(self._seen)
        self.network.register_forward_hook(self._called)

    def begin(self) -> None:
        self._forget()
        self.is_collecting = True

    def end(self) -> None:
        self.is_collecting = False

    def pooled(self) -> np.ndarray:
        if self.positions == 0:
            raise UsageError(
                "a method whose network has an encoder, as a UNet has",
                got="one that works at a single resolution",
                advice="Choose another method, or the descriptor intensity.",
            )
        mean = self.total / self.positions
        spread = (self.squares / self.positions - mean**2).clamp(min=0).sqrt()
        return torch.cat([mean, spread]).cpu().numpy()

    def _forget(self) -> None:
        self.deepest: torch.Tensor | None = None
        self.positions = 0
        self.total = self.squares = torch.zeros(0, dtype=torch.float64)

    def _seen(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if not self.is_collecting or not isinstance(output, torch.Tensor):
            return
        if output.ndim < 4 or _positions(output) == 1:
            return
        if self.deepest is None or _positions(output) <= _positions(self.deepest):
            self.deepest = output

    def _called(self, network: torch.nn.Module, inputs: Any, output: Any) -> None:
        if not self.is_collecting:
            return
        deepest, self.deepest = self.deepest, None
        axes = inputs[0].ndim - 2
        if deepest is None or _positions(deepest) * 2**axes > _positions(inputs[0]):
            return
        channels = deepest.detach().double().transpose(0, 1).flatten(1)
        self.total = self.total + channels.sum(1) if self.positions else channels.sum(1)
        self.squares = self.squares + (channels**2).sum(1) if self.positions else (channels**2).sum(1)
        self.positions += channels.shape[1]


def _positions(tensor: torch.Tensor) -> int:
    return math.prod(tensor.shape[2:])
