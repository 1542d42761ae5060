"""Slices of a volume in radiological convention, for any orientation of its array.

The patient's right is on the left of an axial or coronal slice; the front is at the top of an axial slice and
on the left of a sagittal one; the head is at the top of a coronal or sagittal one. Proportions are true in mm
along the array's own axes. An oblique array is shown along its nearest axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from medseg.errors import MedsegError, UnsuitableError
from medseg.volume import Mask, Window, nearest_axes

PLANES = ("axial", "coronal", "sagittal")
OBLIQUE_DEGREES = 5.0  # from this angle on, a note tells that the letters are only approximate

EXTREMES = (0.5, 99.5)  # percentiles of the values, used if a task defines no window

_BLOCK = 255  # number of planes whose counts fit into a byte
_FEW = 8  # labels below this are searched one by one
# The axes of a displayed volume run towards feet, back and left; each is an axis of RAS+ and its direction.
_TOWARDS = ((2, -1), (1, -1), (0, -1))
# The letters at the left, right, top and bottom border of each plane.
_LETTERS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


@dataclass(frozen=True, eq=False)
class Displayed:
    """A volume reoriented for display; its arrays are views of the originals.

    Attributes:
        image: the values; axes run from head to feet, front to back, right to left.
        labels: the mask on the same grid.
        affine: 4x4, displayed index to RAS+ mm.
        flipped: for each displayed axis, whether it runs against the array's own axis.
        window: the range of values that is shown.
    """

    image: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    flipped: tuple[bool, ...]
    window: Window

    @property
    def spacing_mm(self) -> np.ndarray:
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def extent_mm(self) -> np.ndarray:
        return self.spacing_mm * self.labels.shape

    @property
    def tilt_degrees(self) -> float:
        """The largest angle between an axis of the array and the patient's axis that it stands for."""
        cosines = [-self.affine[axis, n] / self.spacing_mm[n] for n, (axis, _) in enumerate(_TOWARDS)]
        return float(np.degrees(np.arccos(np.clip(min(cosines), -1, 1))))


@dataclass(frozen=True, eq=False)
class View:
    """One slice, ready for display.

    Attributes:
        plane: axial, coronal or sagittal.
        grey: (row, column) uint8, the values in the window, or as they were encoded.
        labels: (row, column), the labels on the same pixels.
        mm_per_px: the size of a pixel, the same in both directions.
        letters: the directions at the left, right, top and bottom border.
        number: the number of the slice, from 1, in the order of the array.
        count: the number of slices along this axis.
        z_mm: z of an axial slice's centre in RAS+; None for other planes.
    """

    plane: str
    grey: np.ndarray
    labels: np.ndarray
    mm_per_px: float
    letters: str
    number: int
    count: int
    z_mm: float | None

    @property
    def caption(self) -> str:
        where = "" if self.z_mm is None else f", z = {round(self.z_mm, 1) + 0.0:.1f} mm"
        return f"{self.plane.capitalize()}, slice {self.number} of {self.count}{where}"


def to_displayed(image: np.ndarray, mask: Mask, window: Window | None = None) -> Displayed:
    """Reorient a volume and its mask for display.

    Args:
        image: (1, i, j, k).
        mask: (i, j, k), the labels on its grid, with the affine.
        window: the range of values that is shown; None for all but the extremes.

    Raises:
        UnsuitableError: the image has more than one channel, or the mask has no affine.
        MedsegError: the mask is on another grid.
    """
    if image.ndim != 4 or image.shape[0] != 1 or mask.affine is None:
        raise UnsuitableError(
            "a volume of shape (1, i, j, k) and the affine of its mask",
            got=f"shape {image.shape}" + " and no affine" * (mask.affine is None),
            advice="Choose one channel, and read the volume with its geometry.",
        )
    if image.shape[1:] != mask.array.shape:
        raise MedsegError(
            f"a mask on the volume's grid, shape {image.shape[1:]}",
            got=f"shape {mask.array.shape}",
            advice="Pass the mask that belongs to this volume.",
        )
    axes, backwards = nearest_axes(mask.affine)
    # The displayed axes run from the head down, from the front backwards and from right to left.
    order, flipped = axes[::-1], tuple(not down for down in backwards[::-1])
    labels = mask.array.view(np.uint8) if mask.array.dtype == bool else mask.array
    turn = np.eye(4)
    turn[:3, :3] = 0
    for n, (axis, flip) in enumerate(zip(order, flipped, strict=True)):
        turn[axis, n] = -1 if flip else 1
        turn[axis, 3] = labels.shape[axis] - 1 if flip else 0
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    return Displayed(
        image[0].transpose(order)[steps],
        labels.transpose(order)[steps],
        mask.affine @ turn,
        flipped,
        window or _window_of(image),
    )


def _window_of(image: np.ndarray) -> Window:
    """A window over the percentiles EXTREMES; values beyond them are mostly noise or padding."""
    values = image[0, ::4, ::4, ::4]
    low, high = np.percentile(values[np.isfinite(values)] if np.isfinite(values).any() else [0, 1], EXTREMES)
    return Window("Window", (low + high) / 2, max(high - low, 1e-6))


def label_profiles(labels: np.ndarray) -> dict[int, tuple[np.ndarray, ...]]:
    """The number of voxels of each label in each slice along each axis; absent labels are left out.

    Counted plane by plane in the order of the memory: a CT of 600 slices takes a tenth of a second.
    """
    order = sorted(range(3), key=lambda axis: -abs(labels.strides[axis]))
    planes = labels.transpose(order)
    profiles: dict[int, tuple[np.ndarray, ...]] = {}
    for start in range(0, len(planes), _BLOCK):
        seen: dict[int, np.ndarray] = {}  # label to the number of planes in the block that have it at a pixel
        for n, plane in enumerate(planes[start : start + _BLOCK], start):
            for value in values_in(plane):
                here = plane == value
                new = tuple(np.zeros(length, np.int64) for length in labels.shape)
                profiles.setdefault(value, new)[order[0]][n] = np.count_nonzero(here)
                seen.setdefault(value, np.zeros(plane.shape, np.uint8))[...] += here
        for value, depth in seen.items():
            profiles[value][order[1]][:] += depth.sum(axis=1, dtype=np.int64)
            profiles[value][order[2]][:] += depth.sum(axis=0, dtype=np.int64)
    return profiles


def values_in(labels: np.ndarray) -> list[int]:
    """The labels that occur in an integer array, in ascending order, without 0."""
    highest = int(labels.max(initial=0))
    if highest < _FEW:  # counting all values makes a copy with 8 bytes per voxel
        return [value for value in range(1, highest + 1) if (labels == value).any()]
    return (np.flatnonzero(np.bincount(labels.ravel(order="K"))[1:]) + 1).tolist()


def slices_with_most_labels(
    profiles: Mapping[int, tuple[np.ndarray, ...]], shape: tuple[int, ...]
) -> tuple[int, ...]:
    """For each axis, the slice that shows most of the labels; the middle slice if there are no labels.

    The area of a label is divided by the square root of its largest area, so that a small label, such as an
    airway, influences the choice but does not outweigh the large ones.
    """
    chosen = []
    for axis, length in enumerate(shape):
        areas = [profile[axis] for profile in profiles.values()]
        shown = sum((area / np.sqrt(area.max()) for area in areas), np.zeros(length))
        best = np.flatnonzero(shown == shown.max())
        chosen.append(int(best[len(best) // 2]))  # the middle one of equals
    return tuple(chosen)


def cut(
    volume: Displayed,
    plane: str,
    index: int,
    mm_per_px: float,
    encode: Callable[[np.ndarray], np.ndarray] | None = None,
) -> View:
    """One slice, resampled to square pixels: values linearly, labels to the nearest pixel.

    Args:
        volume: the displayed volume.
        plane: axial, coronal or sagittal.
        index: the slice along that plane's displayed axis.
        mm_per_px: the size of a pixel of the view.
        encode: from values to uint8; None for grey in the volume's window.
    """
    axis = PLANES.index(plane)
    here = (slice(None),) * axis + (index,)  # not take(), which copies the whole volume
    count = volume.labels.shape[axis]
    size_mm = np.delete(volume.extent_mm, axis)
    rows, columns = (max(1, round(length / mm_per_px)) for length in size_mm.tolist())
    centre = [(n - 1) / 2 for n in volume.labels.shape]
    centre[axis] = index
    values = encode(volume.image[here]) if encode else to_grey(volume.image[here], volume.window)
    return View(
        plane=plane,
        grey=_resize(values, rows, columns),
        labels=_nearest(volume.labels[here], rows, columns),
        mm_per_px=mm_per_px,
        letters=_LETTERS[plane],
        number=count - index if volume.flipped[axis] else index + 1,
        count=count,
        z_mm=float((volume.affine @ [*centre, 1])[2]) if plane == "axial" else None,
    )


def to_grey(values: np.ndarray, window: Window) -> np.ndarray:
    """Scale values in the window to 0 to 255; NaN becomes 0."""
    scaled = (values.astype(np.float32) - (window.centre - window.width / 2)) * (255 / window.width)
    if not np.issubdtype(values.dtype, np.integer):
        scaled = np.nan_to_num(scaled, nan=0.0)
    return scaled.clip(0, 255).round().astype(np.uint8)


def _resize(grey: np.ndarray, rows: int, columns: int) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(grey))
    # Linear, because cubic filters overshoot and draw a false bright rim along the lungs.
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR))


def _nearest(labels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Labels at the centres of rows x columns pixels, at the pixel positions that Pillow uses."""
    row = ((np.arange(rows) + 0.5) * labels.shape[0] / rows).astype(int)
    column = ((np.arange(columns) + 0.5) * labels.shape[1] / columns).astype(int)
    return np.ascontiguousarray(labels).take(row, axis=0).take(column, axis=1)
