"""What a case is scored against: the files that a manifest's item names, read onto the image's grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medseg.case import Case
from medseg.errors import LabelError
from medseg.io import read_mask
from medseg.volume import Mask


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference of one case.

    Attributes:
        mask: on the image's grid, with the labels of its manifest.
        second: (row, column), of a second observer; None without one.
        field_of_view: bool, where scores are taken; None for everywhere.
        about: the item's other entries, such as subject and pathology.
    """

    mask: Mask
    second: np.ndarray | None = None
    field_of_view: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def read_reference(item: Mapping[str, Any], case: Case) -> Reference:
    """Read what an item says of a case.

    Args:
        item: of medseg.data.manifests.load_items: `label`, a file; `label_2nd` and `given_field` where
            there are any; `labels`, value to name, where they are other than the case's own.
        case: of the item's image.

    Raises:
        UnreadableError: a file that can't be read.
        LabelError: one with unknown values or of another size than the image.
    """
    labels = item.get("labels", case.mask.labels)
    planes = {}
    for key in ("label", "label_2nd", "given_field"):
        if key in item:
            mask = read_mask(item[key], labels if key != "given_field" else {0: "outside", 1: "inside"})
            if mask.array.shape != case.mask.array.shape:
                raise LabelError(
                    f"a {key} of the image's size {case.mask.array.shape}",
                    got=f"{mask.array.shape}",
                    advice="Pair the image with its own.",
                )
            planes[key] = mask
    second, given = planes.get("label_2nd"), planes.get("given_field")
    return Reference(
        planes["label"],
        None if second is None else second.array,
        None if given is None else given.array > 0,
        item,
    )
