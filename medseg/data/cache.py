"""Prepared items on disk, under a key of all that determines them, so that none can be stale.

The key holds the content of the item's files, the transforms with their parameters, the source of medseg and
of every other loaded module that is not installed, and the version of every installed package. A change of
any of them is another key.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import logging
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import TraceKeys

from medseg.bundle import sha256
from medseg.case import Finding, Origin
from medseg.data.description import describe
from medseg.data.manifests import FILE_KEYS
from medseg.errors import DataError, MedsegError, UsageError
from medseg.io.atomic import atomic_path

KEPT_DAYS = 30  # without use
# What an item says of the data set that it is from, and not of itself.
NOT_CONTENT = ("data_set", "labels", "fold", "source_of_label")

_PACKAGE = Path(__file__).parents[1]
_KIND = "kind of this entry"
_STORABLE = (int, float, complex, bytes, torch.dtype, torch.device)

logger = logging.getLogger(__name__)


class Cache:
    """A folder of prepared items, each a file that is mapped into memory when it is asked for.

    Every call maps the file afresh: a transform that writes into its input changes its own copy alone,
    and of a large volume only the pages that a crop needs are read. Processes share the pages.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        with _writing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds images of patients
        _remove_unused(self.folder)

    def get(self, key: str, prepare: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The item of a key; `prepare` makes it when it is not there or can't be read.

        Raises:
            MedsegError: the folder can't be written.
            UsageError: an item of more than tensors, arrays, numbers and texts.
        """
        path = self.folder / f"{key}.pt"
        item = _read(path)
        if item is None:
            item = _write(path, prepare())
        return item


class FileDigests:
    """SHA-256 of items' files, each computed once."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of_item(self, item: Mapping[str, str]) -> str:
        """A digest of an item: its files' content and its other entries.

        Raises:
            DataError: a file that can't be read.
        """
        entries = []
        for key, value in sorted((k, v) for k, v in item.items() if k not in NOT_CONTENT):
            if key in FILE_KEYS and value not in self.known:
                self.known[value] = _file_digest(value)
            entries.append(f"{key}={self.known[value] if key in FILE_KEYS else value}")
        return combine(entries)

    def require_unchanged(self, item: Mapping[str, str]) -> None:
        """Refuse files that were changed since their digest was taken.

        Raises:
            DataError: with the name of the file.
        """
        for key, value in item.items():
            if key in FILE_KEYS and _file_digest(value) != self.known[value]:
                raise DataError(
                    "files that stay as they are during a training",
                    got=f"{Path(value).name} with another content than at the start",
                    advice="Start the training again.",
                )


def transform_digest(transform: Any) -> str | None:
    """A digest of a transform: classes, parameters, and the code and packages that they run on.

    None for one that defies description, such as a class that was typed into a notebook: its items
    can't be cached.
    """
    try:
        description = describe(transform)
        sources = _own_sources(with_script=b"__main__" in description)
        return combine([hashlib.sha256(description).hexdigest(), *sources, _environment()])
    except Exception as error:  # objects say what they are made of by code of their own
        logger.warning("no cache: a transform can't be described (%s)", str(error)[:100])
        return None


def combine(parts: Iterable[str]) -> str:
    """One digest of several texts, in their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _own_sources(with_script: bool) -> list[str]:
    """Digests of all loaded modules of no installed package: no version tells that these were changed.

    Not of the transforms' own modules alone, since what they call or import may be in any. The script that
    runs changes with each experiment: it counts only where the transforms are made of parts of it.
    """
    script = vars(sys.modules["__main__"]).get("__file__")
    elsewhere = (sysconfig.get_path("stdlib"), str(_PACKAGE))
    digests = []
    for name, module in sorted(sys.modules.items()):
        # Not getattr, at which a lazy module is imported.
        file = str(getattr(module, "__dict__", {}).get("__file__") or "")
        if not file or file.startswith(elsewhere) or "site-packages" in file or "dist-packages" in file:
            continue
        if with_script or file != script:
            digests.append(f"{name} {sha256(file)}")
    return digests


@cache
def _environment() -> str:
    sources = [f"{path.relative_to(_PACKAGE)} {sha256(path)}" for path in sorted(_PACKAGE.rglob("*.py"))]
    packages = sorted(f"{found.name} {found.version}" for found in distributions())
    return combine([*sources, *packages])


def _file_digest(path: str) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(
            "a data set whose files can be read",
            got=f"{Path(path).name} ({error.strerror})",
            advice="See what is wrong with `medseg check-data MANIFEST`.",
        ) from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        item = _load(path)
    except Exception:  # missing, or damaged in one of torch's dozen ways
        return None
    with suppress(OSError):  # a folder that can be read alone serves too
        os.utime(path)
    return item


def _write(path: Path, item: dict[str, Any]) -> dict[str, Any]:
    """Store an item and read it back, so that the first call gives what all later ones do."""
    stored = _plain(item)
    with _writing(path.parent), atomic_path(path) as temporary:
        torch.save(stored, temporary)
        return _load(temporary)


def _load(path: Path) -> dict[str, Any]:
    item: dict[str, Any] = _restored(torch.load(path, mmap=True, weights_only=True))
    return item


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's own for a full disk
        raise MedsegError(
            "a cache folder that can be written",
            got=f"{folder} ({str(error)[:100]})",
            advice="Make room in it, or set cache_dir to another folder, or to null for no cache.",
        ) from error


def _plain(value: Any) -> Any:
    """What torch.load takes back with weights_only: tensors, their meta data and plain values."""
    if isinstance(value, MetaTensor):
        return {
            _KIND: "MetaTensor",
            "tensor": _own(value.as_tensor()),
            "meta": _plain(value.meta),
            "operations": _plain(_without_ids(value.applied_operations)),
        }
    if isinstance(value, torch.Tensor):
        return _own(value)
    if isinstance(value, Origin):  # without its headers: what a training needs of a patient is the image
        return {_KIND: "Origin", "origin": dataclasses.asdict(dataclasses.replace(value, headers=()))}
    if isinstance(value, (np.ndarray, np.number, np.bool_)) and value.dtype.kind in "biufc":
        return {_KIND: "array", "tensor": torch.as_tensor(np.array(value))}
    if isinstance(value, Mapping):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        entries = [_plain(entry) for entry in value]
        return entries if isinstance(value, list) else tuple(entries)
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, _STORABLE):
        return value
    raise UsageError(
        "a cached item of tensors, arrays, numbers and texts",
        got=f"one with a {type(value).__name__}",
        advice="Remove it with DeleteItemsd before the first random transform, or set cache_dir to null.",
    )


def _without_ids(operations: Any) -> Any:
    """MONAI undoes an operation by the transform with its id(), which no later process has."""
    if isinstance(operations, Mapping):
        return {
            key: TraceKeys.NONE if key == TraceKeys.ID else _without_ids(value)
            for key, value in operations.items()
        }
    return [_without_ids(value) for value in operations] if isinstance(operations, list) else operations


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with a storage of its own size: torch.save writes all that a view was cut from."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _restored(value: Any) -> Any:
    """The inverse of `_plain`."""
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind == "array":
        return value["tensor"].numpy()[()]
    if kind == "Origin":
        origin = value["origin"]
        return Origin(**{**origin, "findings": tuple(Finding(**finding) for finding in origin["findings"])})
    plain = {key: _restored(entry) for key, entry in value.items()}
    if kind == "MetaTensor":
        return MetaTensor(plain["tensor"], meta=plain["meta"], applied_operations=plain["operations"])
    return plain


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for path in folder.glob("*.pt"):
        with suppress(OSError):  # another process was faster, or may and this one may not
            if path.stat().st_mtime < oldest:
                path.unlink()
