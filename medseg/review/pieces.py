"""The data of each case as scripts of their own, which a page may load from a folder, too.

A browser forbids a page that was opened from a folder to read files, and allows it to load scripts.
A piece is named by what it was made of, so that a page that is written again reads no image twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import InputError, LabelError, error_text
from medseg.io import Input, read_mask, read_volume
from medseg.io.atomic import atomic_path
from medseg.io.raster import small_jpeg
from medseg.review.cases import ReviewCase
from medseg.review.grids import Grid, grid_of, lies_on

FOLDER = "pieces"
THUMB_PX, OVERLAY_PX = 160, 1600
_FORMAT = "2"  # of a piece: another number makes all pieces anew
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
        broken: whether that is because the mask is broken or is another image's.
        sizes: bytes of each of its scripts, by which one that is not whole is known.
    """

    name: str = ""
    kind: str = ""
    parts: int = 0
    found: list[int] | None = None
    fixed: str = ""
    problem: str = ""
    broken: bool = False
    sizes: tuple[int, ...] = ()


def write_piece(
    case: ReviewCase, folder: Path, source_of: Callable[[Path], Input], modality: str | None
) -> Piece:
    """Write the image and the mask of a case as scripts; what was written of the same data stays.

    Args:
        case: any.
        folder: where the scripts are written; it must exist.
        source_of: finds the image of a case's folder; see medseg.sources.source_finder.
        modality: the DICOM modality to read; None takes any.

    Raises:
        OSError: they can't be written.
    """
    if case.mask is None or not case.record:
        return Piece(problem=case.problem, broken=True)
    name = _digest(_FORMAT, case.mask_sha256, str(case.provenance.get("input_sha256")), str(case.labels))
    written = _written(folder, name)
    if written is not None:
        return written
    try:
        mask = read_mask(case.mask, case.labels)
    except (InputError, LabelError, OSError) as error:
        return Piece(problem=error_text(error), broken=True)
    try:
        volume = read_volume(source_of(case.folder), modality)
    except (InputError, OSError) as error:
        return Piece(problem=error_text(error))
    try:
        grid = grid_of(volume, mask, case.mask)
    except InputError as error:
        return Piece(problem=error_text(error), broken=not lies_on(mask, volume))
    return _write(name, grid, folder)


def _write(name: str, grid: Grid, folder: Path) -> Piece:
    starts = range(0, len(grid.image), _PART_BYTES)
    parts = (base64.b64encode(grid.image[start : start + _PART_BYTES]).decode("ascii") for start in starts)
    sizes = []
    for number, content in enumerate((grid.facts, *parts)):
        script = script_of("part", name, number, content)
        _write_quickly(folder / f"{name}-{number}.js", script)
        sizes.append(len(script))
    piece = Piece(name, grid.facts["kind"], len(starts), grid.found, grid.facts["fixed"], sizes=tuple(sizes))
    _write_quickly(folder / f"{name}.json", json.dumps(piece.__dict__).encode())
    return piece


def _write_quickly(path: Path, content: bytes) -> None:
    """Write a file that can be made again: whole or not at all, but not flushed to the disk: that is slow."""
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_thumb(case: ReviewCase, folder: Path, long_side: int = THUMB_PX) -> str:
    """Write overlay.png as a smaller JPEG and return its name; empty if it is missing or broken."""
    overlay = case.folder / "overlay.png"
    try:
        name = f"{_digest(_FORMAT, str(long_side), hashlib.sha256(overlay.read_bytes()).hexdigest())}.jpg"
        if not (folder / name).is_file():
            _write_quickly(folder / name, small_jpeg(overlay, long_side))
    except (InputError, OSError):
        return ""
    return name


def write_script(path: Path, function: str, *arguments: Any) -> None:
    """Write a script that calls a function of the page with some values.

    Raises:
        OSError: it can't be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(script_of(function, *arguments))


def script_of(function: str, *arguments: Any) -> bytes:
    """A line of JavaScript that calls a function of the page with some values."""
    # U+2028 and U+2029 ended a line of JavaScript before 2019.
    text = ",".join(json.dumps(each, ensure_ascii=True, allow_nan=False) for each in arguments)
    return f"medsegReview.{function}({text});\n".encode("ascii")


def remove_others(folder: Path, names: set[str]) -> None:
    """Remove pieces and pictures that the page no longer shows; `names` are those that it does."""
    for path in folder.iterdir():
        digest = path.name.removeprefix(".").split(".")[0].split("-")[0]
        is_ours = path.suffix in (".js", ".json", ".jpg") and len(digest) == _DIGITS
        # A hidden one was about to be renamed when its process was killed.
        if is_ours and (path.name.startswith(".") or digest not in names):
            path.unlink(missing_ok=True)


_DIGITS = 24


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_DIGITS]


def _written(folder: Path, name: str) -> Piece | None:
    """A piece that was written before, if its scripts have their sizes: a power cut may leave empty ones."""
    try:
        piece = Piece(**json.loads((folder / f"{name}.json").read_text("utf-8")))
        sizes = [(folder / f"{name}-{number}.js").stat().st_size for number in range(piece.parts + 1)]
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return piece if sizes == list(piece.sizes) else None
