"""Data manifests: MONAI/Decathlon datalists with the data set's publisher, licence and splits."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle import sha256
from medseg.errors import DataError, MedsegError, UsageError, did_you_mean
from medseg.io import read_mask, read_volume

SPLITS = ("training", "validation", "test")
REQUIRED = ("name", "description", "labels", "licence", "publisher", "citation", "urls", *SPLITS)
IMAGE_KEYS = ("image",)
LABEL_KEYS = ("label", "label_2nd", "given_field")
FILE_KEYS = (*IMAGE_KEYS, *LABEL_KEYS)

_PACKAGE = Path(__file__).parents[1]
_SET = "Set MEDSEG_DATA (or --data) to the folder that the manifests' paths start from."


def data_root() -> Path:
    """The folder that manifests' paths start from, as set in the environment variable MEDSEG_DATA.

    Raises:
        UsageError: MEDSEG_DATA is not set.
        DataError: MEDSEG_DATA is not an existing folder.
    """
    named = os.environ.get("MEDSEG_DATA")
    if not named:
        raise UsageError(
            "a folder of data sets",
            got="none, because MEDSEG_DATA is not set",
            advice=f"{_SET} If a bundle makes its data by its data.yaml, run that first.",
        )
    if not Path(named).is_dir():
        raise DataError(
            "the folder of the data sets in MEDSEG_DATA",
            got=f"{named}, which is not a folder",
            advice=_SET,
        )
    return Path(named)


def shipped_manifests() -> Path:
    """The folder of the shipped manifests: inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / "data_manifests"
    return inside if inside.is_dir() else _PACKAGE.parent / "data_manifests"


def read_manifest(manifest: str | Path) -> dict[str, Any]:
    """Read a manifest by its path, or a shipped one by its name (`chase_db1`).

    Raises:
        UsageError: there is no such manifest.
        DataError: it is not JSON, lacks a required entry or has an entry of the wrong type.
    """
    path = Path(manifest)
    if not path.is_file():
        path = shipped_manifests() / f"{manifest}.json"
    if not path.is_file():
        known = [file.stem for file in shipped_manifests().glob("*.json")]
        raise UsageError("a manifest", got=str(manifest), advice=did_you_mean(str(manifest), known))
    content = _parse(path)
    for split in SPLITS:
        content[split] = [item for entry in content[split] for item in _expand(entry)]
    return content


def load_items(
    manifests: str | Path | Sequence[str | Path], split: str, keys: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The items of one split of one or several manifests, with paths that can be opened.

    The paths of image and label files are resolved; `subject` and other entries stay as they are. Each item
    also gets `data_set`, the manifest's name, and `labels`, value to name.

    Args:
        manifests: paths, or names of shipped manifests; one or several.
        split: training, validation or test.
        keys: the entries to keep, where an item has them; None keeps all.

    Raises:
        UsageError: the split or a manifest is unknown.
        DataError: the split is empty.
    """
    if split not in SPLITS:
        advice = did_you_mean(split, SPLITS)
        raise UsageError(f"one of the splits {', '.join(SPLITS)}", got=split, advice=advice)
    items = []
    for content in map(read_manifest, _listed(manifests)):
        labels = {int(value): name for value, name in content["labels"].items()}
        about = {"data_set": content["name"], "labels": labels}
        for item in ({**about, **item} for item in content[split]):
            items.append({key: _resolve(key, item[key]) for key in keys or item if key in item})
    if not items:
        raise DataError(f"items in the split {split}", got="none", advice="Choose another manifest or split.")
    return items


def check_manifest(manifest: str | Path) -> list[str]:
    """Check a data set; return one sentence for each problem, an empty list if there are none.

    Problems are missing or unreadable files, labels of another size or with unknown values, subjects in more
    than one split or fold, images with the same content, and files whose SHA-256 differs from the manifest's
    entry `sha256` (path to digest), if it has one.
    """
    content = read_manifest(manifest)
    problems: list[str] = []
    subjects: dict[str, set[str]] = defaultdict(set)
    folds: dict[str, set[int]] = defaultdict(set)
    images: dict[str, list[str]] = defaultdict(list)
    for split in SPLITS:
        for index, item in enumerate(content[split]):
            subjects[item.get("subject", "")].add(split)
            if "fold" in item:
                folds[item.get("subject", "")].add(item["fold"])
            problems += _check_item(item, f"{split}[{index}]", content, images)
    problems += [
        f"subject {name or '(none given)'} is in {', '.join(sorted(found))}"
        for name, found in subjects.items()
        if len(found) > 1
    ]
    problems += [
        f"subject {name} is in the folds {', '.join(map(str, sorted(found)))}"
        for name, found in folds.items()
        if len(found) > 1
    ]
    problems += [
        f"the same image content in {', '.join(found)}" for found in images.values() if len(found) > 1
    ]
    return problems


def given_items(
    manifests: str | Path | Sequence[str | Path], items: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The items that no manifest lists, because another program, such as MONAI Label, provides them."""
    root = os.environ.get("MEDSEG_DATA")
    if not root or not Path(root).is_dir():
        return list(items)  # no manifest's path can be resolved
    contents = [read_manifest(manifest) for manifest in _listed(manifests)]
    listed = {
        _resolve("image", item["image"])
        for content in contents
        for split in SPLITS
        for item in content[split]
    }
    return [item for item in items if item["image"] not in listed]


def require_sound(
    manifests: str | Path | Sequence[str | Path],
    items: Sequence[Mapping[str, Any]] | None = None,
    labels: Mapping[int | str, str] | None = None,
) -> None:
    """Check the data of a training before it starts: see check_manifest.

    Args:
        manifests: names or paths.
        items: the items of the training. If no manifest lists any of them, the manifests, whose data may be
            missing, are not checked. None checks the manifests alone.
        labels: value to name, for items that no manifest lists.

    Raises:
        DataError: there are no items, or the manifests or items have problems; the message names the first.
    """
    if items is not None:
        if not items:
            raise DataError(
                "images with labels", got="none", advice="Label some images and submit the labels."
            )
        given = given_items(manifests, items)
        _require_sound_items(given, labels or {})
        if len(given) == len(items):
            return
    for manifest in _listed(manifests):
        problems = check_manifest(manifest)
        if problems:
            raise DataError(
                f"a sound data set ({manifest})",
                got=f"{len(problems)} problems: {'; '.join(problems[:5])}",
                advice=_how_to_complete(manifest, problems),
            )


def _how_to_complete(manifest: str | Path, problems: Sequence[str]) -> str:
    """The next step after findings: data that a command makes are made, others are corrected."""
    command = read_manifest(manifest).get("made_by")
    if command and any(problem.endswith("is missing") for problem in problems):
        return f"Make the missing files first: {command}"
    return f"See all of them with `medseg check-data {manifest}` and correct the data."


def _require_sound_items(items: Sequence[Mapping[str, Any]], labels: Mapping[int | str, str]) -> None:
    names = {int(value): name for value, name in labels.items()}
    problems: list[str] = []
    for number, item in enumerate(items, 1):
        files = {key: Path(item[key]) for key in FILE_KEYS if item.get(key)}
        missing = [key for key in ("image", "label") if key not in files]
        problems += [f"item {number} has no {key}" for key in missing]
        problems += _check_content(files, f"item {number}", names)
    if problems:
        raise DataError(
            "images and labels that match each other",
            got=f"{len(problems)} problems: {'; '.join(problems[:5])}",
            advice="Correct these labels, or leave the images out.",
        )


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        got = f"{path.name}, which is not JSON ({error})"
        raise DataError("a manifest in JSON", got=got, advice="Correct the file.") from error
    missing = [key for key in REQUIRED if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(
            f"a manifest with {', '.join(REQUIRED)}",
            got=f"{path.name} without {', '.join(missing)}",
            advice="Add the missing entries.",
        )
    wrong = [split for split in SPLITS if not _is_item_list(content[split])]
    if not _is_label_map(content["labels"]):
        wrong.append("labels")
    if not isinstance(content.get("sha256", {}), dict):
        wrong.append("sha256")
    if wrong:
        raise DataError(
            "splits that are lists of items (key to path), labels {value: name}, sha256 {path: digest}",
            got=f"{path.name}, where {', '.join(wrong)} has another form",
            advice="Compare the file with a shipped manifest.",
        )
    return content


def _is_item_list(split: Any) -> bool:
    return isinstance(split, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(key, ""), str) for key in (*FILE_KEYS, "subject"))
        and isinstance(item.get("fold", 0), int)
        for item in split
    )


def _is_label_map(labels: Any) -> bool:
    return isinstance(labels, dict) and bool(labels) and all(value.isdecimal() for value in labels)


def _listed(manifests: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    """A list of manifests; a single name becomes a list of one."""
    return [manifests] if isinstance(manifests, (str, Path)) else manifests


def _check_item(
    item: dict[str, str], where: str, content: dict[str, Any], images: dict[str, list[str]]
) -> list[str]:
    problems = [f"{where} has no {key}" for key in ("image", "label", "subject") if not item.get(key)]
    files = {key: Path(_resolve(key, item[key])) for key in FILE_KEYS if item.get(key)}
    for key, path in files.items():
        if not path.is_file():
            problems.append(f"{where} {key}: the file {item[key]} is missing")
            continue
        digest = sha256(path)
        if key in IMAGE_KEYS:
            images[digest].append(f"{item[key]} ({where})")
        if content.get("sha256", {}).get(item[key], digest) != digest:
            problems.append(f"{where} {key}: the file {item[key]} has another SHA-256 than the manifest says")
    labels = {int(value): name for value, name in content["labels"].items()}
    return problems + _check_content({k: path for k, path in files.items() if path.is_file()}, where, labels)


def _check_content(files: dict[str, Path], where: str, labels: dict[int, str]) -> list[str]:
    """One sentence for each file of an item that can't be read or doesn't have the image's size."""
    problems: list[str] = []
    image_shape: tuple[int, ...] | None = None
    for key, path in files.items():
        try:
            if key in IMAGE_KEYS:
                image_shape = shape = read_volume(path).array.shape[1:]
            else:
                shape = read_mask(path, labels).array.shape
        except MedsegError as error:
            problems.append(f"{where} {key}: {error}")
            continue
        if image_shape not in (None, shape):
            problems.append(f"{where} {key}: size {shape}, but the image has {image_shape}")
    return problems


def _expand(entry: dict[str, str]) -> list[dict[str, str]]:
    """Expand an entry whose paths are patterns (images/*.png, labels/*.png) into one item for each image.

    A label belongs to the image whose name it has, or whose name it starts with, followed by a character
    that is no letter or digit (12.png, 12_mask.png). Labels may lie in the same folder as images. Each image
    gets a subject of its own.

    Raises:
        DataError: a pattern is absolute instead of relative to MEDSEG_DATA, or an image has no label or
            several.
    """
    if "*" not in entry.get("image", ""):
        return [entry]
    candidates = {key: _glob(entry[key]) for key in LABEL_KEYS if key in entry}
    taken = {path for paths in candidates.values() for path in paths}
    items = []
    for image in (path for path in _glob(entry["image"]) if path not in taken):
        item = {"image": _relative(image), "subject": f"{entry.get('subject', 'subject')}_{image.stem}"}
        for key, paths in candidates.items():
            found = [path for path in paths if _belongs(path.stem, image.stem)]
            if len(found) != 1:
                raise DataError(
                    f"one file of {entry[key]} for {image.name}",
                    got=", ".join(path.name for path in found) or "none",
                    advice="Name each label like its image, or list the files one by one.",
                )
            item[key] = _relative(found[0])
        items.append(item)
    return items or [entry]


def _glob(pattern: str) -> list[Path]:
    """The files that match a pattern, without hidden ones (.DS_Store, ._12.png)."""
    if Path(pattern).is_absolute():
        raise DataError(
            "a pattern relative to MEDSEG_DATA",
            got=pattern,
            advice="Write the pattern without the path of that folder.",
        )
    files = (path for path in data_root().glob(pattern) if path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def _belongs(label: str, image: str) -> bool:
    return label == image or (label.startswith(image) and not label[len(image)].isalnum())


def _relative(path: Path) -> str:
    return path.relative_to(data_root()).as_posix()


def _resolve(key: str, value: Any) -> Any:
    if key not in FILE_KEYS or Path(value).is_absolute():
        return value
    return str(data_root() / value)
