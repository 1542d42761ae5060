"""Inferers around other inferers: mirrored copies, and bfloat16.

Further arguments stay here: MONAI Deploy gives every tensor of the data as one, and no network takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer


class FlipInferer(Inferer):
    """Test-time augmentation: the mean logit over mirrored copies.

    Args:
        inferer: runs one copy and returns logits of (B, C, spatial...).
        axes: spatial axes (2 is the first after batch and channel) to mirror, in all combinations;
            none of them means that the inferer's own answer is passed through.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        self.axes = tuple(axes)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        total = self.inferer(inputs, network)
        for flips in _subsets(self.axes)[1:]:
            logits = self.inferer(torch.flip(inputs, flips), network)
            total = total + torch.flip(logits, flips)
        return total / 2 ** len(self.axes)


class AutocastInferer(Inferer):
    """Run another inferer under bfloat16 autocast and return float32.

    MONAI's `amp` key means CUDA; this one speeds up training on processors with bfloat16 too.
    """

    def __init__(self, inferer: Inferer, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = inferer
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        layout = torch.channels_last if inputs.ndim == 4 else torch.channels_last_3d
        inputs = inputs.contiguous(memory_format=layout)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.enabled):
            return self.inferer(inputs, network).float()


def _subsets(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every combination of the axes, the empty one first."""
    subsets: list[tuple[int, ...]] = [()]
    for axis in axes:
        subsets += [(*subset, axis) for subset in subsets]
    return subsets
