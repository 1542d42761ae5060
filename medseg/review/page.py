"""The review page: one folder with index.html that opens without a server and without a network."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from medseg.console import progress_bar
from medseg.errors import UsageError, error_text
from medseg.io import Input
from medseg.io.atomic import atomic_path, require_folder
from medseg.review import pieces
from medseg.review.cases import ReviewCase, find_cases, is_case
from medseg.review.display import display_of
from medseg.review.entries import entry_of
from medseg.review.order import BROKEN
from medseg.review.pieces import OVERLAY_PX, Piece
from medseg.sources import source_finder

INDEX, LIST = "index.html", "cases.js"
DEFAULT = "review"

logger = logging.getLogger(__name__)


def write_review(
    out: str | Path,
    images: Sequence[str | Path] = (),
    page: str | Path | None = None,
) -> Path:
    """Write the page of all cases in a result folder.

    A page that is there already is brought up to date: only what has changed is read and written.

    Args:
        out: the folder that holds the folders of the cases.
        images: files, folders or patterns where images are looked for first, for data that has moved.
        page: its folder; None for `review` in `out`, or `review-page` if `review` is a case.

    Returns:
        The path of index.html.

    Raises:
        UsageError: `out` holds no case, or `page` names a folder with other files.
        MedsegError: the folder can't be written to.
        OSError: a file can't be written.
    """
    out = Path(out)
    cases = find_cases(out)
    target = Path(page) if page is not None else _default_place(out, cases)
    _require_place(target)
    data = target / pieces.FOLDER
    _begin(target)
    data.mkdir(exist_ok=True)
    entries = []
    source_of = source_finder(images)
    with progress_bar("Review", "cases", total=len(cases)) as advance:
        for case in cases:
            entries.append(_entry(case, target, data, source_of))
            advance()
    entries.sort(
        key=lambda entry: entry["verdict"] != BROKEN
    )  # that a mask is broken is seen when it is read
    pieces.write_script(target / LIST, "begin", {"cases": entries})
    _copy_assets(target)
    kept = {str(entry[key]).split(".")[0].rpartition("/")[2] for entry in entries for key in _FILES}
    pieces.remove_others(data, kept)
    return target / INDEX


_FILES = ("piece", "thumb", "overlay")


def _default_place(out: Path, cases: Sequence[ReviewCase]) -> Path:
    """`review` in the folder of results, unless that is a case or holds some: of a picture review.jpg."""
    place = out / DEFAULT
    is_taken = any(place in (case.folder, case.folder.parent) for case in cases)
    return out / f"{DEFAULT}-page" if is_taken else place


def _require_place(target: Path) -> None:
    require_folder(target)
    others = [path for path in target.iterdir() if not _is_left_over(path)] if target.is_dir() else []
    if is_case(target) or (others and not (target / LIST).is_file()):
        raise UsageError(
            "a new or empty folder, or an earlier page, to write the page to",
            got=f"{target}, which is a case" if is_case(target) else f"{target} with other files",
            advice="Name another folder by -o.",
        )


def _begin(target: Path) -> None:
    """Write the list first, by which a page is known that was stopped before it was whole."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if _is_left_over(path):
            path.unlink(missing_ok=True)
    if not (target / LIST).is_file():
        pieces.write_script(target / LIST, "begin", {"cases": []})


def _is_left_over(path: Path) -> bool:
    """Whether a killed process left this file: it was about to be renamed (see medseg.io.atomic)."""
    return re.fullmatch(r"\.[0-9a-f]{8}\..+\.(js|html|css|txt)", path.name) is not None and path.is_file()


def _entry(case: ReviewCase, target: Path, data: Path, source_of: Callable[[Path], Input]) -> dict[str, Any]:
    """Write the data of a case, and return its entry in the list, whatever is wrong with the case."""
    try:
        return _whole_entry(case, target, data, source_of)
    except OSError:
        raise  # the page can't be written
    except Exception as error:
        logger.warning("%s: %s", case.name, error_text(error))
        told = f"This case can't be read: {error_text(error)}"
        broken = ReviewCase(case.name, case.folder, problem=told)
        return entry_of(broken, Piece(problem=told, broken=True), "", "", (), target)


def _whole_entry(
    case: ReviewCase, target: Path, data: Path, source_of: Callable[[Path], Input]
) -> dict[str, Any]:
    display = display_of(str(case.record.get("task", "")))
    piece = pieces.write_piece(case, data, source_of, display.modality)
    if piece.problem:
        logger.warning("%s: %s", case.name, piece.problem)
    thumb = pieces.write_thumb(case, data)
    overlay = pieces.write_thumb(case, data, OVERLAY_PX) if piece.problem and thumb else ""
    return entry_of(case, piece, thumb, overlay, display.windows, target)


def _copy_assets(target: Path) -> None:
    with as_file(files("medseg.review").joinpath("assets")) as folder:
        for asset in sorted(folder.iterdir(), key=lambda path: path.name == INDEX):
            with atomic_path(target / asset.name) as temporary:
                shutil.copyfile(asset, temporary)
