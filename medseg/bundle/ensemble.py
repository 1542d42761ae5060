"""The networks of a cross-validation as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class Ensemble(torch.nn.Module):
    """The mean output of several networks with inputs and outputs of the same shapes."""

    def __init__(self, members: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map an input (B, C, spatial...) to the mean of the members' outputs."""
        return torch.stack([member(inputs) for member in self.members]).mean(dim=0)
