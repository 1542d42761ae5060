"""Volume and Mask: what every reader returns and every writer takes.

One convention for the whole package. Pictures have axes (row, column), row 0 on top. Volumes have
axes (i, j, k) in the order in which the file stores them, as nibabel does, and an affine that maps
(i, j, k) to millimetres in RAS+: x grows towards the patient's right, y towards the front
(anterior), z towards the head (superior). An image adds a channel axis in front: (C, row, column)
or (C, i, j, k).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Volume:
    """An image as it was read, before any change of values or grid.

    Attributes:
        array: (C, row, column) or (C, i, j, k), in the data type of the file.
        affine: 4x4, voxel index to RAS+ mm; None for a picture.
        source: the path that it came from.
        warnings: what the reader noticed and the user should know; empty when nothing is odd.
    """

    array: np.ndarray
    affine: np.ndarray | None = None
    source: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Mask:
    """Labels on the grid of the source image.

    Attributes:
        array: (row, column) or (i, j, k), unsigned integers; the value is the label.
        labels: value to name, 0 (background) included.
        affine: 4x4, voxel index to RAS+ mm; None for a picture.
        pixel_spacing_mm: (row, column) size of a picture's pixel in mm; None when unknown.
        source: the path of the image that was segmented.
    """

    array: np.ndarray
    labels: dict[int, str] = field(default_factory=dict)
    affine: np.ndarray | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    source: str = ""

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """The size of a voxel along each array axis in mm; None when it can't be known."""
        if self.affine is None:
            return self.pixel_spacing_mm
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
