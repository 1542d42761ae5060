"""The lineage of a training: the subjects of its items, as their manifests name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle import Lineage, lineage_of, lineage_of_items
from medseg.data.manifests import SPLITS, load_items
from medseg.errors import DataError, UsageError


def training_lineage(
    items: Sequence[Mapping[str, Any]], manifests: Sequence[str], start_from: str | Path | None = None
) -> Lineage:
    """The lineage of a training: its subjects and images, and those of its initial weights.

    Args:
        items: items of the training's data set, with an entry `image`; an item may occur several times.
        manifests: names or paths of the data sets, which name the items' subjects. An item that no manifest
            lists is identified by the content of its image alone.
        start_from: the initial weights; None for random ones.
    """
    images = {str(item["image"]) for item in items}
    known: dict[str, dict[str, Any]] = {image: {"image": image} for image in images}
    for split in SPLITS:
        try:
            listed = load_items(manifests, split, ["image", "subject", "data_set"])
        except (DataError, UsageError):
            # An empty split; or MEDSEG_DATA is not set, because another program gives the items: then no path
            # of a manifest is known, and none can be an item's.
            continue
        known |= {item["image"]: item for item in listed if item["image"] in images}
    return lineage_of_items(known.values()) | lineage_of([start_from] if start_from else [])
