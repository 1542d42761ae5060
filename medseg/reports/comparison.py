"""comparison.html: is run B better than run A? For screen or paper, without a network."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import UnreadableError
from medseg.io import read_volume
from medseg.io.atomic import atomic_path
from medseg.reports.page import data_url, readable, render
from medseg.reports.picture_overlay import AGREED, FALSE_ALARM, MISSED, to_display

logger = logging.getLogger(__name__)

PICTURE_PX = 900  # of an embedded picture: half the width of A4 at 250 dpi
MAX_DOTS = 60  # cases in the dot plot; if there are more, those that changed most in either direction

_BANNERS = {"better": ("pass", "✓"), "worse": ("fail", "✗"), "no difference shown": ("open", "○")}
_DIRECTIONS = {1: "higher is better", -1: "lower is better", None: "direction unknown"}
_UNKNOWN, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
_MARGIN_PERCENT = 4  # of the dot plot's width, so that no dot is cut


def write_comparison_page(
    path: str | os.PathLike[str],
    record: Mapping[str, Any],
    *,
    worst: Mapping[str, Sequence[str]],
    pictures: Mapping[str, Sequence[Path | None]],
) -> None:
    """Write comparison.html, in full or not at all.

    Args:
        path: the file; its folder must exist.
        record: the content of comparison.json, see `medseg.evaluation.comparison.Comparison`.
        worst: the cases to show with pictures, each with the reasons.
        pictures: case to its overlays in A and in B; None for a missing one.
    """
    name, sign = record["score"], record["directions"][record["score"]]
    kind, mark = _BANNERS[record["verdict"]]
    heading, _, numbers = record["sentence"].partition(": ")
    cases = {case["case"]: case for case in record["cases"]}
    shown = [_worst_case(cases[case], reasons, pictures.get(case, ())) for case, reasons in worst.items()]
    html = render(
        "comparison.html.j2",
        runs=list(zip("AB", (record["a"], record["b"]), record["sources"], strict=True)),
        score=readable(name),
        direction=_DIRECTIONS[sign],
        kind=kind,
        heading=f"{mark} {heading}",
        numbers=(numbers[:1].upper() + numbers[1:]).replace(" -", f" {_MINUS}"),
        warnings=record["warnings"],
        scores=[
            _score(key, entry, record["directions"][key], key == name)
            for key, entry in record["scores"].items()
        ],
        parameters=record["parameters"],
        dots=_dots(record["cases"], sign),
        worst=shown,
        legend=[
            (text, "#" + bytes(colour.tolist()).hex())
            for text, colour in (("found", AGREED), ("missed", MISSED), ("false alarm", FALSE_ALARM))
        ],
        any_picture=any(side["picture"] for case in shown for side in case["sides"]),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _score(name: str, entry: Mapping[str, Any], sign: int | None, decides: bool) -> dict[str, Any]:
    """One row of the table of scores, as text."""
    p, low, high = entry["p"], entry["low"], entry["high"]
    return {
        "name": readable(name),
        "decides": decides,
        "direction": _DIRECTIONS[sign],
        "a": _number(entry["mean_a"]),
        "b": _number(entry["mean_b"]),
        "difference": _signed(entry["difference"]),
        "interval": _UNKNOWN if low is None else f"{_signed(low)} to {_signed(high)}",
        "p": _UNKNOWN if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}",
        "counts": f"{entry['cases']} / {entry['subjects']}",
    }


def _dots(cases: Sequence[Mapping[str, Any]], sign: int) -> dict[str, Any]:
    """The lines of the paired dot plot, the largest loss first, and its axis."""
    defined = sorted(
        (case for case in cases if case["difference"] is not None), key=lambda case: sign * case["difference"]
    )
    half = MAX_DOTS // 2
    plotted = defined if len(defined) <= MAX_DOTS else defined[:half] + defined[-half:]
    values = [case[side] for case in plotted for side in "ab"]
    low, high = min(values), max(values)
    gains = [sign * case["difference"] for case in defined]
    return {
        "lines": [_dot(case, sign, low, high) for case in plotted],
        "axis": [_number(value) for value in (low, (low + high) / 2, high)],
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
        "equal": sum(gain == 0 for gain in gains),
        "left_out": len(defined) - len(plotted),
    }


def _dot(case: Mapping[str, Any], sign: int, low: float, high: float) -> dict[str, Any]:
    """One case of the dot plot: its texts, and the positions of its dots in percent of the width."""
    width = 100 - 2 * _MARGIN_PERCENT
    at = {
        side: _MARGIN_PERCENT + width * (case[side] - low) / (high - low) if high > low else 50.0
        for side in "ab"
    }
    gain = sign * case["difference"]
    return {
        "case": case["case"],
        "a": _number(case["a"]),
        "b": _number(case["b"]),
        "difference": _signed(case["difference"]),
        "at_a": f"{at['a']:.2f}%",
        "at_b": f"{at['b']:.2f}%",
        "kind": "gain" if gain > 0 else "loss" if gain < 0 else "same",
    }


def _worst_case(
    case: Mapping[str, Any], reasons: Sequence[str], pictures: Sequence[Path | None]
) -> dict[str, Any]:
    """One case with its pictures."""
    sides = [
        {"name": name, "score": _number(case[name.lower()]), "picture": _embedded(picture)}
        for name, picture in zip("AB", pictures or (None, None), strict=True)
    ]
    why = ", ".join(reasons)
    return {
        "case": case["case"],
        "why": why[:1].upper() + why[1:],
        "difference": _signed(case["difference"]),
        "sides": sides,
    }


def _embedded(path: Path | None) -> str:
    """A picture as a data URL; empty if there is none or if the file is not a picture."""
    if path is None:
        return ""
    try:
        # Encoded again, so that only the content of a picture gets into the page.
        return data_url(to_display(read_volume(path).array), PICTURE_PX)
    except UnreadableError as error:
        logger.warning("a picture is left out of the page: %s", error)
        return ""


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4f}".replace("-", _MINUS)


def _signed(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:+.4f}".replace("-", _MINUS)
