"""The data of each case as scripts of their own, which a page may load from a folder, too.

A browser forbids a page that was opened from a folder to read files, and allows it to load scripts.
A piece is named by what it was made of, so that a page that is written again reads no image twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import InputError, LabelError, error_text
from medseg.io.atomic import atomic_path
from medseg.io.raster import encode_jpeg
from medseg.io.raster import read as read_picture
from medseg.reports.picture_overlay import to_display
from medseg.review.cases import ReviewCase
from medseg.review.grids import Grid, grid_of
from medseg.sources import source_of

FOLDER = "pieces"
THUMB_PX, OVERLAY_PX = 160, 1600
_FORMAT = "1"  # of a piece: another number makes all pieces anew
_PART_BYTES = 3 * 2**22  # of an image in one script; a multiple of 3, so that base64 needs no padding inside


@dataclass(frozen=True)
class Piece:
    """What the list of cases says about a case's data.

    Attributes:
        name: of its scripts, without number and suffix; empty if there are none.
        kind: "volume" or "picture"; empty if there are none.
        parts: how many scripts its image has.
        found: the labels in the mask, without the background; None if unknown.
        fixed: why the mask can't be edited; empty if it can.
        problem: why there is no image, as a sentence.
    """

    name: str = ""
    kind: str = ""
    parts: int = 0
    found: list[int] | None = None
    fixed: str = ""
    problem: str = ""


def write_piece(case: ReviewCase, folder: Path, images: Sequence[str | Path], modality: str | None) -> Piece:
    """Write the image and the mask of a case as scripts; what was written of the same data stays.

    Args:
        case: any.
        folder: where the scripts are written; it must exist.
        images: where images are looked for first.
        modality: the DICOM modality to read; None takes any.

    Raises:
        OSError: they can't be written.
    """
    if case.mask is None or not case.record:
        return Piece(problem=case.problem)
    name = _digest(_FORMAT, case.mask_sha256, str(case.provenance.get("input_sha256")), str(case.labels))
    written = _written(folder / f"{name}.json")
    if written is not None:
        return written
    try:
        grid = grid_of(case, source_of(case.folder, images), modality)
    except (InputError, LabelError, OSError) as error:
        return Piece(problem=error_text(error))
    return _write(name, grid, folder)


def _write(name: str, grid: Grid, folder: Path) -> Piece:
    starts = range(0, len(grid.image), _PART_BYTES)
    for number, start in enumerate(starts, 1):
        text = base64.b64encode(grid.image[start : start + _PART_BYTES]).decode("ascii")
        write_script(folder / f"{name}-{number}.js", "part", name, number, text)
    write_script(folder / f"{name}-0.js", "part", name, 0, grid.facts)
    piece = Piece(name, grid.facts["kind"], len(starts), grid.found, grid.facts["fixed"])
    with atomic_path(folder / f"{name}.json") as temporary:  # last: it says that the scripts are whole
        temporary.write_text(json.dumps(piece.__dict__), encoding="utf-8")
    return piece


def write_thumb(case: ReviewCase, folder: Path, long_side: int = THUMB_PX) -> str:
    """Write overlay.png as a smaller JPEG and return its name; empty if it is missing or broken."""
    overlay = case.folder / "overlay.png"
    try:
        name = f"{_digest(_FORMAT, str(long_side), hashlib.sha256(overlay.read_bytes()).hexdigest())}.jpg"
        if not (folder / name).is_file():
            small = encode_jpeg(to_display(read_picture(overlay).array), long_side)
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(small)
    except (InputError, OSError):
        return ""
    return name


def write_script(path: Path, function: str, *arguments: Any) -> None:
    """Write a script that calls a function of the page with some values.

    Raises:
        OSError: it can't be written.
    """
    # U+2028 and U+2029 ended a line of JavaScript before 2019.
    text = ",".join(json.dumps(each, ensure_ascii=True, allow_nan=False) for each in arguments)
    with atomic_path(path) as temporary:
        temporary.write_text(f"medsegReview.{function}({text});\n", encoding="utf-8")


def remove_others(folder: Path, names: set[str]) -> None:
    """Remove pieces and pictures that the page no longer shows; `names` are those that it does."""
    for path in folder.iterdir():
        is_ours = path.suffix in (".js", ".json", ".jpg") and len(path.stem.split("-")[0]) == _DIGITS
        if is_ours and path.name.split(".")[0].split("-")[0] not in names:
            path.unlink(missing_ok=True)


_DIGITS = 24


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_DIGITS]


def _written(path: Path) -> Piece | None:
    try:
        return Piece(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
