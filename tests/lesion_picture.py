"""A picture with one bright disc, and the disc as its label."""

import numpy as np
import torch
from monai.data import MetaTensor

from medseg.case import Origin


def picture(shape=(90, 140)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    disc = ((rows - 40) ** 2 + (columns - 90) ** 2 < 400).astype(np.float32)
    meta = {"source_shape": torch.tensor(shape), "origin": Origin()}
    return {"image": MetaTensor(torch.as_tensor(disc[None]), meta=meta), "label": torch.as_tensor(disc[None])}
