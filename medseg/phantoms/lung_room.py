"""The state of the lungs while they are painted, and the tissues that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.phantoms.anatomy import Person
from medseg.phantoms.canvas import Box, Canvas, Grid, Noise, chunks
from medseg.phantoms.thorax import TISSUES

LUNG_TISSUES = tuple(
    TISSUES[n] for n in (
        "lung", "lung_vessel", "lung_airway", "airway_wall", "consolidation", "ground_glass", "fibrosis",
        "emphysema", "atelectasis", "nodule",
    )
)  # fmt: skip


@dataclass(eq=False)
class Lung:
    """The lungs while they are painted; all arrays (i, j, k) cover `box` only.

    Attributes:
        canvas: the whole grid.
        person: the shapes.
        noise: on the canvas' grid.
        random: the source of all random numbers.
        down: (3,) unit vector of gravity in anatomy coordinates.
        contrast_hu: enhancement of blood by contrast medium.
        box: the part of the canvas that the arrays cover.
        room: signed distance in mm to the border of the pleural cavity.
        edge: signed distance in mm to the border of the lung in it.
        right: bool, True where the right lung is nearer than the left.
        hu: attenuation of lung tissue.
        code: uint8, the tissue code of lung or of a disease.
        targets: (side, lobe) to (n, 3) points in it, in mm.
        lesions: properties of the lesions so far.
        fissures: (3,): of the oblique fissure z in mm at y = 0 and the slope; of the minor fissure z in mm.
    """

    canvas: Canvas
    person: Person
    noise: Noise
    random: np.random.Generator
    down: np.ndarray
    contrast_hu: float
    box: Box
    room: np.ndarray
    edge: np.ndarray
    right: np.ndarray
    hu: np.ndarray
    code: np.ndarray
    targets: dict[tuple[int, str], np.ndarray]
    lesions: list[dict[str, Any]]
    fissures: np.ndarray

    @property
    def grid(self) -> Grid:
        return self.canvas.grid

    def parts(self) -> Iterator[tuple[Box, Box]]:
        """Chunks of `box`, each as a box of the canvas and as a box of the lung's arrays."""
        for part in chunks(self.box):
            first, second, third = (
                slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, self.box, strict=True)
            )
            yield part, (first, second, third)
