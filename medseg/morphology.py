"""Binary images in 3D: components, coarse copies and closings whose radius is in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.boxes import Box

FAR = 2**14  # voxels squared: beyond any distance that is looked for
MOST_STEPS = 40  # in which a distance is looked for
ROUNDING = 1e-3  # of a step


def components(mask: np.ndarray, *, in_plane: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The component of each voxel, 0 for the background, and the voxels of each; (i, j, k), (n + 1,).

    They are numbered by their first voxels. `in_plane` takes each axial slice by itself.
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
    """The components of at least so many voxels: the mask of each in its smallest box, and that box."""
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
    """The first voxels of all runs along the last axis, as flat places, and how many each has.

    They are far fewer than the voxels, and each lies in one component.
    """
    first, last = mask.copy(), mask.copy()
    np.greater(mask[..., 1:], mask[..., :-1], out=first[..., 1:])
    np.greater(mask[..., :-1], mask[..., 1:], out=last[..., :-1])
    starts = np.flatnonzero(first)
    return starts, np.flatnonzero(last) - starts + 1


def numbered(mask: np.ndarray, *, in_plane: bool = False, corners: bool = False) -> tuple[np.ndarray, int]:
    """As components, with the count of components in place of their sizes.

    Args:
        mask: (i, j, k) bool.
        in_plane: each axial slice by itself.
        corners: voxels that share an edge or a corner hang together too.
    """
    import cc3d

    mask = np.ascontiguousarray(mask)
    if in_plane:  # voxels with different values don't hang together
        mask = mask * (1 + np.arange(mask.shape[2]) % 2).astype(np.uint8)
    return cc3d.connected_components(mask, connectivity=26 if corners else 6, return_N=True)


def chosen(numbers: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The voxels of the components that are True in which, (n + 1,); faster than which[numbers]."""
    few = np.flatnonzero(which)
    if len(few) > 8:
        return which[numbers]
    mask = np.zeros(numbers.shape, dtype=bool)
    for number in few:
        mask |= numbers == number
    return mask


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest component of (i, j, k) bool."""
    numbers, sizes = components(mask)
    sizes[0] = 0
    return numbers == sizes.argmax() if sizes.any() else mask


def dilated(mask: np.ndarray, turns: int = 1) -> np.ndarray:
    """Each voxel of (i, j, k) bool with its six neighbours, `turns` times; faster than scipy's."""
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
    for number in range(len(means)):  # layer by layer, so that all stays in the processor's cache
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
    """Block means back on the grid of `shape`, interpolated linearly between the blocks' centres."""
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
    """For each voxel along an axis the two blocks that it lies between and the share of the second."""
    at = np.clip((np.arange(size) + 0.5) / step - 0.5, 0, blocks - 1)
    low = np.minimum(at.astype(int), blocks - 1)
    return low, np.minimum(low + 1, blocks - 1), (at - low).astype(np.float32)


def repeated(array: np.ndarray, step: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Block values back on the grid of `shape`, each voxel with the value of its block."""
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
    """The mean index along the first axis of the voxels of mask."""
    counts = np.array([np.count_nonzero(plane) for plane in mask])
    return float(counts @ np.arange(len(mask)) / counts.sum())


def holes(mask: np.ndarray) -> np.ndarray:
    """What is not mask and has no way out of the array past it; (i, j, k) bool."""
    numbers, _ = numbered(np.pad(~mask, 1, constant_values=True))
    enclosed = numbers[1:-1, 1:-1, 1:-1] != numbers[0, 0, 0]
    enclosed &= ~mask
    return enclosed


def closing_depth_mm(mask: np.ndarray, radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """How deep each voxel lies in the closing of mask by a ball, in mm; negative outside of it.

    A rolling ball: what a ball of this radius can't reach from outside belongs to the closing. Depths of more
    than a voxel's diagonal are given as that diagonal.
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
    """From each voxel of mask to the nearest one outside of it, float32; infinite where there is none.

    Distances of more than `most_mm` need not be exact, only more than that; short ones take less time.
    """
    if most_mm > MOST_STEPS * min(spacing_mm):
        import edt

        return edt.edt(np.asfortranarray(mask), anisotropy=tuple(spacing_mm), order="F")
    # Squares of voxels are whole numbers, which take a quarter of the time.
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
