"""Binary volumes: connected components, block means, distances and closings with a radius in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.boxes import Box

FAR = 2**14  # squared voxels: more than any distance that MOST_STEPS allows
MOST_STEPS = 40  # voxels: longer distances are left to the edt library
ROUNDING = 1e-3  # of a voxel


def components(mask: np.ndarray, *, in_plane: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Label the connected components (6-connected) of a mask, numbered in the order of their first voxels.

    Args:
        mask: (i, j, k) bool.
        in_plane: label each axial slice by itself.

    Returns:
        (i, j, k) component numbers, 0 for the background; (n + 1,) sizes in voxels, the background's first.
    """
    numbers, count = numbered(mask, in_plane=in_plane)
    if in_plane:
        flat = numbers.ravel()
        sizes = np.bincount(flat[np.flatnonzero(flat)], minlength=count + 1)
    else:
        starts, lengths = _runs(mask)
        sizes = np.bincount(numbers.ravel()[starts], lengths, count + 1).astype(np.int64)
    sizes[0] = mask.size - sizes[1:].sum()
    return numbers, sizes


def big_components(mask: np.ndarray, least: float) -> list[tuple[np.ndarray, Box]]:
    """The connected components of at least `least` voxels: the bounding box of each and the mask in it."""
    numbers, count = numbered(mask)
    starts, lengths = _runs(mask)
    of_run = numbers.ravel()[starts]
    sizes = np.bincount(of_run, lengths, count + 1)
    found = []
    for number in np.flatnonzero(sizes >= least):
        own = np.flatnonzero(of_run == number)
        x, y, z = np.unravel_index(starts[own], mask.shape)
        ends = (x + 1, y + 1, z + lengths[own])
        box = tuple(slice(int(low.min()), int(high.max())) for low, high in zip((x, y, z), ends, strict=True))
        found.append((numbers[box] == number, box))
    return found


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs of True voxels along the last axis: flat index of the first voxel, and length.

    There are far fewer runs than voxels, and each run lies in one component.
    """
    first, last = mask.copy(), mask.copy()
    np.greater(mask[..., 1:], mask[..., :-1], out=first[..., 1:])
    np.greater(mask[..., :-1], mask[..., 1:], out=last[..., :-1])
    starts = np.flatnonzero(first)
    return starts, np.flatnonzero(last) - starts + 1


def numbered(mask: np.ndarray, *, in_plane: bool = False, corners: bool = False) -> tuple[np.ndarray, int]:
    """Label the connected components of a mask, as `components` does, and count them.

    Args:
        mask: (i, j, k) bool.
        in_plane: label each axial slice by itself.
        corners: voxels that share an edge or a corner are connected too (26-connectivity).

    Returns:
        (i, j, k) component numbers, 0 for the background; the number of components.
    """
    import cc3d

    mask = np.ascontiguousarray(mask)
    if in_plane:  # cc3d doesn't connect voxels with different values
        mask = mask * (1 + np.arange(mask.shape[2]) % 2).astype(np.uint8)
    return cc3d.connected_components(mask, connectivity=26 if corners else 6, return_N=True)


def chosen(numbers: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The mask of the components for which `which`, (n + 1,) bool, is True; faster than which[numbers]."""
    few = np.flatnonzero(which)
    if len(few) > 8:
        return which[numbers]
    mask = np.zeros(numbers.shape, dtype=bool)
    for number in few:
        mask |= numbers == number
    return mask


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a mask (i, j, k) bool; an empty mask stays empty."""
    numbers, sizes = components(mask)
    sizes[0] = 0
    return numbers == sizes.argmax() if sizes.any() else mask


def dilated(mask: np.ndarray, turns: int = 1) -> np.ndarray:
    """Dilate (i, j, k) bool by the six neighbours of a voxel, `turns` times; faster than scipy's."""
    for _ in range(turns):
        grown = mask.copy()
        for axis in range(3):
            before, after = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
            after[1:] |= before[:-1]
            after[:-1] |= before[1:]
        mask = grown
    return mask


def coarse(array: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """Means over blocks of `step` voxels, float32; the blocks at the far faces repeat the last voxels."""
    means = np.empty([-(-size // s) for size, s in zip(array.shape, step, strict=True)], dtype=np.float32)
    for number in range(len(means)):  # layer by layer, which fits the processor's cache
        sums = array[number * step[0] : (number + 1) * step[0]].astype(np.float32)
        for axis, s in enumerate(step):
            sums = _block_sums(sums, s, axis)
        means[number] = sums[0]
    means /= np.float32(np.prod(step))
    return means


def _block_sums(array: np.ndarray, step: int, axis: int) -> np.ndarray:
    if step == 1:
        return array
    before = (slice(None),) * axis
    sums = array[(*before, slice(None, None, step))].copy()
    for start in range(1, step):
        part = array[(*before, slice(start, None, step))]
        count = part.shape[axis]
        sums[(*before, slice(count))] += part
        sums[(*before, slice(count, None))] += array[(*before, slice(-1, None))]
    return sums


def fine(array: np.ndarray, step: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Upsample block means to `shape` by linear interpolation between the centres of the blocks; float32."""
    values = np.empty(shape, dtype=np.float32)
    places = [_places(*sizes) for sizes in zip(shape, step, array.shape, strict=True)]
    for number, (low, high, weight) in enumerate(zip(*places[0], strict=True)):
        plane = array[low] + weight * (array[high] - array[low])
        for axis, (lows, highs, weights) in enumerate(places[1:]):
            below = plane.take(lows, axis)
            above = plane.take(highs, axis)
            above -= below
            above *= weights if axis else weights[:, None]
            plane = np.add(below, above, out=above)
        values[number] = plane
    return values


def _places(size: int, step: int, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each voxel along an axis: the two blocks that it lies between, and the weight of the second."""
    at = np.clip((np.arange(size) + 0.5) / step - 0.5, 0, blocks - 1)
    low = np.minimum(at.astype(int), blocks - 1)
    return low, np.minimum(low + 1, blocks - 1), (at - low).astype(np.float32)


def repeated(array: np.ndarray, step: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Upsample block values to `shape`: each voxel gets the value of its block."""
    for axis in (2, 1, 0):  # the strided copies first, while the array is small
        size, s = shape[axis], step[axis]
        sizes = [size if each == axis else array.shape[each] for each in range(3)]
        copy = np.empty(sizes, dtype=array.dtype)
        before, after = np.moveaxis(array, axis, 0), np.moveaxis(copy, axis, 0)
        for start in range(s):
            part = after[start::s]
            part[...] = before[: len(part)]
        array = copy
    return array


def mean_plane(mask: np.ndarray) -> float:
    """The mean index along the first axis of the True voxels."""
    counts = np.array([np.count_nonzero(plane) for plane in mask])
    return float(counts @ np.arange(len(mask)) / counts.sum())


def holes(mask: np.ndarray) -> np.ndarray:
    """The holes of a mask: background that is not connected to the border of the array; (i, j, k) bool."""
    numbers, _ = numbered(np.pad(~mask, 1, constant_values=True))
    enclosed = numbers[1:-1, 1:-1, 1:-1] != numbers[0, 0, 0]
    enclosed &= ~mask
    return enclosed


def closing_depth_mm(mask: np.ndarray, radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The depth in mm of each voxel inside the closing of a mask by a ball; negative outside the closing.

    The closing is what a ball of this radius can't reach when it rolls along the outside of the mask. Depths
    are limited to the diagonal of a voxel.

    Args:
        mask: (i, j, k) bool.
        radius_mm: of the ball.
        spacing_mm: size of a voxel along i, j and k.

    Returns:
        (i, j, k) float32.
    """
    if not mask.any():
        return np.full(mask.shape, -radius_mm, dtype=np.float32)
    dilated = distance_mm(~mask, spacing_mm, radius_mm) <= radius_mm
    if dilated.all():
        return np.full(mask.shape, radius_mm, dtype=np.float32)
    most_mm = radius_mm + float(np.linalg.norm(spacing_mm))
    depth_mm = distance_mm(dilated, spacing_mm, most_mm)
    depth_mm -= np.float32(radius_mm)
    return np.minimum(depth_mm, np.float32(most_mm - radius_mm), out=depth_mm)


def distance_mm(mask: np.ndarray, spacing_mm: Sequence[float], most_mm: float = np.inf) -> np.ndarray:
    """The Euclidean distance in mm from each voxel of a mask to the nearest voxel outside of it.

    Args:
        mask: (i, j, k) bool.
        spacing_mm: size of a voxel along i, j and k.
        most_mm: longer distances need not be exact, only longer than this; a short limit takes less time.

    Returns:
        (i, j, k) float32; 0 outside the mask, infinite where no voxel is outside.
    """
    if most_mm > MOST_STEPS * min(spacing_mm):
        import edt

        return edt.edt(np.asfortranarray(mask), anisotropy=tuple(spacing_mm), order="F")
    # Squared distances in voxels are whole numbers, and uint16 takes a quarter of the time.
    is_cubic = len(set(spacing_mm)) == 1
    unit_mm, far = (spacing_mm[0], np.uint16(FAR)) if is_cubic else (1.0, np.float32(np.inf))
    squares = np.where(mask, far, far.dtype.type(0))
    for axis, size_mm in enumerate(spacing_mm):
        before = np.moveaxis(squares.copy(), axis, 0)
        after = np.moveaxis(squares, axis, 0)
        for steps in range(1, min(int(most_mm / size_mm + ROUNDING), len(after) - 1) + 1):
            further = before + far.dtype.type((steps * size_mm / unit_mm) ** 2)
            np.minimum(after[steps:], further[:-steps], out=after[steps:])
            np.minimum(after[:-steps], further[steps:], out=after[:-steps])
    distances = squares.astype(np.float32)
    distances[squares >= far] = np.inf
    distances *= np.float32(unit_mm**2)
    return np.sqrt(distances, out=distances)
