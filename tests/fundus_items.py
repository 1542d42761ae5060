"""Photographs of phantoms as items on their way through the transforms."""

from functools import cache

import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image

from medseg import phantoms
from medseg.case import Origin

LABELS = {0: "background", 1: "vessel"}


NETWORK_PX = 832


@cache
def photograph(size_px):
    """Picture, vessels and field; shared, so to be left as they are."""
    return phantoms.fundus(size_px)


def saved(path, pixels):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return str(path)


def meta_of(**more):
    return {"origin": Origin(), "filename_or_obj": "eye.png"} | more


def item_of(picture, field, **more):
    """An item as FindFieldOfViewd leaves it, with the true field."""
    meta = meta_of(
        source_shape=torch.tensor(field.shape), field_diameter_px=torch.tensor(0.92 * max(picture.shape))
    )
    image = MetaTensor(torch.as_tensor(picture.transpose(2, 0, 1).copy()), meta=meta)
    planes = {key: MetaTensor(torch.as_tensor(plane[None].astype(np.float32))) for key, plane in more.items()}
    seen = MetaTensor(torch.as_tensor(field[None].astype(np.uint8)))
    return {"image": image, "field_of_view": seen, "source_field_of_view": seen.clone(), **planes}


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())
