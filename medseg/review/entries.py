"""What the list of the review page says about a case, besides its voxels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medseg.modes import SEMANTIC
from medseg.reports.page import page_texts, readable, rounded
from medseg.reports.picture_overlay import colour_of
from medseg.reports.record import plain
from medseg.review.cases import ReviewCase
from medseg.review.order import BROKEN, is_number, lowest_predicted
from medseg.review.pieces import FOLDER, Piece

_ORIGIN = ("method", "bundle_version", "date", "weights_sha256")


def entry_of(
    case: ReviewCase, piece: Piece, thumb: str, overlay: str, windows: Sequence[Any], target: Path
) -> dict[str, Any]:
    """The entry of one case, for JSON.

    Args:
        case: any.
        piece: its data.
        thumb, overlay: names of its small picture and of that in place of its image; empty for none.
        windows: of its task.
        target: the folder of the page, from which links start.
    """
    task, percentile = str(case.record.get("task", "")), _percentile(case)
    return {
        "name": case.name,
        "task": readable(task) if task else "",
        "verdict": BROKEN if piece.broken else case.verdict,
        "reviewed": _reviewed(case),
        "reasons": plain(case.quality.get("reasons") or []),
        "predicted": _predicted(case),
        "unpredicted": _text(case.quality.get("predicted_dice_reason")),
        "novelty": percentile,
        "unusual": "" if percentile is None else f"{rounded(percentile, 0)}%",
        "warnings": case.warnings,
        "labels": _labels(case, piece),
        "mask": _mask(case, piece),
        "piece": piece.name,
        "parts": piece.parts,
        "kind": piece.kind,
        "fixed": _fixed(case, piece),
        "problem": piece.problem,
        "windows": [dict(window) for window in windows] if piece.kind == "volume" else [],
        "thumb": f"{FOLDER}/{thumb}" if thumb else "",
        "overlay": f"{FOLDER}/{overlay}" if overlay else "",
        "report": _link(case.folder / "report.html", target),
        "facts": _facts(case),
    }


def _reviewed(case: ReviewCase) -> str:
    """What a review before this one came to; empty if there was none."""
    review = case.record.get("review")
    if not isinstance(review, dict):
        return ""
    reviewer = review.get("reviewer")
    return str(review.get("verdict", "reviewed")) + (f" by {reviewer}" if reviewer else "")


def _fixed(case: ReviewCase, piece: Piece) -> str:
    mode = case.provenance.get("mode", SEMANTIC)
    if mode != SEMANTIC:
        return f"The mask's values number objects (mode {mode}), so it can't be edited here."
    return piece.fixed


def _labels(case: ReviewCase, piece: Piece) -> list[dict[str, Any]]:
    return [
        {
            "value": value,
            "name": readable(name),
            "colour": colour_of(value),
            "found": piece.found is None or value in piece.found,
        }
        for value, name in case.labels.items()
        if value
    ]


def _mask(case: ReviewCase, piece: Piece) -> dict[str, str] | None:
    """What is decided on; None where nothing can be."""
    if case.mask is None or not case.record or piece.broken:
        return None
    return {"name": case.mask.name, "sha256": case.mask_sha256}


def _percentile(case: ReviewCase) -> float | None:
    """Which share of the training images, in percent, is less unusual; None if that is not known."""
    novelty = case.quality.get("novelty")
    value = novelty.get("percentile") if isinstance(novelty, dict) else None
    return float(value) if value is not None and is_number(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _predicted(case: ReviewCase) -> dict[str, Any] | None:
    """The lowest predicted Dice and bound, and those of each label; None if nothing was predicted."""
    value, low = lowest_predicted(case.predicted)
    if value is None:
        return None
    each = {
        readable(name): _label(entry) for name, entry in case.predicted.items() if isinstance(entry, dict)
    }
    return {"value": value, "low": low, "labels": each}


def _label(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The predicted Dice of one label, and as texts that are rounded as report.html rounds them."""
    value, interval = entry.get("value"), entry.get("interval")
    is_whole = isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval))
    return {
        **plain(entry),
        "text": rounded(value, 2) if value is not None and is_number(value) else "",
        "range": " to ".join(rounded(end, 2) for end in interval) if is_whole and interval else "",
    }


def _facts(case: ReviewCase) -> dict[str, Any]:
    """Measurements as texts, and where the mask came from; empty if the record holds none that fit."""
    try:
        texts = page_texts(case.record["measurements"], case.quality, case.warnings, case.provenance)
    except (KeyError, TypeError, AttributeError):
        return {"rows": [], "origin": []}
    rows = [[row["name"], row["text"]] for row in texts["measurements"] if row["text"]]
    origin = [[name, str(case.provenance[name])] for name in _ORIGIN if case.provenance.get(name)]
    return {"rows": rows, "origin": [[readable(name), text] for name, text in origin]}


def _link(file: Path, target: Path) -> str:
    """The path of a file from the page, as a URL; empty if there is no such file."""
    return quote(Path(os.path.relpath(file, target)).as_posix()) if file.is_file() else ""
