"""What an inferer does anyway, kept for an estimate of the mask's quality; and one mirrored window.

A network that is sure gives the same mask for an image and for its mirror image. Where the inferer averages
mirrored copies, these are compared; where it does not, one window in the middle of what was found is run once
more, mirrored, which costs little. Source of the agreement of test-time copies as a sign of quality: Wang et
al., "Aleatoric uncertainty estimation with test-time augmentation", Neurocomputing 338, 2019.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from medseg.errors import UsageError
from medseg.inference.encoder import DeepestFeatures


@dataclass(frozen=True, eq=False)
class Observed:
    """What an inferer was seen to do with one image.

    Attributes:
        scores: (labels, spatial...) logits on the network's grid.
        copies: two or more (labels, spatial...) logits of the same part of the image, as it is and mirrored.
        features: (D,) the pooled deepest features of the network; None where it shows none.
    """

    scores: np.ndarray
    copies: tuple[np.ndarray, ...]
    features: np.ndarray | None


class ObservingInferer(Inferer):
    """Run another inferer, and keep what it did with the last image.

    Args:
        inferer: returns logits (B, labels, spatial...) of (B, C, spatial...).
        axis: the spatial axis (2 is the first) along which a window is mirrored.
        window: its size, along each spatial axis; None where the inferer is a FlipInferer that makes copies.
        swapped: two labels that a mirrored body has in each other's place, such as left and right lung.

    """

    def __init__(
        self,
        inferer: Inferer,
        axis: int,
        window: Sequence[int] | None = None,
        swapped: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.inferer, self.axis, self.swapped = inferer, axis, tuple(swapped)
        self.window = None if window is None else tuple(window)
        self._own = threading.local()
        self._features: tuple[Any, DeepestFeatures] | None = None
        self._attaching = threading.Lock()

    @property
    def last(self) -> Observed | None:
        """What was seen of the calling thread's last image; None before the first."""
        return getattr(self._own, "last", None)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        self._own.last = None
        original = getattr(network, "original", network)  # another library shows no features
        features = self._features_of(original)
        if self.window is None:
            with features.collecting():
                scores = self.inferer(inputs, network)
            copies = [copy[0] for copy in getattr(self.inferer, "copies", [])]
        else:
            scores = self.inferer(inputs, network)
            with features.collecting():
                copies = _window_twice(
                    _plain(inputs), _plain(scores)[0], original, self.window, self.axis, self.swapped
                )
        try:
            pooled = features.pooled()
        except UsageError:  # a network at a single resolution
            pooled = None
        self._own.last = Observed(_array(scores[0]), tuple(_array(copy) for copy in copies), pooled)
        return scores

    def _features_of(self, network: Any) -> DeepestFeatures:
        with self._attaching:
            if self._features is None or self._features[0] is not network:
                self._features = (network, DeepestFeatures(network))
            return self._features[1]


def _window_twice(
    inputs: torch.Tensor,
    scores: torch.Tensor,
    network: Callable[..., torch.Tensor],
    window: Sequence[int],
    axis: int,
    swapped: Sequence[int],
) -> list[torch.Tensor]:
    """The scores of one window of (1, C, spatial...), and those of its mirror image."""
    place = window_at(scores, window)
    part = torch.flip(inputs[(slice(None), slice(None), *place)], (axis,))
    outputs = network(_padded(part, window))[0]
    inside = tuple(slice(0, at.stop - at.start) for at in place)
    mirrored = torch.flip(outputs[(slice(None), *inside)], (axis - 1,))  # scores have no batch
    if swapped:
        mirrored[list(swapped)] = mirrored[list(reversed(swapped))]
    return [scores[(slice(None), *place)], mirrored]


def window_at(scores: torch.Tensor, size: Sequence[int]) -> tuple[slice, ...]:
    """The window around the middle of all that scores (labels, spatial...) call found.

    Nothing found: the middle of the image. It lies inside the image; a smaller image is taken whole.
    """
    found = scores[0] > 0 if len(scores) == 1 else scores[1:].amax(0) > scores[0]
    places = torch.nonzero(found)
    middle = places.float().mean(0).tolist() if len(places) else [length / 2 for length in found.shape]
    starts = [
        int(min(max(0, round(centre - wanted / 2)), max(0, length - wanted)))
        for centre, wanted, length in zip(middle, size, found.shape, strict=True)
    ]
    return tuple(
        slice(start, min(length, start + wanted))
        for start, wanted, length in zip(starts, size, found.shape, strict=True)
    )


def _padded(part: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The part at the window's size, with its lowest value behind its ends: networks want such sizes."""
    missing = [wanted - length for wanted, length in zip(size, part.shape[2:], strict=True)]
    pads = [amount for value in reversed(missing) for amount in (0, value)]
    return torch.nn.functional.pad(part, pads, value=float(part.min())) if any(missing) else part


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(_plain(tensor).detach().float().cpu())
