"""Two images on one grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.boxes import bounding_box
from medseg.errors import UnsuitableError
from medseg.volume import Volume

SAME_GRID_MM = 0.01  # the largest distance of two grids' corners that counts as none
ASPECT = 0.01  # the largest relative difference of two pictures' aspect ratios


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images on the grid of the first, cut to the box of their overlap.

    Attributes:
        a, b: (C, row, column) or (C, i, j, k).
        inside: (row, column) or (i, j, k) bool, what is compared; None for all.
        overlap: the share of the first image's voxels that the second one covers, above 0 to 1.
        grid: what was done to the second image, as a sentence.
        warnings: sentences.
    """

    a: np.ndarray
    b: np.ndarray
    inside: np.ndarray | None
    overlap: float
    grid: str
    warnings: tuple[str, ...] = ()


def aligned(a: Volume, b: Volume) -> Pair:
    """Bring the second image to the grid of the first.

    Volumes are resampled linearly to the voxels of the first, where they lie in the patient; only the overlap
    is compared. A picture of another size and the same aspect ratio is resized. Nothing is registered: an
    image that is shifted or turned against the other stays so. Voxels that are no finite number are left out.

    Raises:
        UnsuitableError: a picture and a volume; different numbers of channels; volumes without overlap;
            pictures of different aspect ratios; or no finite values.
    """
    _require_alike(a, b)
    pair = _volumes(a, b) if a.affine is not None and b.affine is not None else _pictures(a, b)
    finite = np.isfinite(pair.a).all(axis=0) & np.isfinite(pair.b).all(axis=0)
    if finite.all():
        return pair
    inside = finite if pair.inside is None else finite & pair.inside
    if not inside.any():
        raise UnsuitableError(
            "images with numbers in the same places",
            got="none that are finite in both",
            advice="Check the files.",
        )
    warning = f"{np.count_nonzero(~finite)} voxels that are no finite number were left out"
    a_values, b_values = (np.where(inside, image, image[:, inside].min()) for image in (pair.a, pair.b))
    return Pair(a_values, b_values, inside, pair.overlap, pair.grid, (*pair.warnings, warning))


def _require_alike(a: Volume, b: Volume) -> None:
    if a.array.ndim != b.array.ndim:
        kinds = ["a picture" if image.array.ndim == 3 else "a volume" for image in (a, b)]
        raise UnsuitableError(
            "two pictures or two volumes",
            got=f"{kinds[0]} and {kinds[1]}",
            advice="Cut the slice out of the volume, save it as a picture, and compare that.",
        )
    if len(a.array) != len(b.array):
        raise UnsuitableError(
            "two images with the same number of channels",
            got=f"{len(a.array)} and {len(b.array)}",
            advice="Convert one of them: a colour picture to grey, or save the grey one in colour.",
        )


def _volumes(a: Volume, b: Volume) -> Pair:
    from scipy.ndimage import affine_transform

    own, other = np.asarray(a.affine), np.asarray(b.affine)
    shape = a.array.shape[1:]
    if shape == b.array.shape[1:] and _same_grid(own, other, shape):
        return Pair(a.array, b.array, None, 1.0, "both lie on the same grid")
    to_b = np.linalg.inv(other) @ own  # from the voxels of the first to those of the second
    inside = _covered(to_b, shape, b.array.shape[1:])
    if not inside.any():
        raise UnsuitableError(
            "volumes that overlap in the patient",
            got="none of the first one's voxels inside the second one",
            advice="Compare volumes of the same region, or register them first.",
        )
    box = bounding_box(inside)
    start = to_b @ [*(part.start for part in box), 1]
    size = tuple(part.stop - part.start for part in box)
    moved = [
        affine_transform(
            channel.astype(np.float32), to_b[:3, :3], start[:3], output_shape=size, order=1, mode="nearest"
        )
        for channel in b.array
    ]
    share = float(inside.mean())
    part = inside[box]
    return Pair(
        a.array[(slice(None), *box)],
        np.stack(moved),
        None if part.all() else part,
        share,
        f"the second was resampled linearly to the grid of the first and covers {share:.1%} of it",
    )


def _pictures(a: Volume, b: Volume) -> Pair:
    from skimage.transform import resize

    wanted, size = a.array.shape[1:], b.array.shape[1:]
    if wanted == size:
        return Pair(a.array, b.array, None, 1.0, "both have the same size")
    texts = [f"{shape[1]} x {shape[0]} px" for shape in (wanted, size)]
    if abs(wanted[0] * size[1] / (wanted[1] * size[0]) - 1) > ASPECT:
        raise UnsuitableError(
            f"pictures of the same aspect ratio, as {texts[0]}",
            got=texts[1],
            advice="Cut both to the same part of the body first.",
        )
    resized = [
        resize(channel.astype(np.float32), wanted, order=1, preserve_range=True, anti_aliasing=wanted < size)
        for channel in b.array
    ]
    grid = f"the second was resized from {texts[1]} to {texts[0]}"
    warning = f"{grid}, which blurs it: the measures are lower than they would be at one size"
    return Pair(a.array, np.stack(resized), None, 1.0, grid, (warning,))


def _same_grid(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> bool:
    corners = np.array(np.meshgrid(*((0, n - 1) for n in shape), [1])).reshape(4, -1)
    return bool(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max() <= SAME_GRID_MM)


def _covered(to_b: np.ndarray, shape: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """Which voxels of the first have their centre inside the second, up to its outer faces."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = np.ones(shape, bool)
    for row, length in zip(to_b[:3], size, strict=True):
        place = sum((step * axis for step, axis in zip(row, axes, strict=False)), np.full((1, 1, 1), row[3]))
        inside &= (place >= -0.5) & (place <= length - 0.5)
    return inside
