"""Whom a training learns from: its items, with what their manifests know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle import Lineage, learnt_from, lineage_of
from medseg.data.manifests import SPLITS, load_items
from medseg.errors import DataError


def training_lineage(
    items: Sequence[Mapping[str, Any]], manifests: Sequence[str], start_from: str | Path | None = None
) -> Lineage:
    """The subjects and images of a training, and those of the weights that it began with.

    Args:
        items: of its data set, `image` among their entries; an item may come several times.
        manifests: names or paths of the data sets, which name the items' subjects. Items that are in none of
            them are known by the content of their images alone.
        start_from: weights.
    """
    images = {str(item["image"]) for item in items}
    known: dict[str, dict[str, Any]] = {image: {"image": image} for image in images}
    for split in SPLITS:
        try:
            listed = load_items(manifests, split, ["image", "subject", "data_set"])
        except DataError:  # an empty split
            continue
        known |= {item["image"]: item for item in listed if item["image"] in images}
    return learnt_from(known.values()) | lineage_of([start_from] if start_from else [])
