"""Find a task's bundle and read its metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import BundleError, UsageError, did_you_mean

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and the content of its metadata.json."""

    root: Path
    metadata: dict[str, Any]

    @property
    def task(self) -> str:
        return self.root.name

    def config(self, name: str) -> Path:
        return self.root / "configs" / name


def configs_sha256(bundle: Bundle) -> str:
    """A digest of a bundle's configuration: of the names and the content of the files in configs/.

    Weights are no part of it. Neither is where the bundle lies.
    """
    folder = bundle.root / "configs"
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for name in sorted(name.as_posix() for name in names if not name.name.startswith(".")):
        content = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        digest.update(f"{content}  {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def shipped_root() -> Path:
    """The folder of the shipped bundles: inside an installed package, or beside the package in a checkout."""
    inside = _PACKAGE / "bundles"
    return inside if inside.is_dir() else _PACKAGE.parent / "bundles"


def tasks() -> list[str]:
    """The tasks that have a bundle, either shipped or in the folder bundles/ of the working directory."""
    found = (root.glob("*/configs/metadata.json") for root in (shipped_root(), Path.cwd() / "bundles"))
    return sorted({path.parent.parent.name for paths in found for path in paths})


def find(task: str) -> Path:
    """The folder of a task's bundle.

    The working directory is searched first (as the bundle itself, then bundles/<task>), so that an edited
    copy takes precedence over the shipped bundle.

    Raises:
        UsageError: the task has no bundle.
    """
    here = Path.cwd()
    for root in (here, here / "bundles" / task, shipped_root() / task):
        if root.name == task and (root / "configs" / "metadata.json").is_file():
            return root
    raise UsageError("a task that has a bundle", got=task, advice=did_you_mean(task, tasks()))


def open_bundle(task: str) -> Bundle:
    """Open the bundle of a task; `task` may also be the path of a bundle.

    Raises:
        UsageError: there is no such bundle.
        BundleError: its metadata can't be read.
    """
    root = Path(task) if (Path(task) / "configs" / "metadata.json").is_file() else find(task)
    file = root / "configs" / "metadata.json"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError("metadata in JSON", got=f"{file} ({error})", advice="Correct that file.") from error
    missing = [key for key in ("version", "task") if not isinstance(metadata, dict) or key not in metadata]
    if missing:
        raise BundleError(
            "metadata with version and task",
            got=f"{file} without {' and '.join(missing)}",
            advice="Complete that file.",
        )
    return Bundle(root.resolve(), metadata)
