"""The lungs while they are being painted, and the tissues that belong to them."""

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
    """The lungs while they are being built; arrays cover `box` only.

    Attributes:
        room: distance in mm to the border of the pleural cavity.
        edge: distance in mm to the border of the lung in it.
        right: bool, nearer to the right lung.
        hu: attenuation of lung tissue.
        code: uint8, what it is: 'lung' or a disease.
        targets: lobe to (n, 3) places in it, in mm.
        lesions: what was put in.
        fissures: of the oblique one z at y = 0 in mm and slope; of the minor one z in mm.
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
        """Pairs of boxes: one of the canvas, the same in the arrays of the lung."""
        for part in chunks(self.box):
            first, second, third = (
                slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, self.box, strict=True)
            )
            yield part, (first, second, third)
