"""What is measured of one case of a data set: its grid, its brightness, and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import DataError, MedsegError
from medseg.io import read_mask, read_volume
from medseg.quality.hounsfield import require_hounsfield
from medseg.quality.training_ranges import brightness, require_content
from medseg.volume import Mask, Volume, nearest_axes

SAMPLES = 10_000  # pixels or voxels of a case, of the foreground and of the background each
SAME_PLACE = 0.5  # of a voxel: masks whose corners lie further from the image's are on another grid


@dataclass(frozen=True)
class LabelFigures:
    """One label of one case.

    Attributes:
        voxels: how many pixels or voxels it has, above 0.
        components: how many connected components; they touch by faces, edges or corners.
        smallest: pixels or voxels of the smallest component.
        brighter: for each channel the share of pairs, of a voxel of the label and one beside it, in which
            the label's is brighter (the area under the ROC curve); 0.5 where brightness tells nothing.
    """

    voxels: int
    components: int
    smallest: int
    brighter: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class CaseFigures:
    """One case.

    Attributes:
        shape: (row, column) of a picture; voxels along right, anterior and superior of a volume.
        spacing_mm: size of a pixel or voxel along the same axes; None where it is not known.
        channels: number of channels.
        colourless: whether all channels are the same.
        brightness: medseg.quality.training_ranges.brightness of the image.
        zeros: share of the pixels or voxels that are 0 in all channels.
        is_hounsfield: whether the values are Hounsfield units.
        labels: value to figures, of the labels that the case has.
        samples: (n, C) float32, values of some pixels or voxels.
        sample_labels: (n,), the label of each.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    channels: int
    colourless: bool
    brightness: tuple[float, ...]
    zeros: float
    is_hounsfield: bool
    labels: Mapping[int, LabelFigures]
    samples: np.ndarray
    sample_labels: np.ndarray

    @property
    def foreground_share(self) -> float:
        return sum(label.voxels for label in self.labels.values()) / float(np.prod(self.shape))


def measure_case(item: Mapping[str, Any], modality: str | None, seed: int) -> CaseFigures:
    """Read an item of a manifest and measure it.

    Args:
        item: of medseg.data.manifests.load_items, with `image`, `label` and `labels`.
        modality: the DICOM modality to read; see medseg.io.read_volume.
        seed: of the sample of voxels.

    Raises:
        InputError: the image can't be read, is blank or has values that are no numbers.
        LabelError: see medseg.io.read_mask.
        DataError: the mask is not on the image's grid.
    """
    volume = read_volume(item["image"], modality)
    require_content(volume.array)
    mask = read_mask(item["label"], dict(item["labels"]))
    _require_same_grid(volume, mask)
    shape, spacing_mm = _grid(volume)
    samples, sample_labels = _sample(volume.array, mask.array, seed)
    present = [int(value) for value in np.unique(mask.array) if value]
    return CaseFigures(
        shape,
        spacing_mm,
        len(volume.array),
        len(volume.array) > 1 and bool((volume.array == volume.array[:1]).all()),
        brightness(volume.array),
        float((volume.array == 0).all(axis=0).mean()),
        _is_hounsfield(volume.array),
        {value: _figures(mask.array == value, samples, sample_labels, value) for value in present},
        samples,
        sample_labels,
    )


def _require_same_grid(volume: Volume, mask: Mask) -> None:
    shape = volume.array.shape[1:]
    if mask.array.shape != shape:
        raise DataError(
            f"a mask of the image's size {shape}",
            got=f"one of {mask.array.shape}",
            advice="Pair the image with its own mask.",
        )
    if volume.affine is None or mask.affine is None:
        return
    corners = np.array([[*np.array(shape) * corner, 1] for corner in np.ndindex(2, 2, 2)], float)
    apart_mm = np.linalg.norm(corners @ (volume.affine - mask.affine).T, axis=1).max()
    voxel_mm = np.linalg.norm(volume.affine[:3, :3], axis=0).min()
    if apart_mm > SAME_PLACE * voxel_mm:
        raise DataError(
            "a mask in the image's place",
            got=f"one whose corners lie up to {apart_mm:.3g} mm from the image's",
            advice="Resample the mask to the image's grid.",
        )


def _grid(volume: Volume) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Shape and spacing; of a volume along right, anterior and superior."""
    shape = volume.array.shape[1:]
    if volume.affine is None:
        return shape, volume.pixel_spacing_mm
    axes, _ = nearest_axes(volume.affine)
    sizes = np.linalg.norm(volume.affine[:3, :3], axis=0)
    return tuple(shape[axis] for axis in axes), tuple(float(sizes[axis]) for axis in axes)


def _is_hounsfield(array: np.ndarray) -> bool:
    if array.ndim != 4 or len(array) != 1:
        return False
    try:
        require_hounsfield(array[0])
    except MedsegError:
        return False
    return True


def _sample(array: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, C) and labels (n,) of at most SAMPLES voxels with a label and as many without one."""
    random = np.random.default_rng(seed)
    flat = labels.ravel()
    chosen = []
    for where in (flat > 0, flat == 0):
        places = np.flatnonzero(where)
        chosen.append(random.choice(places, min(SAMPLES, len(places)), replace=False))
    places = np.concatenate(chosen)
    # Not by a flat view of the image: a file's order may be Fortran's, which would copy it.
    values = np.stack([channel[np.unravel_index(places, labels.shape)] for channel in array])
    return values.T.astype(np.float32), flat[places]


def _figures(mask: np.ndarray, samples: np.ndarray, sample_labels: np.ndarray, value: int) -> LabelFigures:
    from scipy.ndimage import find_objects, label

    box = find_objects(mask.view(np.uint8), max_label=1)[0]
    numbers, count = label(mask[box], np.ones((3,) * mask.ndim))
    sizes = np.bincount(numbers.ravel())[1:]
    inside, outside = samples[sample_labels == value], samples[sample_labels == 0]
    brighter = tuple(map(_share_brighter, inside.T, outside.T))
    return LabelFigures(int(sizes.sum()), int(count), int(sizes.min()), brighter)


def _share_brighter(inside: np.ndarray, outside: np.ndarray) -> float:
    """The area under the ROC curve, by ranks (Mann and Whitney, Ann. Math. Statist. 18, 1947)."""
    from scipy.stats import rankdata

    count = len(inside)
    if not count or not len(outside):
        return 0.5
    rank_sum = float(rankdata(np.concatenate([inside, outside]))[:count].sum())
    return (rank_sum - count * (count + 1) / 2) / (count * len(outside))
