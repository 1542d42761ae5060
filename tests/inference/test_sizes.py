"""A network that fails on a size says which sizes it takes; another failure stays what it is."""

import pytest
import torch
from monai.networks.nets import UNet

from medseg.errors import UsageError
from medseg.inference.sizes import fitting_size, size_errors


def unet(strides, dimensions=2, **more):
    channels = [2 * level + 2 for level in range(len(strides) + 1)]
    return UNet(
        spatial_dims=dimensions,
        in_channels=1,
        out_channels=1,
        channels=channels,
        strides=strides,
        **more,
    ).eval()


@pytest.mark.parametrize(("strides", "given", "divisors", "size"), [
    ([2, 2, 2], (50, 64), (8, 8), (56, 64)),
    ([1, 2, 2], (250, 250), (4, 4), (252, 252)),
    ([(2, 2), (2, 1)], (30, 33), (4, 2), (32, 34)),
    ([(2, 2, 1), (2, 2, 2)], (18, 16, 9), (4, 4, 2), (20, 16, 10)),
])  # fmt: skip
def test_sizes_of_a_unet(strides, given, divisors, size):
    network = unet(strides, len(given))
    assert fitting_size(network, (1, 1, *given)) == (divisors, size)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *size)).shape[2:] == size


def test_a_size_of_one_pixel_at_the_deepest_level():
    network = unet([2, 2, 2], norm="instance").train()
    assert fitting_size(network, (1, 1, 8, 8)) == ((8, 8), (24, 24))


def test_an_output_of_another_size_is_an_error_of_the_size():
    """An odd side that only the first level halves comes back rounded up, and the loss fails."""
    network = unet([2])
    with pytest.raises(UsageError, match=r"multiples of 2 x 2.* got 33 x 32"), size_errors(network):
        network(torch.zeros(1, 1, 33, 32)) + torch.zeros(1, 1, 33, 32)


def test_the_error_says_it():
    network = unet([2, 2, 2])
    with pytest.raises(UsageError, match=r"multiples of 8 x 8.* got 50 x 64.* 56 x 64"), size_errors(network):
        network(torch.zeros(1, 1, 50, 64))
    assert not network._forward_pre_hooks


def test_other_failures_stay():
    network = unet([2, 2, 2])
    with pytest.raises(RuntimeError, match="channels"), size_errors(network):
        network(torch.zeros(1, 3, 64, 64))
    with pytest.raises(RuntimeError, match="must match"), size_errors(network):
        network(torch.zeros(1, 1, 64, 64)) + torch.zeros(7)
    with pytest.raises(RuntimeError, match="before"), size_errors(network):
        raise RuntimeError("before it got an image")
