"""Describe the images of data sets, and put them into an index."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.bundle import sha256
from medseg.console import progress_bar
from medseg.data.manifests import FILE_KEYS, SPLITS, data_root, load_items, read_manifest
from medseg.errors import DataError, InputError, error_text, file_error_text
from medseg.io import Input, case_name
from medseg.io.atomic import require_folder
from medseg.similarity.descriptors import ENCODER, Describer
from medseg.similarity.index import (
    HEADER,
    IndexedCase,
    add_cases,
    add_hashes,
    read_index,
    require_place,
    require_same,
)

SAVED_EACH = 200  # cases: an interruption loses no more
# Entries of an item that are no group of cases.
_NOT_GROUPS = (*FILE_KEYS, "data_set", "labels", "subject", "fold", "source_of_label")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """How many images were added, were there already, and were refused; and how many the index has now."""

    added: int
    known: int
    refused: int
    total: int


def build_index(
    manifests: str | Path | Sequence[str | Path],
    task: str,
    folder: str | Path,
    *,
    descriptor: str = ENCODER,
    method: str | None = None,
    splits: Sequence[str] = (),
    weights: str | Path | None = None,
    weights_fold: int | None = None,
    device: str = "auto",
) -> Built:
    """Describe the images of data sets, and write an index of them, or add those that an index lacks.

    An image is known by its content, so none is in an index twice. Every 200 cases the index is written,
    whole: an interrupted run goes on where it was when it is started again.

    Args:
        manifests: paths, or names of shipped manifests; one or several.
        task: the bundle whose checks and preprocessing prepare the images.
        folder: the index; created if it is missing.
        descriptor, method, weights, weights_fold, device: see medseg.similarity.descriptors.Describer.
        splits: the splits to take; none takes all.

    Raises:
        UsageError: a name is unknown; the folder holds something else, or an index that was made in another
            way.
        DataError: a manifest or the index is damaged, or there is no image.
        InputError: every image was refused, and the index has no case.
        WeightsError: weights are missing, or don't fit.
    """
    folder = Path(folder)
    require_place(folder)
    require_folder(folder)
    items = list(_items(manifests, splits))
    describer = Describer(task, method, descriptor, weights, weights_fold, device)
    known: set[str] = set()
    if (folder / HEADER).exists():
        old = read_index(folder)
        require_same(describer.recipe, old.recipe, folder)
        known = {case.sha256 for case in old.cases}
    counts: Counter[str] = Counter()
    batch: list[tuple[IndexedCase, np.ndarray]] = []
    with progress_bar("describing", "images", len(items), disable=len(items) == 1) as advance:
        for item in items:
            found = _described(item, describer, known)
            counts[found if isinstance(found, str) else "added"] += 1
            if not isinstance(found, str):
                batch.append(found)
                known.add(found[0].sha256)
            if len(batch) == SAVED_EACH:
                _save(folder, describer, batch)
            advance()
    _save(folder, describer, batch)
    if (folder / HEADER).exists():
        add_hashes(folder)
    if not known and counts["refused"]:
        raise InputError(
            "images that can be described",
            got=f"{counts['refused']} that were refused",
            advice="See the log for the reason of each.",
        )
    if not known:
        raise DataError(
            "images that can be described",
            got="none in these splits",
            advice="Check the manifest and --split.",
        )
    return Built(counts["added"], counts["known"], counts["refused"], len(known))


def _described(
    item: Mapping[str, Any], describer: Describer, known: Set[str]
) -> tuple[IndexedCase, np.ndarray] | str:
    """A case and its descriptor; "known" if its content is, "refused" if the task's checks refuse it."""
    source = item["image"]
    try:
        digest = content_digest(source)
        if digest in known:
            return "known"
        return _case(item, digest), describer(source)
    except (InputError, OSError) as error:
        text = error_text(error) if isinstance(error, InputError) else file_error_text(error)
        logger.warning("%s: %s", case_name(source), text)
        return "refused"


def _case(item: Mapping[str, Any], digest: str) -> IndexedCase:
    groups = {
        key: str(item[key]) for key in item if key not in _NOT_GROUPS and not isinstance(item[key], dict)
    }
    return IndexedCase(
        case_name(item["image"]),
        _relative(item["image"]),
        digest,
        str(item.get("data_set", "")),
        str(item.get("subject", "")),
        groups,
    )


def _save(folder: Path, describer: Describer, batch: list[tuple[IndexedCase, np.ndarray]]) -> None:
    """Write the cases of a batch, and empty it."""
    if batch:
        add_cases(folder, describer.recipe, [case for case, _ in batch], np.stack([row for _, row in batch]))
        batch.clear()


def _items(manifests: str | Path | Sequence[str | Path], splits: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The items of the splits that are asked for, or of all that have any."""
    for manifest in [manifests] if isinstance(manifests, (str, Path)) else manifests:
        content = read_manifest(manifest)
        filled = [split for split in SPLITS if content[split]]
        for split in splits or filled:
            yield from load_items(manifest, split)


def _relative(path: str) -> str:
    """A path as the manifests have it: an index holds no folder of the machine that it was made on."""
    root = data_root()
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def content_digest(source: Input) -> str:
    """The SHA-256 of a file's content; of several files or a folder, that of their sorted digests."""
    if not isinstance(source, tuple) and not os.path.isdir(source):
        return sha256(source)
    files = source if isinstance(source, tuple) else Path(source).rglob("*")
    digests = sorted(sha256(file) for file in files if Path(file).is_file())
    return hashlib.sha256("\0".join(digests).encode()).hexdigest()
