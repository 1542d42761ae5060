"""Instances: connected components of a label, those that touch split, the small ones left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medseg.errors import BundleError
from medseg.volume import Mask

SMALLEST = 3  # voxels along each axis: what is smaller than a cube of these has no shape
NECK = 0.6  # of the narrower part's width: a neck narrower than this separates two objects
LEAST_RADIUS = 3.0  # voxels: narrower parts are roughness of the border


@dataclass(frozen=True)
class InstanceRule:
    """What counts as one instance of a label; `instances` in a bundle's inference.yaml.

    Attributes:
        min_px: the least area of an instance in a picture; None for a square of SMALLEST px.
        min_ml: the least volume of an instance in a volume; None for a cube of SMALLEST voxels.
        split_touching: whether objects that touch are split at their necks; see `split`.

    Raises:
        BundleError: a least size that is not a number from 0.
    """

    min_px: float | None = None
    min_ml: float | None = None
    split_touching: bool = True

    def __post_init__(self) -> None:
        for name in ("min_px", "min_ml"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | float) or not 0 <= value < np.inf):
                raise BundleError(
                    f"a number from 0 for instances::{name}", got=f"{value}", advice=f"Correct {name}."
                )

    def least_voxels(self, mask: Mask) -> float:
        """The least size of an instance of this mask, in its pixels or voxels."""
        smallest = SMALLEST**mask.array.ndim
        if mask.affine is None:
            return smallest if self.min_px is None else self.min_px
        return smallest if self.min_ml is None else self.min_ml / voxel_ml(mask)


def voxel_ml(mask: Mask) -> float:
    """Volume of a voxel, by the determinant: slices of a tilted gantry are sheared."""
    return abs(float(np.linalg.det(np.asarray(mask.affine)[:3, :3]))) / 1000


def numbered(mask: np.ndarray) -> np.ndarray:
    """Number the connected components of a mask by size, from 1; equal ones stay in memory order.

    Args:
        mask: bool, (row, column) or (i, j, k). Voxels that share a face, an edge or a corner are connected.

    Returns:
        Component numbers of the mask's shape, 0 for the background, in the smallest unsigned type.
    """
    box, components = _components(mask)
    return _placed(_by_size(components), box, mask.shape)


def instances(mask: Mask, label: int, rule: InstanceRule) -> tuple[np.ndarray, int]:
    """Number the objects of a label by size, from 1.

    Args:
        mask: (row, column) or (i, j, k).
        label: the value of the label.
        rule: what counts as one.

    Returns:
        Numbers of the mask's shape, 0 for the background, in the smallest unsigned type; and how many of
        them, the first ones, are instances. The rest are too small.
    """
    box, objects = _components(mask.array == label)
    least = rule.least_voxels(mask)
    if rule.split_touching:
        objects = _split_all(objects, mask.spacing_mm or (1.0,) * mask.array.ndim, least)
    numbers = _by_size(objects)
    sizes = np.bincount(numbers.ravel())[1:]
    return _placed(numbers, box, mask.array.shape), int((sizes >= least).sum())


def numbers_of(segmented: Mask, category: str) -> np.ndarray:
    """The numbers of one category's segments in the mask of a mode that numbers objects.

    Returns:
        Numbers of the mask's shape, from 1 in the order of its values, 0 elsewhere.
    """
    categories = segmented.segments.category if segmented.segments else {}
    own = [value for value, name in categories.items() if name == category]
    number = np.zeros(int(segmented.array.max(initial=0)) + 1, np.min_scalar_type(len(own)))
    number[own] = np.arange(1, len(own) + 1)
    return number[segmented.array]


def split(component: np.ndarray, spacing: tuple[float, ...], least: float = 0) -> np.ndarray:
    """Split a connected component where it narrows to a neck between two objects.

    A watershed of the depth, the distance to the background, from one marker for each object. An object is a
    maximum of the depth from which every way to a deeper one leads through a depth below NECK times its own:
    the h-maxima (Soille, Morphological Image Analysis, 2003) of the depth's logarithm with h = -log(NECK). A
    round, oval or bean-shaped object has no such neck, whatever its size. Parts of less than LEAST_RADIUS
    voxels in depth, or less than `least` in size, stay with their neighbour.

    Args:
        component: (row, column) or (i, j, k) bool, with a margin of False.
        spacing: size of a voxel along each axis.
        least: the least number of voxels of a part.

    Returns:
        Numbers of the parts from 1, 0 outside the component.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    depth = distance_transform_edt(component, sampling=spacing)
    markers = _markers(depth, component, LEAST_RADIUS * min(spacing))
    while markers.max() > 1:
        parts: np.ndarray = watershed(-depth, markers, mask=component)
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.min() >= least:
            return parts
        markers[markers == sizes.argmin() + 1] = 0
        markers = np.searchsorted(np.unique(markers), markers)
    return component.astype(np.int32)


def _markers(depth: np.ndarray, component: np.ndarray, least: float) -> np.ndarray:
    """The maxima of the depth that no neck separates from a deeper one, numbered from 1."""
    from scipy.ndimage import label
    from skimage.morphology import local_maxima, reconstruction

    height = np.log(depth, where=component, out=np.full(depth.shape, np.log(least / 4)))
    lowered = reconstruction(height + np.log(NECK), height)
    is_top = local_maxima(lowered) & component & (lowered >= np.log(least * NECK))
    numbers: np.ndarray = label(is_top, np.ones((3,) * depth.ndim))[0]
    return numbers


def _split_all(components: np.ndarray, spacing: tuple[float, ...], least: float) -> np.ndarray:
    """Split each component of at least two least sizes; the parts get further numbers."""
    count = int(components.max(initial=0))
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    objects = components.astype(np.int32)
    if not count:
        return objects
    for number, box in _boxes(components):
        if sizes[number] < 2 * max(least, SMALLEST**components.ndim):
            continue
        parts = split(np.pad(components[box] == number, 1), spacing, least)
        own = parts[(slice(1, -1),) * components.ndim]
        objects[box][own > 1] = count + own[own > 1] - 1
        count += int(own.max()) - 1
    return objects


def _boxes(components: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...]]]:
    from scipy.ndimage import find_objects

    yield from enumerate(find_objects(components), start=1)


def _components(mask: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """The bounding box of a mask, and the numbers of its connected components in that box."""
    from scipy.ndimage import find_objects, label  # cc3d fails on checkerboards, and in 2D at corners

    if not mask.any():
        return (slice(0, 0),) * mask.ndim, np.zeros((0,) * mask.ndim, np.uint8)
    (box,) = find_objects(mask.view(np.uint8))
    return box, label(mask[box], np.ones((3,) * mask.ndim))[0]


def _by_size(components: np.ndarray) -> np.ndarray:
    """The components renumbered, the largest first, in the smallest unsigned type."""
    count = int(components.max(initial=0))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.min_scalar_type(count))
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return number[components]


def _placed(numbers: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, numbers.dtype)
    whole[box] = numbers
    return whole
