"""Left lung, right lung and airway of a chest CT, by thresholds and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medseg.boxes import Box, bounding_box, common, hull, moved, placed, shape_of, widened, within
from medseg.methods.chest.airway import airway
from medseg.methods.chest.body import inside_body
from medseg.methods.chest.border import AIRWAY, scores_of
from medseg.methods.chest.sides import LEFT, RIGHT, cores, side_if_alone, split
from medseg.morphology import (
    big_components,
    closing_depth_mm,
    coarse,
    dilated,
    fine,
    holes,
    mean_plane,
    repeated,
)

RANGE_HU = (-1024, 1024)
THRESHOLD_HU = (-500.0, -300.0)
COARSE_MM = 3.0  # the grid for body, sides and closings, whose shapes are centimetres wide
CLOSING_MM = 8.0  # vessels and nodules up to twice as wide become part of a lung
MIN_LUNG_ML = 20.0
AIRY_HU, GAS_HU = -800, -950
MAX_GAS, MAX_GAS_OF_ALL = 0.8, 0.4  # of the airy voxels, and of all: bowel has more gas, emphysema less
OTHER_LUNG = 0.3  # of the largest component: smaller ones in the lower part of its height are bowel
LOWER_PART = 0.33
NO_LABELS, NOWHERE = np.zeros((0, 0, 0), dtype=np.uint8), (slice(0, 0),) * 3


class ClassicalLungs(torch.nn.Module):
    """The classical method as a network module, also for programs that pass weights and further tensors.

    Args:
        spacing_mm: size of a voxel of the images, the same along each axis.
    """

    def __init__(self, spacing_mm: float) -> None:
        super().__init__()
        self.spacing_mm = (spacing_mm,) * 3

    def forward(self, x: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """Scores (n, 4, i, j, k), float32, of images (n, 1, i, j, k) in HU, RAS+; the highest is the label.

        At the border of air-filled lung they follow the HU: see border.py. Further tensors are ignored: MONAI
        Deploy passes all tensors of the data.
        """
        scores = torch.zeros(len(x), AIRWAY + 1, *x.shape[2:])
        scores[:, 0] = 1
        for image, score in zip(x.cpu().numpy(), scores, strict=True):
            labels, box = found_lungs(image[0], self.spacing_mm)
            score[(slice(None), *box)] = scores_of(labels, image[0][box])
        return scores.to(x.device)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Ignore weights: MONAI Label and Deploy load a bundle's models/model.pt whatever its network is.

        That file holds the weights of the trained network; the rules have none.
        """
        return super().load_state_dict({}, strict, assign)


def lungs(array_hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Label 1 left lung, 2 right lung and 3 airway; all 0 where no lung is found.

    A lung consists of the voxels darker than half-way to tissue, and of the vessels and nodules in it and at
    its border. Large parts filled by fluid or consolidation are not found.

    Args:
        array_hu: (i, j, k) in HU, RAS+: i grows to the patient's right. Made for 1.5 mm, works at 1 to 4 mm.
        spacing_mm: size of a voxel along each axis.

    Returns:
        (i, j, k) uint8.
    """
    labels = np.zeros(array_hu.shape, dtype=np.uint8)
    found, box = found_lungs(array_hu, spacing_mm)
    labels[box] = found
    return labels


def found_lungs(
    array_hu: np.ndarray, spacing_mm: Sequence[float], air: np.ndarray | None = None
) -> tuple[np.ndarray, Box]:
    """As lungs, but only the labels in a box, and that box.

    The box holds all labels with a margin of about a centimetre; it is empty where no lung is found.

    Args:
        array_hu, spacing_mm: as for lungs.
        air: (i, j, k) bool, what is taken for air-filled in the place of what is below the threshold.
    """
    hu = _clipped(array_hu)
    step = _step(spacing_mm)
    blocks = inside_body(coarse(hu, step), _times(step, spacing_mm))
    if not blocks.any():
        return NO_LABELS, NOWHERE
    of_blocks = bounding_box(blocks)
    # All boxes are in voxels of the image. Outside the body's box is neither lung nor airway.
    body = _of_voxels(of_blocks, step, hu.shape)
    inside = repeated(blocks[of_blocks], step, shape_of(body))
    dark = inside & (hu[body] < _threshold_hu(hu[body], inside) if air is None else air[body])
    rough = _lung_components(hu[body], dark, spacing_mm)
    if not rough.any():
        return NO_LABELS, NOWHERE
    lumen, lumen_box = airway(hu[body], inside, rough, spacing_mm)
    tight = bounding_box(rough)
    lines = (slice(None), *tight[1:])
    airway_at = lumen_box[0].start + mean_plane(lumen) if lumen.size else None
    beyond = (body[0].start, hu.shape[0] - body[0].stop)
    alone = side_if_alone(rough[lines], inside[lines], airway_at, beyond)
    lumen_box = moved(lumen_box, body)
    box = widened(moved(tight, body), [round(2 * CLOSING_MM / s) for s in spacing_mm], hu.shape)
    walls = common(widened(lumen_box, (1, 1, 1), hu.shape), box)
    dark = placed(dark, body, box)
    dark[within(walls, box)] &= ~dilated(placed(lumen, lumen_box, walls))
    both = _both(hu[box], dark, alone, spacing_mm)
    if not lumen.size:
        return both, box
    whole = hull(box, lumen_box)
    labels = placed(both, box, whole)
    np.copyto(labels[within(lumen_box, whole)], AIRWAY, where=lumen)
    return labels, whole


def _clipped(array_hu: np.ndarray) -> np.ndarray:
    """Clip to RANGE_HU, int16; plane by plane, which avoids a large temporary copy."""
    hu = np.empty(array_hu.shape, dtype=np.int16)
    for plane, values in zip(hu, array_hu, strict=True):
        plane[...] = np.clip(values, *RANGE_HU)
    return hu


def _threshold_hu(hu: np.ndarray, inside: np.ndarray) -> float:
    """The threshold half-way between the means of the body's voxels below and above it, by iteration.

    The border between two materials is half-way between their values, so a dense lung needs a higher
    threshold. Source: Hu, Hoffman and Reinhardt, IEEE Transactions on Medical Imaging 20, 2001.
    """
    outside = RANGE_HU[1] + 1
    counts = np.zeros(outside - RANGE_HU[0] + 1, dtype=np.int64)
    for plane, mask in zip(hu, inside, strict=True):
        codes = np.where(mask, plane, np.int16(outside)) - RANGE_HU[0]
        counts += np.bincount(codes.ravel(), minlength=len(counts))
    counts = counts[:-1]
    values = np.arange(RANGE_HU[0], RANGE_HU[1] + 1)
    threshold_hu, before = THRESHOLD_HU[1], np.inf  # a dense lung is below the start value, too
    while abs(threshold_hu - before) > 1:
        parts = values < threshold_hu, values >= threshold_hu
        if not all(counts[part].any() for part in parts):
            break
        before = threshold_hu
        threshold_hu = float(np.mean([np.average(values[part], weights=counts[part]) for part in parts]))
    return float(np.clip(threshold_hu, *THRESHOLD_HU))


def _lung_components(hu: np.ndarray, dark: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The components of dark that are lung: neither gas nor bowel below the lungs; (i, j, k) bool."""
    components = []
    for component, box in big_components(dark, MIN_LUNG_ML * 1000 / float(np.prod(spacing_mm))):
        size = np.count_nonzero(component)
        airy, gas = (np.count_nonzero(component & (hu[box] < limit)) for limit in (AIRY_HU, GAS_HU))
        if gas <= MAX_GAS * airy or gas <= MAX_GAS_OF_ALL * size:
            components.append((size, component, box))
    found = np.zeros(dark.shape, dtype=bool)
    if components:
        most, _, (*_, height) = max(components, key=lambda each: each[0])
        lowest = height.start + LOWER_PART * (height.stop - height.start)
        for size, component, box in components:
            if size >= OTHER_LUNG * most or (box[2].start + box[2].stop) / 2 > lowest:
                found[box] |= component
    return found


def _both(hu: np.ndarray, dark: np.ndarray, alone: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """Labels of both lungs, (i, j, k) uint8, from the dark voxels without the airway and its wall, bool."""
    step = _step(spacing_mm)
    lungs = _lung_components(hu, dark, spacing_mm)
    shares = coarse(lungs, step)
    solid = shares > 0.5
    if not solid.any():
        return lungs.astype(np.uint8)
    seeds = cores(solid, alone, _times(step, spacing_mm))
    return closed(split(hu, lungs, seeds, coarse(hu, step), shares, step), spacing_mm)


def closed(sides: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Close both lungs over their vessels, nodules at the pleura and the hilum; (i, j, k) uint8.

    Voxels with other labels than 0 and those of the lungs stay as they are.
    """
    labels = sides.copy()
    free = sides == 0
    reached = [_closing(sides == side, spacing_mm) for side in (LEFT, RIGHT)]
    for side, (depth_mm, box) in zip((LEFT, RIGHT), reached, strict=True):
        np.copyto(labels[box], side, where=free[box] & (depth_mm > 0))
    # Where both closings overlap, the voxel goes to the lung in whose closing it lies deeper.
    meeting = common(*(box for _, box in reached))
    left, right = (depth_mm[within(meeting, box)] for depth_mm, box in reached)
    np.copyto(labels[meeting], LEFT, where=free[meeting] & (left > right) & (left > 0))
    for side in (LEFT, RIGHT):
        part = labels[bounding_box(labels == side)]
        np.copyto(part, side, where=holes(part == side) & (part == 0))
    return labels


def _closing(lung: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, Box]:
    """Depth of voxels in the morphological closing of a lung, in mm, in a box that holds it; and the box."""
    step = _step(spacing_mm)
    coarse_mm = _times(step, spacing_mm)
    blocks = tuple(
        slice(part.start // s, -(-part.stop // s)) for part, s in zip(bounding_box(lung), step, strict=True)
    )
    reach = [1 + math.ceil(CLOSING_MM / size) for size in coarse_mm]
    around = widened(blocks, reach, [-(-size // s) for size, s in zip(lung.shape, step, strict=True)])
    box = _of_voxels(around, step, lung.shape)
    depth_mm = closing_depth_mm(coarse(lung[box], step) > 0.5, CLOSING_MM, coarse_mm)
    return fine(depth_mm, step, shape_of(box)), box


def _of_voxels(blocks: Box, step: Sequence[int], shape: Sequence[int]) -> Box:
    """The box of the voxels of a box of blocks."""
    return tuple(
        slice(part.start * s, min(part.stop * s, size))
        for part, s, size in zip(blocks, step, shape, strict=True)
    )


def _step(spacing_mm: Sequence[float]) -> list[int]:
    return [max(1, round(COARSE_MM / s)) for s in spacing_mm]


def _times(step: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, ...]:
    return tuple(count * size for count, size in zip(step, spacing_mm, strict=True))
