"""Devices, backends and inferers that run a network over an image, where MONAI has none."""

from medseg.inference.backends import accelerate
from medseg.inference.devices import pick_device
from medseg.inference.inferers import AutocastInferer, CoarseInferer, FlipInferer
from medseg.inference.observing import ObservingInferer
from medseg.inference.windows import WindowInferer

__all__ = [
    "AutocastInferer",
    "CoarseInferer",
    "FlipInferer",
    "ObservingInferer",
    "WindowInferer",
    "accelerate",
    "pick_device",
]
