"""Where the images of saved results lie, for commands that need an image again.

A result folder holds no path, so that it can be passed on. Beside the folders of the cases stands
`sources.jsonl`, a line for each case that was segmented; the last line of a case counts. Lines are only
added, so that several processes can write results into one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError, UnsuitableError
from medseg.io import Input, case_name, find_inputs

SOURCES = "sources.jsonl"
RECORD = "measurements.json"


def remember(folder: str | Path, case: str, source: Input, formats: Sequence[str] | None = None) -> None:
    """Note where the image of a case lies.

    Args:
        folder: the folder that holds the folders of the cases; it must exist.
        case: the name of the case's folder.
        source: a file, a folder, an archive, or the files of one DICOM series.
        formats: that were asked for; empty for the usual ones, None if that is not known. The folder of a
            case does not tell them, because some are not written of an empty mask.

    Raises:
        OSError: the line can't be written.
    """
    paths = source if isinstance(source, tuple) else (source,)
    note = {"case": case, "source": [os.path.abspath(path) for path in paths]}
    line = json.dumps({**note, **({} if formats is None else {"formats": list(formats)})})
    with Path(folder, SOURCES).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")


def formats_asked_for(case_folder: str | Path) -> list[str] | None:
    """The formats that were asked for when a case was segmented: none for the usual ones, None if unknown."""
    folder = Path(case_folder).absolute()
    found = _notes(folder.parent).get(folder.name, {}).get("formats")
    return [str(name) for name in found] if isinstance(found, list) else None


def source_of(case_folder: str | Path, images: Sequence[str | Path] = ()) -> Input:
    """The image that a saved result was made from; for many of them see source_finder.

    An image that is one file, an archive too, is the one whose SHA-256 the record holds. A DICOM series of
    many files is known by its place alone: compare its grid with the mask's.

    Args:
        case_folder: the folder of one case.
        images: files, folders or patterns where images are looked for first, for data that has moved.

    Raises:
        UnreadableError: the folder holds no result.
        UnsuitableError: the image is not where it was, or it has changed.
    """
    return source_finder(images)(case_folder)


def source_finder(images: Sequence[str | Path] = ()) -> Callable[[str | Path], Input]:
    """source_of for the folders of many cases: places are searched, and files read, once for all of them."""
    named: list[Input] = find_inputs(images) if images else []
    by_name: dict[str, list[Input]] = {}
    for source in named:
        by_name.setdefault(case_name(source), []).append(source)
    notes = cache(_notes)
    # A series is known by its name alone, so one of another name is no candidate.
    with_digest = _by_digest(source for source in named if _is_file(source))

    def find(case_folder: str | Path) -> Input:
        folder = Path(case_folder).absolute()
        about = _record(folder).get("provenance")
        digest = about.get("input_sha256") if isinstance(about, dict) else None
        noted = _noted(notes(folder.parent).get(folder.name, {}))
        for found in [*by_name.get(folder.name, []), *([noted] if noted is not None else [])]:
            if not _is_file(found) or _sha256(found) == digest:
                return found
        renamed = with_digest(digest)
        if renamed is not None:
            return renamed
        raise UnsuitableError(
            f"the image that {folder.name} was segmented from",
            got="none with its SHA-256 where it was"
            + (" and among the images that were named" if images else ""),
            advice="Name the image, or its folder, by --images.",
        )

    return find


def noted_cases(folder: str | Path) -> list[str]:
    """The cases whose images were noted in a folder of results, in the order of their names."""
    return sorted(_notes(Path(folder)))


def _is_file(source: Input) -> bool:
    return isinstance(source, str | Path) and os.path.isfile(source)


def _by_digest(files: Iterator[Any]) -> Callable[[Any], Input | None]:
    """A function from a SHA-256 to the file that has it; each file is read once, and only if needed."""
    known: dict[str, Input] = {}

    def find(digest: Any) -> Input | None:
        while digest is not None and digest not in known:
            path = next(files, None)
            if path is None:
                return None
            known.setdefault(_sha256(path), path)
        return known.get(digest)

    return find


def _noted(note: Mapping[str, Any]) -> Input | None:
    """The place in a note, if there is still something there."""
    paths = note.get("source")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        return None
    if not all(map(os.path.exists, paths)):
        return None
    return Path(paths[0]) if len(paths) == 1 else tuple(map(Path, paths))


def _notes(home: Path) -> dict[str, dict[str, Any]]:
    """The last note about each case in a folder."""
    try:
        text = (home / SOURCES).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    found = {}
    for line in text.splitlines():
        try:
            note = json.loads(line)
            found[str(note["case"])] = note
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # a line that a kill cut off
    return found


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


def _sha256(path: Any) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
