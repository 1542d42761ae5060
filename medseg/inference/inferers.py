"""Inferers around other inferers: test-time flips, coarser copies, and bfloat16.

Their further arguments are ignored: MONAI Deploy passes every tensor of the data, and no network takes them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn import functional


class FlipInferer(Inferer):
    """Test-time augmentation: the mean of the logits over mirrored copies.

    Args:
        inferer: runs one copy (B, C, spatial...) and returns logits (B, labels, spatial...).
        axes: spatial axes (2 is the first after batch and channel) to mirror, in all combinations;
            without any, the inferer's output is returned.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        self.axes = tuple(axes)
        self._own = threading.local()

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        total = self.inferer(inputs, network)
        copies = self._own.copies = [total]
        for flips in _subsets(self.axes)[1:]:
            logits = torch.flip(self.inferer(torch.flip(inputs, flips), network), flips)
            copies.append(logits)
            total = total + logits
        return total / 2 ** len(self.axes)

    @property
    def copies(self) -> list[torch.Tensor]:
        """The logits of each copy of the calling thread's last image, mirrored back."""
        return list(getattr(self._own, "copies", []))


class AutocastInferer(Inferer):
    """Run another inferer under bfloat16 autocast and return float32.

    MONAI's `amp` key works on CUDA alone; this also speeds up training on CPUs with bfloat16.
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


class CoarseInferer(Inferer):
    """Run another inferer on a coarser and scaled copy of a volume, and return its coarse logits.

    Args:
        inferer: runs the network.
        spacing_mm: size of a voxel of the volume.
        network_spacing_mm: size of a voxel that the network was trained on; a coarse voxel is the mean of the
            volume's voxels in it.
        value_range: the two values that become 0 and 1; values beyond are clipped.
    """

    def __init__(
        self, inferer: Inferer, spacing_mm: float, network_spacing_mm: float, value_range: Sequence[float]
    ) -> None:
        super().__init__()
        self.inferer = inferer
        self.share = spacing_mm / network_spacing_mm
        self.low, self.high = value_range

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """(B, C, i, j, k) to logits of (B, labels, i', j', k') whose outer faces are those of the volume."""
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        size = [max(1, round(length * self.share)) for length in plain.shape[2:]]
        coarse = functional.interpolate(plain.float(), size=size, mode="area")
        return self.inferer(((coarse - self.low) / (self.high - self.low)).clamp(0, 1), network)


def _subsets(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every combination of the axes, the empty one first."""
    subsets: list[tuple[int, ...]] = [()]
    for axis in axes:
        subsets += [(*subset, axis) for subset in subsets]
    return subsets
