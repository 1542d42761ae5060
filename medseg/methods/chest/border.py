"""Scores that place the border of air-filled lung between two voxels."""

from __future__ import annotations

import numpy as np
import torch

from medseg.morphology import dilated

AIRY_HU = -400  # half-way from healthy lung to tissue: a voxel at the border holds half of each
HU_PER_SCORE = 200
LUNGS, AIRWAY = (1, 2), 3


def scores_of(labels: np.ndarray, hu: np.ndarray, dense: np.ndarray | None = None) -> torch.Tensor:
    """Turn labels into scores whose highest is the voxel's label.

    At the border of air-filled lung the scores follow the HU: interpolated scores of lung and background are
    equal at -400 HU.

    Args:
        labels: (i, j, k), 1 and 2 are lungs, 3 is the airway.
        hu: (i, j, k) in HU.
        dense: (i, j, k) bool, lung without air: its border does not follow the HU.

    Returns:
        (4, i, j, k) float32.
    """
    scores = np.stack([labels == value for value in range(AIRWAY + 1)]).astype(np.float32)
    airy = (labels > 0) & (hu < AIRY_HU)
    tissue = (labels == 0) & (hu >= AIRY_HU)
    if dense is not None:
        airy &= ~dense
    voxels = scores.reshape(len(scores), -1)
    for value in LUNGS:
        own = airy & (labels == value)
        outer = tissue & dilated(own)
        rim = np.flatnonzero(outer | own & dilated(outer))
        airiness = (AIRY_HU - hu.reshape(-1)[rim]) / np.float32(HU_PER_SCORE)
        voxels[:, rim] = -np.abs(airiness) - 1
        voxels[0, rim], voxels[value, rim] = -airiness, airiness
    return torch.from_numpy(scores)
