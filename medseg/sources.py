"""Where the images of saved results lie, for commands that need an image again.

A result folder holds no path, so that it can be passed on. Beside the folders of the cases stands
`sources.jsonl`, a line for each case that was segmented; the last line of a case counts. Lines are only
added, so that several processes can write results into one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io import Input, case_name, find_inputs

SOURCES = "sources.jsonl"
RECORD = "measurements.json"


def remember(folder: str | Path, case: str, source: Input) -> None:
    """Note where the image of a case lies.

    Args:
        folder: the folder that holds the folders of the cases; it must exist.
        case: the name of the case's folder.
        source: a file, a folder, an archive, or the files of one DICOM series.

    Raises:
        OSError: the line can't be written.
    """
    paths = source if isinstance(source, tuple) else (source,)
    line = json.dumps({"case": case, "source": [os.path.abspath(path) for path in paths]})
    with Path(folder, SOURCES).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")


def source_of(case_folder: str | Path, images: Sequence[str | Path] = ()) -> Input:
    """The image that a saved result was made from.

    An image that is one file, an archive too, is the one whose SHA-256 the record holds. A DICOM series of
    many files is known by its place alone: compare its grid with the mask's.

    Args:
        case_folder: the folder of one case.
        images: files, folders or patterns where images are looked for first, for data that has moved.

    Raises:
        UnreadableError: the folder holds no result.
        UnsuitableError: the image is not where it was, or it has changed.
    """
    folder = Path(case_folder).absolute()
    about = _record(folder).get("provenance")
    digest = about.get("input_sha256") if isinstance(about, dict) else None
    for found in _candidates(folder, images):
        if not os.path.isfile(found) if isinstance(found, (str, Path)) else True:
            return found
        if _sha256(found) == digest:
            return found
    raise UnsuitableError(
        f"the image that {folder.name} was segmented from",
        got="none with its SHA-256 where it was"
        + (" and among the images that were named" if images else ""),
        advice="Name the image, or its folder, by --images.",
    )


def _candidates(folder: Path, images: Sequence[str | Path]) -> list[Any]:
    """Inputs that may be the case's image, the likeliest first."""
    named: list[Input] = find_inputs(images) if images else []
    alike = [source for source in named if case_name(source) == folder.name]
    # A series is known by its name alone, so another name is no candidate.
    others = [
        source for source in named if source not in alike and isinstance(source, Path) and source.is_file()
    ]
    noted = _noted(folder)
    return [*alike, *([noted] if noted is not None else []), *others]


def _noted(folder: Path) -> Input | None:
    """The place that was noted for a case, if there is still something there."""
    try:
        text = (folder.parent / SOURCES).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    found: Input | None = None
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            if entry["case"] == folder.name:
                paths = tuple(Path(path) for path in entry["source"])
                found = paths[0] if len(paths) == 1 else paths
        except (ValueError, KeyError, TypeError, IndexError):
            continue  # a line that a kill cut off
    if found is None:
        return None
    return (
        found
        if all(os.path.exists(path) for path in (found if isinstance(found, tuple) else [found]))
        else None
    )


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UnreadableError(
            f"a result of `medseg segment`, with {RECORD}",
            got=f"{folder.name} without a readable one",
            advice="Name the folder of a case.",
        )
    return record


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
