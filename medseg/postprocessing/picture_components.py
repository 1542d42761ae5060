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
    """Fill the holes of lesions in a picture, and drop small components.

    Args:
        keys: masks of (1, row, column), 1 in lesions.
        min_px: least number of pixels of a component; pixels connect by edges or corners.
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
            kept, count, px = _without_small_components(
                binary_fill_holes(np.asarray(mask)[0] > 0), self.min_px
            )
            if count:
                note(meta, self, _removed(count, px))
            cleaned[key] = torch.as_tensor(kept[None]).to(mask.dtype)
        return cleaned


class DropSmallComponentsd(MapTransform):
    """Drop components of a photograph's vessel mask that are too small to be vessels.

    Args:
        keys: masks of (1, row, column), 1 in vessels.
        least_share: least area of a component, as a share of the field of view's squared diameter; pixels
            connect by edges or corners.
        image_key: the photograph; its meta data has `field_diameter_px` and gets the notes.
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
            kept, count, px = _without_small_components(np.asarray(mask)[0] > 0, least_px)
            if count:
                note(meta, self, _removed(count, px))
            cleaned[key] = torch.as_tensor(kept[None]).to(mask.dtype)
        return cleaned


def _removed(count: int, px: int) -> str:
    if count == 1:
        return f"1 small component ({px} px) removed"
    return f"{count} small components ({px} px in all) removed"


def _without_small_components(mask: np.ndarray, least_px: float) -> tuple[np.ndarray, int, int]:
    """(row, column) bool without its small components, the number of these, and their pixels."""
    from scipy.ndimage import label

    numbers, count = label(mask, np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = sizes >= least_px
    kept[0] = False
    return kept[numbers], int(count - kept.sum()), int(sizes[1:][~kept[1:]].sum())
