"""Connected components of a picture's mask: small ones dropped, holes filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medseg.case import note


class CleanObjectsd(MapTransform):
    """Fill the holes of lesions in a picture, and drop specks.

    Args:
        keys: masks of (1, row, column), 1 in lesions.
        min_px: pixels that a lesion has at least; pieces hang together by edges or corners.
        image_key: the picture; its meta data gets the notes.
    """

    def __init__(self, keys: KeysCollection, min_px: int, image_key: str = "image") -> None:
        super().__init__(keys)
        self.min_px, self.image_key = min_px, image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        from scipy.ndimage import binary_fill_holes

        cleaned = dict(data)
        meta = getattr(cleaned[self.image_key], "meta", {})
        for key in self.key_iterator(cleaned):
            mask = torch.as_tensor(cleaned[key])
            kept, specks, px = _without_specks(binary_fill_holes(np.asarray(mask)[0] > 0), self.min_px)
            if specks:
                note(meta, self, f"{specks} specks of {px} px removed")
            cleaned[key] = torch.as_tensor(kept[None]).to(mask.dtype)
        return cleaned


class DropSmallComponentsd(MapTransform):
    """Drop pieces of vessels in a photograph that are too small to be any.

    Args:
        keys: masks of (1, row, column), 1 in vessels.
        least_share: of the square of the field's diameter, that a piece has at least; pieces hang together by
            edges or corners.
        image_key: the photograph; its meta data knows the diameter and gets the notes.
    """

    def __init__(self, keys: KeysCollection, least_share: float, image_key: str = "image") -> None:
        super().__init__(keys)
        self.least_share, self.image_key = least_share, image_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        cleaned = dict(data)
        meta = cleaned[self.image_key].meta
        least_px = self.least_share * float(meta["field_diameter_px"]) ** 2
        for key in self.key_iterator(cleaned):
            mask = torch.as_tensor(cleaned[key])
            kept, specks, px = _without_specks(np.asarray(mask)[0] > 0, least_px)
            if specks:
                note(meta, self, f"{specks} specks of {px} px removed")
            cleaned[key] = torch.as_tensor(kept[None]).to(mask.dtype)
        return cleaned


def _without_specks(mask: np.ndarray, least_px: float) -> tuple[np.ndarray, int, int]:
    """(row, column) bool without its small pieces, how many these were, and their pixels."""
    from scipy.ndimage import label

    numbers, count = label(mask, np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = sizes >= least_px
    kept[0] = False
    return kept[numbers], int(count - kept.sum()), int(sizes[1:][~kept[1:]].sum())
