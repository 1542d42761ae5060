"""The files of one case against what measurements.json tells of them, and that file against itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.formats import FORMATS
from medseg.io.stamps import read_stamp
from medseg.reports.seal import DIGESTS, FILES, broken_seals, file_sha256, record_text
from medseg.stamp import KEY, Stamp, read_stamp_text
from medseg.verification.verdict import Checked

RECORD = "measurements.json"
_AWAY = ".rejected"  # what `medseg review` puts behind the name of a rejected mask's DICOM file
_UNSTAMPED = "no stamp: an earlier version of medseg wrote it, or all stamps were removed"


@dataclass
class _Found:
    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_files(folder: Path, case: str) -> tuple[Checked, dict[str, Any]]:
    """Compare the files of a case with their hashes and stamps; also the record, empty if it can't be read.

    Args:
        folder: of the case.
        case: how it is called.
    """
    text, record = _read(folder / RECORD)
    if not record:
        there = "can't be read as JSON" if text is not None else "is missing"
        return Checked(case, (f"{RECORD} {there}",)), {}
    stamp = read_stamp_text(json.dumps(record.get(KEY)))
    if not any(key in record for key in (KEY, FILES, DIGESTS)):
        return _unstamped(folder, case), record
    found = _Found()
    found.faults += _of_the_record(record, str(text), stamp)
    kept = dict(_kept(record))
    told = _digests(record.get(FILES))
    for name, digest in {**told, **kept}.items():
        fault = _of_a_file(folder, name, digest, None if name in kept else stamp)
        found.faults += [fault] if fault else []
    for name in _names(folder) - told.keys() - kept.keys() - {RECORD}:
        _add_stranger(folder / name, record, stamp, found)
    return Checked(case, tuple(found.faults), tuple(found.doubts), tuple(sorted(found.notes)), stamp), record


def _unstamped(folder: Path, case: str) -> Checked:
    """A record without stamp and hashes: an old result, unless another file has a stamp."""
    stamped = [name for name in sorted(_names(folder)) if read_stamp(folder / name)]
    if stamped:
        fault = f"{RECORD} has no stamp, but {stamped[0]} has one: it was replaced, or its stamp was removed"
        return Checked(case, (fault,))
    return Checked(case, doubts=(_UNSTAMPED,))


def _of_the_record(record: Mapping[str, Any], text: str, stamp: Stamp | None) -> list[str]:
    """What is wrong with measurements.json itself."""
    broken = broken_seals(record)
    faults = []
    if "measurements" in broken:
        faults.append(f"{RECORD}: a measurement was changed")
    elif broken:
        faults.append(f"{RECORD}: its content was changed, the measurements were not")
    elif text != record_text(record):
        faults.append(f"{RECORD}: its layout was changed, its content was not")
    if stamp is None:
        faults.append(f"{RECORD}: its stamp is damaged or was removed")
    return faults


def _of_a_file(folder: Path, name: str, digest: str, stamp: Stamp | None) -> str:
    """What is wrong with a file that the record names; empty if nothing is."""
    path = folder / name
    if Path(name).name != name:
        return f"{RECORD} names a file in another folder"
    if not path.is_file():
        return f"{name} is missing"
    try:
        is_changed = file_sha256(path) != digest
    except OSError as error:
        return f"{name} can't be read ({error.strerror})"
    own = read_stamp(path)
    if stamp is not None and own is not None and own.result != stamp.result:
        return f"{name} is of another result ({_origin(own)})"
    return f"{name} was changed" if is_changed else ""


def _add_stranger(path: Path, record: Mapping[str, Any], stamp: Stamp | None, found: _Found) -> None:
    """What a file means that the record does not name."""
    if path.name.startswith("."):
        found.notes.append(f"{path.name} was left by a program that was stopped, or is hidden")
        return
    own = read_stamp(path) if path.is_file() else None
    if own is not None and (stamp is None or own.result != stamp.result):
        found.faults.append(f"{path.name} is of another result ({_origin(own)})")
    elif path.name in _names_of_formats(record):
        found.faults.append(f"{path.name} is not of this result")
    else:
        found.notes.append(f"{path.name} was added")


def _origin(stamp: Stamp) -> str:
    """Which result it is, as far as the stamp tells."""
    parts = (stamp.task, stamp.input_sha256 and f"image {stamp.input_sha256[:8]}", stamp.written)
    return ", ".join(filter(None, parts)) or f"number {stamp.result[:8]}"


def _names_of_formats(record: Mapping[str, Any]) -> set[str]:
    """The names that files of a result may have, those of a rejected mask too."""
    labels = record.get("labels")
    names = [str(name) for name in labels.values()] if isinstance(labels, dict) else []
    files = [file for each in FORMATS.values() for file in each.files]
    found = {file.format(label=name) for file in files for name in (names if "{label}" in file else [""])}
    return found | {f"{name}{_AWAY}" for name in found}


def _kept(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The masks that a person has corrected, and that were kept beside the new one: name and SHA-256."""
    about = record.get("provenance")
    reviews = about.get("review") if isinstance(about, dict) else None
    for review in reviews if isinstance(reviews, list) else []:
        if isinstance(review, dict) and review.get("earlier_mask"):
            yield str(review["earlier_mask"]), str(review.get("mask_sha256"))


def _digests(files: Any) -> dict[str, str]:
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, dict) else {}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _read(path: Path) -> tuple[str | None, dict[str, Any]]:
    """The text of a record, None if it is missing, and its content, empty if it is no record."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None, {}
    except (OSError, ValueError):
        return "", {}
    try:
        record = json.loads(text)
        json.dumps(record, allow_nan=False)
    except (ValueError, RecursionError):
        return text, {}
    return text, record if isinstance(record, dict) else {}
