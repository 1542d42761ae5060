"""A recurrent network that reads an image line by line, forwards and backwards, along each axis."""

from __future__ import annotations

import torch
from torch.nn import functional


class ScanlineRNN(torch.nn.Module):
    """Logits of an image whose cells are read by recurrent layers: along each axis, in both directions.

    Each layer reads what the one before it has written, so that after the last one every cell knows of the
    whole image. A transposed convolution brings the cells back to pixels, where the features of single pixels
    keep thin structures.
    Sources: Visin et al., ReNet, arXiv 1505.00393, 2015; Visin et al., ReSeg, CVPR Workshops 2016.

    Args:
        spatial_dims: 2 for pictures, 3 for volumes.
        in_channels: of the image.
        out_channels: of the logits.
        stem: features of a pixel.
        cell: side of a cell in pixels; time and memory of the recurrent layers fall with its area or volume.
        hidden: features of a cell in each direction.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stem: int = 12,
        cell: int = 4,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        flat = spatial_dims == 2
        convolution = torch.nn.Conv2d if flat else torch.nn.Conv3d
        transposed = torch.nn.ConvTranspose2d if flat else torch.nn.ConvTranspose3d
        norm = torch.nn.BatchNorm2d if flat else torch.nn.BatchNorm3d
        self.stem = torch.nn.Sequential(
            convolution(in_channels, stem, 3, padding=1, bias=False), norm(stem), torch.nn.ReLU(inplace=True)
        )
        self.embed = convolution(stem, 2 * hidden, cell, stride=cell)
        self.sweeps = torch.nn.ModuleList(
            torch.nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)
            for _ in range(spatial_dims)
        )
        self.expand = transposed(2 * hidden, stem, cell, stride=cell)
        self.head = torch.nn.Sequential(
            convolution(2 * stem, stem, 3, padding=1, bias=False),
            norm(stem),
            torch.nn.ReLU(inplace=True),
            convolution(stem, out_channels, 1),
        )
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, spatial...) of any size to logits (B, out_channels, spatial...)."""
        size = x.shape[2:]
        missing = [end for length in reversed(size) for end in (0, -length % self.cell)]
        pixels = self.stem(functional.pad(x, missing, mode="replicate"))
        cells = self.embed(pixels)
        for axis, sweep in enumerate(self.sweeps, start=2):
            cells = _swept(cells, axis, sweep)
        logits: torch.Tensor = self.head(torch.cat([pixels, self.expand(cells)], dim=1))
        for axis, length in enumerate(size, start=2):
            logits = logits.narrow(axis, 0, length)
        return logits


def _swept(cells: torch.Tensor, axis: int, sweep: torch.nn.Module) -> torch.Tensor:
    """What a recurrent layer writes when it reads cells (B, C, spatial...) along an axis, line by line."""
    lines = cells.movedim((axis, 1), (-2, -1))  # (B, other axes..., along the line, C)
    written, _ = sweep(lines.flatten(0, -3))
    restored: torch.Tensor = written.unflatten(0, lines.shape[:-2]).movedim((-2, -1), (axis, 1))
    return restored
