"""A classifier of pixels by the patch around each, as a network without pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


class PatchCNN(torch.nn.Module):
    """Logits of each pixel from a square patch around it, computed for a whole image at once.

    A classifier that slides over all patches computes the same features again for each neighbour. Dilated
    convolutions in the place of pooling share them: the logits of a pixel are those of its patch alone.
    Sources: Ciresan et al., Deep Neural Networks Segment Neuronal Membranes, NIPS 2012 (one patch a pixel);
    Li, Zhao and Wang, arXiv 1412.4526, 2014 (a whole image at once); Yu and Koltun, ICLR 2016 (dilations).

    Args:
        spatial_dims: 2 for pictures, 3 for volumes.
        in_channels: of the image.
        out_channels: of the logits.
        width: features of each layer.
        dilations: of each layer's convolution of 3 pixels along each axis.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        width: int = 24,
        dilations: Sequence[int] = (1, 1, 2, 4, 8, 4),
    ) -> None:
        super().__init__()
        convolution = torch.nn.Conv2d if spatial_dims == 2 else torch.nn.Conv3d
        norm = torch.nn.BatchNorm2d if spatial_dims == 2 else torch.nn.BatchNorm3d
        layers: list[torch.nn.Module] = []
        before = in_channels
        for dilation in dilations:
            layers += [convolution(before, width, 3, dilation=dilation, bias=False), norm(width)]
            layers.append(torch.nn.ReLU(inplace=True))
            before = width
        self.layers = torch.nn.Sequential(*layers, convolution(width, out_channels, 1))
        self.margin = sum(dilations)
        self.spatial_dims = spatial_dims

    @property
    def patch_size(self) -> int:
        """Side of the patch that decides about its middle pixel, in pixels."""
        return 2 * self.margin + 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, spatial...) of any size to logits (B, out_channels, spatial...).

        The image's border is continued outwards once; no layer pads, so that the network sees no other edge.
        """
        ends = [self.margin] * (2 * self.spatial_dims)
        logits: torch.Tensor = self.layers(functional.pad(x, ends, mode="replicate"))
        return logits
