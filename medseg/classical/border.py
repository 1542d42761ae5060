"""Where the border of air-filled lung lies between two voxels."""

from __future__ import annotations

import numpy as np
import torch

from medseg.classical.morphology import dilated

AIRY_HU = -400  # half-way from healthy lung to tissue: the border, where partial volume is even
HU_PER_SCORE = 200


def follow_hu(
    scores: torch.Tensor,
    labels: np.ndarray,
    hu: np.ndarray,
    values: tuple[int, ...],
    dense: np.ndarray | None = None,
) -> None:
    """Let scores follow the HU at the border of air-filled lung: interpolated, they cross over at -400.

    Args:
        scores: (label, i, j, k), changed in place: the label with the highest one is that in `labels`.
        labels: (i, j, k).
        hu: (i, j, k) in HU.
        values: the labels that are lungs.
        dense: (i, j, k) bool, lung that holds no air: there is no border towards it.
    """
    lung = np.isin(labels, values)
    airy = lung & (hu < AIRY_HU)
    tissue = (labels == 0) & (hu >= AIRY_HU)
    if dense is not None:
        airy &= ~dense
    for value in values:
        own = airy & (labels == value)
        outer = tissue & dilated(own)
        inner = own & dilated(outer)
        rim = outer | inner
        if not rim.any():
            continue
        place = torch.from_numpy(rim)
        airiness = torch.from_numpy((AIRY_HU - hu[rim]) / np.float32(HU_PER_SCORE)).to(scores.dtype)
        scores[:, place] = -airiness.abs() - 1
        scores[0, place], scores[value, place] = -airiness, airiness
