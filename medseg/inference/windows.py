"""Sliding windows over a volume that is mostly air, in little memory.

Windows are placed, and their logits blended, as by MONAI's SlidingWindowInferer, so that a network is used as
it was validated. There are three differences: windows cover only the box around all that is not air, windows
with nothing but air are skipped, and float32 sums are kept only for the planes that a later window can
change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map
from monai.inferers import Inferer
from torch.nn import functional

from medseg.errors import MedsegError, UsageError

CELL = 4  # voxels; the mean of a cell hides noise, but neither a chest wall nor a vessel of some mm
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Layout:
    """The places of the windows.

    Attributes:
        box: the part of the volume that the windows cover.
        window: voxels of a window along x, y and z.
        starts: along each axis, the first voxels of the windows within the box.
    """

    box: Box
    window: tuple[int, ...]
    starts: tuple[list[int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels that the windows cover: the box, or a window where that is longer."""
        return tuple(starts[-1] + size for starts, size in zip(self.starts, self.window, strict=True))


class WindowInferer(Inferer):
    """Logits of a volume, blended from overlapping windows.

    Logits are blended, not probabilities, as in MONAI, so that inference equals validation; and an uncertain
    window, whose logits are small, then counts less. The result is float16, whose rounding at a border
    between two labels is a thousandth of the logits there.

    Air is what lies below a threshold in the mean of cells of 4x4x4 voxels. A window is skipped when no cell
    in it, nor within `margin` voxels of it, is above the threshold. With a threshold below the density of
    aerated lung, no lung is air, healthy or consolidated. A pneumothorax or a bulla is air, but a window of
    some 16 cm in one also holds chest wall or lung. The mask is then the same as with all windows, if the
    network's label for a window of nothing but air is background.

    Args:
        roi_size: voxels of a window along x, y and z.
        overlap: share of a window that the next one covers too, from 0 to below 1.
        sw_batch_size: number of windows in a batch.
        mode: gaussian or constant: the weights of a window's voxels.
        air: the largest mean of a cell that counts as air; None runs all windows over the whole volume.
        margin: voxels around all that is not air that windows cover too.
        dtype: of the result.
        device: of blending and result; None takes that of the image.
        autocast: compute in float16 where the image is on a GPU: faster, with a relative error of 0.0005.

    Raises:
        UsageError: not three sizes of 1 or more, or an overlap outside [0, 1).
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.25,
        sw_batch_size: int = 1,
        mode: str = "gaussian",
        air: float | None = None,
        margin: int = 8,
        dtype: torch.dtype = torch.float16,
        device: str | torch.device | None = None,
        autocast: bool = False,
    ) -> None:
        super().__init__()
        self.roi_size = tuple(int(size) for size in roi_size)
        if len(self.roi_size) != 3 or min(self.roi_size) < 1:
            raise UsageError(
                "three sizes of a window, of 1 voxel or more", got=str(roi_size), advice="Set roi_size."
            )
        if not 0 <= overlap < 1:
            raise UsageError("an overlap from 0 to below 1", got=str(overlap), advice="Set overlap.")
        self.overlap, self.sw_batch_size, self.mode = overlap, sw_batch_size, mode
        self.air, self.margin = air, margin
        self.dtype, self.device, self.autocast = dtype, device, autocast

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits (B, labels, x, y, z) of volumes (B, C, x, y, z); 1 for label 0 where no window lies.

        Further arguments are ignored: see medseg.inference.inferers.

        Raises:
            UsageError: inputs without five axes.
            MedsegError: the network's output is infinite or NaN.
        """
        if inputs.ndim != 5:
            raise UsageError(
                "volumes (B, C, x, y, z)",
                got=f"shape {tuple(inputs.shape)}",
                advice="Add the missing axes, as in image[None].",
            )

        def run(windows: torch.Tensor) -> torch.Tensor:
            return network(windows)

        with torch.autocast("cuda", torch.float16, enabled=self.autocast and inputs.is_cuda):
            # A slice of a MetaTensor costs a hundred times what a tensor's does.
            plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
            return torch.stack([self._volume(image, run) for image in plain])

    def _volume(self, image: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        cells = _cells_above_air(image, self.air)
        box = _box(cells, image.shape[1:], self.margin)
        layout = _layout(box, image.shape[1:], self.roi_size, self.overlap)
        part, before = _padded(image[(slice(None), *layout.box)], layout.shape)
        wanted = _wanted(layout, cells, self.margin)
        device = torch.device(self.device or image.device)
        weight = compute_importance_map(layout.window, self.mode, 0.125, device, torch.float32)
        outputs = self._run_all(part, wanted, layout.window, run)
        scores = _blend(outputs, layout, image.shape[1:], weight, self.dtype)
        return scores[(slice(None), *_at(before, image.shape[1:]))]

    def _run_all(
        self,
        part: torch.Tensor,
        wanted: Iterable[tuple[int, ...]],
        window: tuple[int, ...],
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """The place of each wanted window, and its logits (labels, *window) in float32."""
        for places in _batches(wanted, self.sw_batch_size):
            windows = torch.stack([part[(slice(None), *_at(place, window))] for place in places])
            outputs = run(windows).float()
            if not bool(torch.isfinite(outputs).all()):
                # The label of NaN logits would be background: the mask would be empty without any error.
                raise MedsegError(
                    "a network with finite outputs",
                    got="infinite outputs or NaN",
                    advice="Check the weights; on a GPU, set autocast to false, or use --device cpu.",
                )
            yield from zip(places, outputs, strict=True)


def _cells_above_air(image: torch.Tensor, air: float | None) -> torch.Tensor:
    """(cells along x, y, z) bool: whether a cell of an image (C, x, y, z) is above air in any channel."""
    if air is None:
        return torch.ones([math.ceil(size / CELL) for size in image.shape[1:]], dtype=torch.bool)
    means = functional.avg_pool3d(image[None].float(), CELL, ceil_mode=True)[0]
    # A comparison with NaN is False, so a cell of NaN is above air.
    return ~(means <= air).all(dim=0).cpu()


def _box(cells: torch.Tensor, shape: Sequence[int], margin: int) -> Box:
    """The smallest box around all cells above air, with a margin; the whole volume if there are none."""
    if not cells.any():
        return _slices((0, size) for size in shape)
    ends = []
    for axis, size in enumerate(shape):
        others = [other for other in range(3) if other != axis]
        found = cells.any(dim=others[1]).any(dim=others[0]).nonzero()
        ends.append((int(found[0]) * CELL - margin, (int(found[-1]) + 1) * CELL + margin))
        ends[-1] = (max(0, ends[-1][0]), min(size, ends[-1][1]))
    return _slices(ends)


def _layout(box: Box, shape: Sequence[int], window: tuple[int, ...], overlap: float) -> Layout:
    """Place windows over a box, which grows to a window's size where the volume has room for it.

    Along an axis where the whole volume takes no more windows than the box does, they cover the whole volume,
    in MONAI's places.
    """
    ends, starts = [], []
    for part, size, voxels in zip(box, shape, window, strict=True):
        length = part.stop - part.start
        if len(_starts(size, voxels, overlap)) == len(_starts(length, voxels, overlap)):
            length = size
        room = min(max(length, voxels), size)
        first = min(max(0, part.start - (room - length) // 2), size - room)
        ends.append((first, first + room))
        starts.append(_starts(room, voxels, overlap))
    return Layout(_slices(ends), window, tuple(starts))


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """As in MONAI's dense_patch_slices: a fixed step, and the last window ends where the image ends."""
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return [min(index * step, length - window) for index in range(math.ceil((length - window) / step) + 1)]


def _wanted(layout: Layout, cells: torch.Tensor, margin: int) -> list[tuple[int, ...]]:
    """Places of the windows with cells above air in or around them, by the last axis; at least one."""
    places = [place[::-1] for place in itertools.product(*reversed(layout.starts))]
    wanted = []
    for place in places:
        near = []
        for start, size, part in zip(place, layout.window, layout.box, strict=True):
            first = max(0, part.start + start - margin) // CELL
            near.append(slice(first, math.ceil((part.start + start + size + margin) / CELL)))
        if cells[tuple(near)].any():
            wanted.append(place)
    return wanted or places[:1]


def _blend(
    outputs: Iterable[tuple[tuple[int, ...], torch.Tensor]],
    layout: Layout,
    shape: Sequence[int],
    weight: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Weighted means of the windows' logits in a volume of this shape, or of a window's where that is longer.

    Windows come in the order of the last axis. Sums cover one window's length along it: planes before the
    next window are finished, and are converted to `dtype`.
    """
    width = layout.window[2]
    scores = target = sums = torch.empty(0)
    first = 0  # plane of the box that the sums begin with
    for place, logits in outputs:
        if not len(scores):
            labels = len(logits)
            whole = (max(pair) for pair in zip(shape, layout.window, strict=True))
            scores = torch.zeros((labels, *whole), dtype=dtype, device=weight.device)
            scores[0] = 1
            target = scores[(slice(None), *_at([part.start for part in layout.box], layout.shape))]
            # The weights' own sum is the last channel.
            sums = torch.zeros((labels + 1, *layout.shape[:2], width), device=weight.device)
        if place[2] > first:
            _finish(sums, target[..., first:], place[2] - first)
            first = place[2]
        across = (slice(None), *_at(place, layout.window)[:2])
        sums[across][:-1].addcmul_(logits.to(weight.device), weight)
        sums[across][-1] += weight
    _finish(sums, target[..., first:], width)
    return scores


def _finish(sums: torch.Tensor, target: torch.Tensor, count: int) -> None:
    """Write the first `count` planes of the sums as means, and move the sums on by as many planes."""
    done = sums[..., : min(count, sums.shape[3])]
    means, weights = done[:-1], done[-1:]
    seen = weights > 0
    means /= weights.clamp(min=torch.finfo(weights.dtype).tiny)
    planes = target[..., : done.shape[3]]
    # In most cases windows cover all voxels, and torch.where, which takes much memory, is not needed.
    planes.copy_(means if bool(seen.all()) else torch.where(seen, means, planes.float()))
    kept = sums[..., done.shape[3] :].clone()
    sums[..., : kept.shape[3]] = kept
    sums[..., kept.shape[3] :] = 0


def _padded(image: torch.Tensor, shape: tuple[int, ...]) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The image with zeros (air) on both sides up to the shape that windows need; and the zeros before it."""
    missing = [wanted - size for wanted, size in zip(shape, image.shape[1:], strict=True)]
    ends = [end for size in reversed(missing) for end in (size // 2, size - size // 2)]
    return functional.pad(image, ends), tuple(size // 2 for size in missing)


def _at(place: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(place, window, strict=True))


def _slices(ends: Iterable[tuple[int, int]]) -> Box:
    first, second, third = (slice(start, stop) for start, stop in ends)
    return first, second, third


def _batches(items: Iterable[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
