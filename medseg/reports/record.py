"""measurements.json: the numbers of one case for other programs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import PurePath
from typing import Any

import numpy as np

from medseg.errors import MedsegError
from medseg.io.atomic import atomic_path
from medseg.reports.seal import FILES, record_text, sealed
from medseg.stamp import KEY, Stamp

VERDICTS = {"accept": "accepted", "reject": "rejected", "edit": "edited"}
_OF_A_REVIEW = ("reviewer", "date", "comment")


def write_record(
    path: str | os.PathLike[str],
    *,
    task: str,
    labels: Mapping[int, str],
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
    tissues: Mapping[int, str] | None = None,
    stamp: Stamp | None = None,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write measurements.json: strict JSON in UTF-8, keys in the given order, in full or not at all.

    Args:
        path: the file; its folder must exist.
        task: the name of the task.
        labels: label value to name, background included.
        measurements: name to {"value", "unit"}, and "reason" if the value is null.
        quality: the result of the quality checks.
        warnings: sentences for the user; empty if there are none.
        provenance: bundle, weights, versions, input and date; where persons have reviewed the result also
            `review`. The last review stands at the top level too, because `quality` is that of the automatic
            mask.
        tissues: value of the second label map to name; left out if there is none.
        stamp: the one in the other files; None leaves out the digests, too.
        files: the other files' names to their SHA-256.

    Raises:
        MedsegError: JSON can't hold a value; see `plain`.
    """
    record = {
        "task": task,
        "labels": {int(value): name for value, name in labels.items()},
        **({"tissues": {int(value): name for value, name in tissues.items()}} if tissues else {}),
        "measurements": measurements,
        "warnings": list(warnings),
        "quality": quality,
        **review_of(provenance),
        "provenance": provenance,
    }
    content = plain(record)
    if stamp is not None:
        content = sealed({**content, KEY: stamp.entry(), FILES: dict(files or {})})
    with atomic_path(path) as temporary:
        temporary.write_text(record_text(content), encoding="utf-8")


def review_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `review` of a record: the verdict of the last person who reviewed; empty where none has."""
    reviews = provenance.get("review")
    if not reviews:
        return {}
    last = reviews[-1]
    told = {key: last.get(key, "") for key in _OF_A_REVIEW}
    return {"review": {"verdict": VERDICTS[last["decision"]], **told}}


def plain(value: Any, where: str = "") -> Any:
    """Convert a value to the types of strict JSON: dict, list, str, int, float, bool and None.

    NumPy numbers become Python numbers, paths and dates become text. In an entry {"value": ...}, numbers that
    are NaN or infinite become null, and its "reason" tells so.

    Args:
        value: any nested value; arrays of any shape become lists.
        where: the keys that lead to the value, for the message.

    Raises:
        MedsegError: a number is NaN or infinite outside such an entry, or a type is unknown.
    """
    if isinstance(value, Mapping):
        entry = _explained(value) if "value" in value else value
        return {_text(str(key)): plain(item, f"{where}.{key}".strip(".")) for key, item in entry.items()}
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, date | PurePath):
        return value.isoformat() if isinstance(value, date) else _text(str(value))
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise MedsegError(
        f"a finite number, text, list or mapping for {where}",
        got=repr(value) if isinstance(value, float) else f"a {type(value).__name__}",
        advice='Give {"value": null, "unit": ..., "reason": ...} for a value that can\'t be known.',
    )


def _text(value: str) -> str:
    """The text with a replacement character for each byte of a file name that is not valid UTF-8."""
    try:
        content = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other surrogates, as names on Windows may hold
        content = value.encode("utf-8", "replace")
    return content.decode("utf-8", "replace")


def _explained(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The measurement with null for each number that is not finite, and a reason."""
    value, lost = _without_nan(entry["value"])
    explained = {**entry, "value": value}
    if lost:
        found = (
            "the result is not a finite number" if value is None else f"{lost} of its numbers are not finite"
        )
        explained["reason"] = "; ".join(filter(None, [entry.get("reason"), found]))
    return explained


def _without_nan(value: Any) -> tuple[Any, int]:
    """The value with None in place of NaN and infinity, and the number of replacements."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return (value, 0) if math.isfinite(value) else (None, 1)
    if isinstance(value, Mapping):
        pairs = {key: _without_nan(item) for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, sum(lost for _, lost in pairs.values())
    if isinstance(value, list | tuple):
        items = [_without_nan(item) for item in value]
        return [item for item, _ in items], sum(lost for _, lost in items)
    return value, 0
