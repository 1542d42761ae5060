"""Whom weights have learnt from: a file beside them, so that no case is scored by weights that know it.

The file names nobody: it holds digests of subjects' names and of images' content.
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
    """Digests of what one or several weights have learnt from.

    Attributes:
        subjects: digests of data set and subject.
        images: digests of images' content.
        is_whole: False where weights in it, or those that they began with, have no such record.
    """

    subjects: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    is_whole: bool = True

    def knows(self, item: Mapping[str, Any]) -> bool:
        """Whether an item of a manifest trained: its subject, or a file with the same content."""
        subject = subject_digest(item)
        return (subject in self.subjects) or image_digest(item) in self.images

    def __or__(self, other: Lineage) -> Lineage:
        return Lineage(
            self.subjects | other.subjects, self.images | other.images, self.is_whole and other.is_whole
        )


def lineage_of(weights: Iterable[str | Path]) -> Lineage:
    """All that these weights have learnt from, together; a method without weights has learnt from nobody.

    Raises:
        WeightsError: a record that can't be read.
    """
    found = Lineage()
    for path in map(Path, weights):
        found |= _read(path)
    return found


def write_lineage(weights: str | Path, lineage: Lineage) -> None:
    """Write the record of a file of weights beside it: model.pt gets model.lineage.json."""
    from medseg.io.atomic import atomic_path

    content = {
        "weights_sha256": sha256(weights),
        "is_whole": lineage.is_whole,
        "subjects": sorted(lineage.subjects),
        "images": sorted(lineage.images),
    }
    with atomic_path(_beside(Path(weights))) as temporary:
        temporary.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


def learnt_from(items: Iterable[Mapping[str, Any]]) -> Lineage:
    """The record of a training on these items of manifests."""
    items = list(items)
    subjects = {digest for item in items if (digest := subject_digest(item))}
    return Lineage(frozenset(subjects), frozenset(image_digest(item) for item in items))


def subject_digest(item: Mapping[str, Any]) -> str | None:
    """Of data set and subject; None for an item that lacks one of them."""
    if not item.get("data_set") or not item.get("subject"):
        return None
    return hashlib.sha256(f"{item['data_set']}\0{item['subject']}".encode()).hexdigest()[:_DIGITS]


def image_digest(item: Mapping[str, Any]) -> str:
    """Of the content of an item's image file."""
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
            "a readable record of what weights have learnt from",
            got=f"{path.name} ({type(error).__name__})",
            advice="Restore it, or delete it: then it is not known.",
        ) from error
