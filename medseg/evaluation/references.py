"""The reference of a case: the label files of a manifest's item, read on the image's grid."""

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
        mask: (row, column) or (i, j, k), on the image's grid, with the labels of its manifest.
        second: (row, column), the labels of a second observer; None if there is none.
        field_of_view: bool, where masks are scored; None for everywhere.
        about: all entries of the item, such as subject and pathology.
    """

    mask: Mask
    second: np.ndarray | None = None
    field_of_view: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def read_reference(item: Mapping[str, Any], case: Case) -> Reference:
    """Read the reference files of an item.

    Args:
        item: an item of medseg.data.manifests.load_items: `label`, a file; optionally `label_2nd` and
            `given_field`, files, and `labels`, value to name, if they differ from the case's own.
        case: the case of the item's image.

    Raises:
        UnreadableError: a file can't be read.
        LabelError: a file has unknown values or another size than the image.
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
                    advice=f"Pair the image with its own {key}.",
                )
            planes[key] = mask
    second, given = planes.get("label_2nd"), planes.get("given_field")
    return Reference(
        planes["label"],
        None if second is None else second.array,
        None if given is None else given.array > 0,
        item,
    )
