"""Sizes of images that a network takes, where the network fails on one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from medseg.errors import UsageError

LARGEST_DIVISOR = 256


@contextmanager
def size_errors(network: torch.nn.Module) -> Iterator[None]:
    """Raise a UsageError that names a size that fits, where a network fails on an image of another size.

    A UNet takes images whose sides the product of its strides divides. What size it was given last is noted
    while this context is open; only after a failure it is looked for sizes that fit.

    Raises:
        UsageError: the network can't take an image of this size, and can take a slightly larger one.
    """
    given: list[torch.Size] = []

    def note(_: torch.nn.Module, images: tuple[torch.Tensor, ...]) -> None:
        given[:] = [image.shape for image in images[:1]]

    try:
        with network.register_forward_pre_hook(note):
            yield
    except (RuntimeError, ValueError, AssertionError) as error:  # torch's, of norms, and of MONAI's losses
        sizes = fitting_size(network, given[-1]) if given else None
        if sizes is None:
            raise
        divisors, size = sizes
        raise UsageError(
            f"images or patches whose sides are multiples of {_by(divisors)} for this network",
            got=_by(given[-1][2:]),
            advice=f"Choose {_by(size)}, for example, in the key that sets the size: patch_px, patch_voxels, "
            "size_px or roi_size.",
        ) from error


def fitting_size(
    network: torch.nn.Module, shape: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The divisors of the sides that a network takes, and the next larger size that it takes.

    Nothing is computed: a copy of the network on torch's device `meta` has shapes alone.

    Args:
        network: of images of one size.
        shape: (B, C, spatial size) of images that it failed on.

    Returns:
        (divisors, size) along each axis; None if the size is not why it failed.
    """
    outline = copy.deepcopy(network).to("meta").eval()
    batch, sides = tuple(shape[:2]), tuple(shape[2:])

    def takes(size: Sequence[int]) -> bool:
        try:
            with torch.no_grad():
                output = outline(torch.zeros((*batch, *size), device="meta"))
        except Exception:  # also of what can't run on this device: then no size fits
            return False
        return tuple(output.shape[2:]) == tuple(size)  # a first level that is halved rounds odd sides up

    if takes(sides):
        return None
    divisor = 2
    while divisor <= LARGEST_DIVISOR and not takes(_odd_multiple(sides, [divisor] * len(sides))):
        divisor *= 2
    if divisor > LARGEST_DIVISOR:
        return None
    divisors = [divisor] * len(sides)
    for axis in range(len(sides)):  # strides may differ from axis to axis
        while divisors[axis] > 1:
            halved = [by // 2 if other == axis else by for other, by in enumerate(divisors)]
            if not takes(_odd_multiple(sides, halved)):
                break
            divisors = halved
    nearest = tuple(-(-side // by) * by for side, by in zip(sides, divisors, strict=True))
    return tuple(divisors), nearest if takes(nearest) else _odd_multiple(sides, divisors)


def _odd_multiple(sides: Sequence[int], divisors: Sequence[int]) -> tuple[int, ...]:
    """The next larger size of three times a divisor or more that no larger power of two divides."""
    return tuple(max(3, -(-side // by) | 1) * by for side, by in zip(sides, divisors, strict=True))


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
