"""Left lung, right lung and airway of a chest CT, by thresholds and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medseg.classical.airway import airway
from medseg.classical.body import inside_body
from medseg.classical.border import follow_hu
from medseg.classical.morphology import (
    bounding_box,
    closing_depth_mm,
    coarse,
    components,
    dilated,
    filled,
    fine,
    repeated,
)
from medseg.classical.sides import LEFT, RIGHT, cores, side_if_alone, split

AIRWAY = 3
RANGE_HU = (-1024, 1024)
THRESHOLD_HU = (-500.0, -300.0)
COARSE_MM = 3.0  # the grid for bodies, sides and closings: shapes of centimetres
CLOSING_MM = 8.0  # vessels and nodules up to twice this wide are taken into a lung
MIN_LUNG_ML = 20.0
AIRY_HU, GAS_HU = -800, -950
MAX_GAS, MAX_GAS_OF_ALL = 0.8, 0.4  # of the airy part, and of all: bowel has more gas, emphysema less
OTHER_LUNG = 0.3  # of the largest piece: smaller pieces in the lower part of its height are bowel
LOWER_PART = 0.33


class ClassicalLungs(torch.nn.Module):
    """The rules in the place of a network, also for programs that bring weights and further tensors.

    Args:
        spacing_mm: size of a voxel of the images, the same along each axis.
    """

    def __init__(self, spacing_mm: float) -> None:
        super().__init__()
        self.spacing_mm = (spacing_mm,) * 3

    def forward(self, x: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """(n, 1, i, j, k) in HU, RAS+, to (n, 4, i, j, k) float32, highest at the label that a voxel has.

        At the border of air-filled lung they follow the HU: see medseg.classical.border. MONAI Deploy gives
        all other tensors of the data too; they don't count.
        """
        scores = torch.zeros(len(x), AIRWAY + 1, *x.shape[2:])
        scores[:, 0] = 1
        for image, score in zip(x.cpu().numpy(), scores, strict=True):
            labels, box = found_lungs(image[0], self.spacing_mm)
            part = score[(slice(None), *box)]
            for value in range(AIRWAY + 1):
                part[value] = torch.from_numpy(labels == value)
            follow_hu(part, labels, image[0][box], (LEFT, RIGHT))
        return scores.to(x.device)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take no weights: MONAI Label and Deploy load a bundle's models/model.pt whatever its network is.

        In this bundle that file is the trained network's; the rules have nothing to learn.
        """
        return super().load_state_dict({}, strict, assign)


def lungs(array_hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Labels 1 left lung, 2 right lung, 3 airway; all 0 where no lung is found.

    A lung is what is darker than half-way to tissue, with the vessels and nodules in it and at its border.
    What is filled widely, by fluid or consolidation, is not found.

    Args:
        array_hu: (i, j, k) in HU, RAS+: i grows to the patient's right. Made for 1.5 mm, works at 1 to 4 mm.
        spacing_mm: size of a voxel along each axis.

    Returns:
        (i, j, k) uint8.
    """
    hu = np.clip(array_hu, *RANGE_HU).astype(np.int16)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    step = _step(spacing_mm)
    inside = repeated(inside_body(coarse(hu, step), _times(step, spacing_mm)), step, hu.shape)
    dark = inside & (hu < _threshold_hu(hu[inside]))
    rough = _pieces(hu, dark, spacing_mm)
    if not rough.any():
        return labels
    lumen = airway(hu, inside, rough, spacing_mm)
    alone = side_if_alone(rough, inside, lumen)
    box = bounding_box(rough, [round(2 * CLOSING_MM / s) for s in spacing_mm])
    labels[box] = _both(hu[box], dark[box], lumen[box], alone, spacing_mm)
    labels[lumen] = AIRWAY
    return labels


def found_lungs(array_hu: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The labels of `lungs` in the box that holds all of them, and that box."""
    labels = lungs(array_hu, spacing_mm)
    box = bounding_box(labels > 0, (2, 2, 2))
    box = tuple(slice(part.start, min(part.stop, size)) for part, size in zip(box, labels.shape, strict=True))
    return labels[box], box


def _threshold_hu(hu: np.ndarray) -> float:
    """Half-way between the mean of what is below and the mean of what is above.

    That is where the border between two materials lies, so a dense lung needs a higher threshold. Source: Hu,
    Hoffman and Reinhardt, IEEE Transactions on Medical Imaging 20, 2001.
    """
    counts = np.bincount(hu.astype(np.int64) - RANGE_HU[0], minlength=RANGE_HU[1] - RANGE_HU[0] + 1)
    values = np.arange(RANGE_HU[0], RANGE_HU[1] + 1)
    threshold_hu, before = THRESHOLD_HU[1], np.inf  # a dense lung is below this, too
    while abs(threshold_hu - before) > 1:
        parts = values < threshold_hu, values >= threshold_hu
        if not all(counts[part].any() for part in parts):
            break
        before = threshold_hu
        threshold_hu = float(np.mean([np.average(values[part], weights=counts[part]) for part in parts]))
    return float(np.clip(threshold_hu, *THRESHOLD_HU))


def _pieces(hu: np.ndarray, dark: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The components of dark that are lung: neither gas nor bowel below the lungs; (i, j, k) bool."""
    from scipy.ndimage import find_objects

    numbers, sizes = components(dark)
    airy, gas = (np.bincount(numbers[hu < limit], minlength=len(sizes)) for limit in (AIRY_HU, GAS_HU))
    volume_ml = sizes * np.prod(spacing_mm) / 1000
    is_gas = (gas > MAX_GAS * airy) & (gas > MAX_GAS_OF_ALL * sizes)
    is_lung = (volume_ml >= MIN_LUNG_ML) & ~is_gas
    is_lung[0] = False
    if is_lung.any():
        boxes = find_objects(numbers)
        first = int(np.argmax(volume_ml * is_lung))
        height = boxes[first - 1][2]
        lowest = height.start + LOWER_PART * (height.stop - height.start)
        for number in np.flatnonzero(is_lung & (volume_ml < OTHER_LUNG * volume_ml[first])):
            box = boxes[number - 1][2]
            is_lung[number] = (box.start + box.stop) / 2 > lowest
    return is_lung[numbers]


def _both(
    hu: np.ndarray, dark: np.ndarray, lumen: np.ndarray, alone: int, spacing_mm: Sequence[float]
) -> np.ndarray:
    """Labels of both lungs, without the airway and its wall; (i, j, k) uint8."""
    step = _step(spacing_mm)
    coarse_mm = _times(step, spacing_mm)
    pieces = _pieces(hu, dark & ~dilated(lumen), spacing_mm)
    coarse_pieces = coarse(pieces, step) > 0.5
    if not coarse_pieces.any():
        return pieces.astype(np.uint8)
    seeds = cores(coarse_pieces, alone, coarse_mm)
    sides = split(hu, pieces, seeds, coarse(hu, step), coarse_pieces, step)
    return closed(sides, spacing_mm)


def closed(sides: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Both lungs with their vessels, the nodules at the pleura and the bays of the hilum.

    Other labels than those of the lungs stay.
    """
    step = _step(spacing_mm)
    coarse_mm = _times(step, spacing_mm)
    depths_mm = []
    for side in (LEFT, RIGHT):
        solid = coarse(sides == side, step) > 0.5
        depths_mm.append(fine(closing_depth_mm(solid, CLOSING_MM, coarse_mm), step, sides.shape))
    deeper = np.where(depths_mm[0] > depths_mm[1], np.uint8(LEFT), np.uint8(RIGHT))
    labels = np.where((sides == 0) & (np.maximum(*depths_mm) > 0), deeper, sides)
    for side in (LEFT, RIGHT):
        labels[filled(labels == side) & (labels == 0)] = side
    return labels


def _step(spacing_mm: Sequence[float]) -> list[int]:
    return [max(1, round(COARSE_MM / s)) for s in spacing_mm]


def _times(step: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, ...]:
    return tuple(count * size for count, size in zip(step, spacing_mm, strict=True))
