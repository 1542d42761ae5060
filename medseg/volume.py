"""Volume and Mask: what every reader returns and every writer takes.

One convention for the whole package. Pictures have axes (row, column), row 0 on top. Volumes have
axes (i, j, k) in the order in which the file stores them, as nibabel does, and an affine that maps
(i, j, k) to millimetres in RAS+: x grows towards the patient's right, y towards the front
(anterior), z towards the head (superior). An image adds a channel axis in front: (C, row, column)
or (C, i, j, k).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medseg.errors import BundleError


@dataclass(frozen=True, eq=False)
class Volume:
    """An image as it was read, before any change of values or grid.

    Attributes:
        array: (C, row, column) or (C, i, j, k), in the data type of the file.
        affine: 4x4, voxel index to RAS+ mm; None for a picture.
        source: the path of the file or the folder.
        headers: for DICOM the data sets without pixels, one per slice along k, or the only one of a
            multi-frame file; empty for other formats. Of a clip, ReferencedFrameNumber says which frame
            it is.
        warnings: what the reader noticed and the user should know; empty when there is nothing to say.
        pixel_spacing_mm: (row, column) size of a picture's pixel in mm; None when unknown.
        region_box: (top, left, height, width) in px of the part of a picture to which pixel_spacing_mm
            applies; None where no single part is declared.
    """

    array: np.ndarray
    affine: np.ndarray | None = None
    source: str = ""
    headers: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    region_box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Segments:
    """What the values of an instance or panoptic mask stand for.

    Attributes:
        category: value to the name of its category, such as lesion.
        is_thing: category to whether it is of things, objects that can be counted; else it is stuff, and all
            of it is one segment. The order is that of the categories' numbers, from 1.
    """

    category: dict[int, str]
    is_thing: dict[str, bool]


@dataclass(frozen=True, eq=False)
class Mask:
    """Labels on the grid of the source image.

    Attributes:
        array: (row, column) or (i, j, k), unsigned integers; the value is the label.
        labels: value to name, 0 (background) included.
        affine: 4x4, voxel index to RAS+ mm; None for a picture.
        pixel_spacing_mm: (row, column) size of a picture's pixel in mm; None when unknown.
        source: the path of the image that was segmented.
        headers: of that image, where it is DICOM; see Volume.
        segments: what the values of an instance or panoptic mask stand for; None where the value is a label.
    """

    array: np.ndarray
    labels: dict[int, str] = field(default_factory=dict)
    affine: np.ndarray | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    source: str = ""
    headers: tuple[Any, ...] = ()
    segments: Segments | None = None

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """The size of a voxel along each array axis in mm; None when it can't be known."""
        if self.affine is None:
            return self.pixel_spacing_mm
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))


@dataclass(frozen=True)
class Window:
    """The display window: the range of values that a screen shows from black to white.

    Attributes:
        name: as the user reads it, such as "Lung window".
        centre, width: of the range, in `unit`; the width is above 0.
        unit: of the values, such as HU; empty for values without a unit.
    """

    name: str
    centre: float
    width: float
    unit: str = ""

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (self.centre, self.width))
        if not numbers or self.width <= 0:
            raise BundleError(
                "a window with a number for its centre and a width above 0",
                got=f"centre {self.centre}, width {self.width}",
                advice="Correct `window` in the bundle's inference.yaml.",
            )

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name}: centre {self.centre:g}{unit}, width {self.width:g}{unit}"


def nearest_axes(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The array axis nearest to each of right, anterior and superior, and whether it runs the other way.

    All six assignments are compared, so that no two directions get the same axis.

    Args:
        affine: 4x4, voxel index to RAS+ mm.

    Returns:
        Three axis numbers, a permutation of 0, 1 and 2; and True for each axis that runs to the left, to the
        back or to the feet.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes = max(
        itertools.permutations(range(3)), key=lambda order: float(np.abs(cosines[range(3), order]).sum())
    )
    return axes, tuple(bool(cosines[world, axis] < 0) for world, axis in enumerate(axes))


def orientation(affine: np.ndarray) -> str:
    """The directions in which i, j and k grow, such as LPS for an axial DICOM series.

    Args:
        affine: 4x4, voxel index to RAS+ mm.
    """
    axes, backwards = nearest_axes(affine)
    letters = [pair[down] for pair, down in zip(("RL", "AP", "SI"), backwards, strict=True)]
    return "".join(letters[axes.index(axis)] for axis in range(3))
