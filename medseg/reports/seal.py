"""What measurements.json tells of the files beside it and of itself, so that a later change is seen.

A seal is no signature: whoever writes all of it anew leaves no trace. Records are of the types of JSON here;
see medseg.reports.record.plain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILES, DIGESTS = "files", "digests"
_MEASUREMENTS, _RECORD = "measurements", "record"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of_files(paths: Iterable[Path]) -> dict[str, str]:
    """Name to SHA-256 of files, in the order of the names."""
    return {path.name: file_sha256(path) for path in sorted(paths)}


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the digests of its content, in the place of earlier ones."""
    content = {key: value for key, value in record.items() if key != DIGESTS}
    measured = _digest(content.get(_MEASUREMENTS))
    return {**content, DIGESTS: {_MEASUREMENTS: measured, _RECORD: _digest(content)}}


def broken_seals(record: Mapping[str, Any]) -> list[str]:
    """Which digests don't fit a sealed record: measurements, record, both or none of them."""
    told, right = record.get(DIGESTS), sealed(record)[DIGESTS]
    return [name for name, digest in right.items() if not isinstance(told, dict) or told.get(name) != digest]


def resealed(record: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The record with digests that fit, if those of the earlier one did; a change stays visible."""
    if FILES not in earlier or broken_seals(earlier):
        return dict(record)
    return sealed(record)


def record_text(record: Mapping[str, Any]) -> str:
    """A record as the text of measurements.json: strict JSON, keys in the given order."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _digest(content: Any) -> str:
    """Of the content, whatever the layout and the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
