"""Average the weights before and after a fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events


class MixWithStart:
    """At the end of the last epoch, replaces the weights by a mean of them and the initial weights.

    A short fine-tuning improves a network on the new data and worsens it on other data; the mean keeps most
    of both. Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022. The handler must
    precede the one that validates, so that the mean is scored and kept.

    Args:
        network: the network that is trained.
        share: the share of the initial weights in the mean, 0 to 1; 0 does not change the network.
    """

    def __init__(self, network: torch.nn.Module, share: float) -> None:
        self.network, self.share = getattr(network, "module", network), share
        self.start = {name: value.cpu().clone() for name, value in network.state_dict().items()}

    def attach(self, engine: Engine) -> None:
        """Register the handler; MONAI's trainer calls this."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if self.share and engine.state.epoch == engine.state.max_epochs:
            self.network.load_state_dict(mixed(self.start, self.network.state_dict(), self.share))


def mixed(
    first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], share: float
) -> dict[str, Any]:
    """The mean of two state dictionaries, `share` of the first; integer buffers are taken from the second."""
    return {
        name: value if not value.is_floating_point() else torch.lerp(value, first[name].to(value), share)
        for name, value in second.items()
    }
