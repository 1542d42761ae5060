"""Weights after a fine-tuning and before it, mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events


class MixWithStart:
    """At the end of the last epoch the network becomes a mean of its weights and those it began with.

    A short fine-tuning gains on what it shows and loses on what it does not; their mean keeps both. Source:
    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022. Before the handler that validates, so
    that the mean is what is scored and kept.

    Args:
        network: the one that is trained.
        share: of the weights at the start, 0 to 1; 0 leaves the network alone.
    """

    def __init__(self, network: torch.nn.Module, share: float) -> None:
        self.network, self.share = getattr(network, "module", network), share
        self.start = {name: value.cpu().clone() for name, value in network.state_dict().items()}

    def attach(self, engine: Engine) -> None:
        """MONAI's trainer calls this."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if self.share and engine.state.epoch == engine.state.max_epochs:
            self.network.load_state_dict(mixed(self.start, self.network.state_dict(), self.share))


def mixed(
    first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], share: float
) -> dict[str, Any]:
    """Weights of two networks of one make: `share` of the first; counts (integers) are the second's."""
    return {
        name: value if not value.is_floating_point() else torch.lerp(value, first[name].to(value), share)
        for name, value in second.items()
    }
