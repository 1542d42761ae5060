"""Lineage: which subjects and images some weights were trained on, in a file beside the weights.

With it an evaluation can mark the cases that the weights were trained on. The file holds no names, only
digests of subjects' names and of images' content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle.weights import sha256
from medseg.errors import WeightsError

_DIGITS = 16


@dataclass(frozen=True)
class Lineage:
    """Digests of the subjects and images that one or several files of weights were trained on.

    Attributes:
        subjects: digests of data set and subject.
        images: digests of images' content.
        is_whole: False if the record of any of the weights, or of weights that they started from, is missing.
    """

    subjects: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    is_whole: bool = True

    def includes(self, item: Mapping[str, Any]) -> bool:
        """Whether the subject of a manifest's item, or an image with the same content, was trained on."""
        subject = subject_digest(item)
        return (subject in self.subjects) or image_digest(item) in self.images

    def __or__(self, other: Lineage) -> Lineage:
        return Lineage(
            self.subjects | other.subjects, self.images | other.images, self.is_whole and other.is_whole
        )


def lineage_of(weights: Iterable[str | Path]) -> Lineage:
    """The joint lineage of several files of weights; empty and whole for a method without weights.

    Raises:
        WeightsError: a record can't be read.
    """
    found = Lineage()
    for path in map(Path, weights):
        found |= _read(path)
    return found


def write_lineage(weights: str | Path, lineage: Lineage) -> None:
    """Write the lineage of a file of weights beside it: model.lineage.json beside model.pt."""
    from medseg.io.atomic import atomic_path

    content = {
        "weights_sha256": sha256(weights),
        "is_whole": lineage.is_whole,
        "subjects": sorted(lineage.subjects),
        "images": sorted(lineage.images),
    }
    with atomic_path(_beside(Path(weights))) as temporary:
        temporary.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


def lineage_of_items(items: Iterable[Mapping[str, Any]]) -> Lineage:
    """The lineage of weights that are trained on these items of manifests."""
    items = list(items)
    subjects = {digest for item in items if (digest := subject_digest(item))}
    return Lineage(frozenset(subjects), frozenset(image_digest(item) for item in items))


def subject_digest(item: Mapping[str, Any]) -> str | None:
    """The digest of an item's data set and subject; None if the item lacks one of them."""
    if not item.get("data_set") or not item.get("subject"):
        return None
    return hashlib.sha256(f"{item['data_set']}\0{item['subject']}".encode()).hexdigest()[:_DIGITS]


def image_digest(item: Mapping[str, Any]) -> str:
    """The digest of the content of an item's image file."""
    return sha256(item["image"])[:_DIGITS]


def _beside(weights: Path) -> Path:
    return weights.with_name(f"{weights.stem}.lineage.json")


def _read(weights: Path) -> Lineage:
    path = _beside(weights)
    if not path.is_file():
        return Lineage(is_whole=False)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        own = content["weights_sha256"] == sha256(weights)
        lists = frozenset(content["subjects"]), frozenset(content["images"])
        return Lineage(*lists, bool(content["is_whole"])) if own else Lineage(is_whole=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "a readable record of the cases that the weights were trained on",
            got=f"{path.name} ({type(error).__name__})",
            advice="Restore the file. If you delete it, these cases count as unknown.",
        ) from error
