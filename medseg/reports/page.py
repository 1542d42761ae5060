"""report.html: one file in which a clinician reviews a case, on screen or on paper, without a network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.io.raster import encode_jpeg
from medseg.reports.legend import MOST_NAMES, largest_first, shortened
from medseg.reports.picture_overlay import colour_of, draw_picture_overlay, to_display
from medseg.reports.record import plain
from medseg.reports.volume_page import volume_pictures
from medseg.volume import Mask, Window

LONG_SIDE = 1600  # px of an embedded picture: sharp on A4 and on most screens, a page of about 1 MB

_UNITS = {
    "percent": "%",
    "1": "",
    "count": "",
    "ratio": "",
    "dimensionless": "",
    "mm2": "mm²",
    "mm3": "mm³",
    "um": "µm",
    "px2": "px²",
    "deg": "°",
}
_ACRONYMS = {"ct": "CT", "hu": "HU", "laa": "LAA", "monai": "MONAI", "sha256": "SHA-256"}
MOST_COLUMNS = 8  # of a table of objects: more do not fit on a sheet of A4
LISTED_NAMES = 5  # more measurements than this without a value are counted, their names folded away


def write_page(
    path: str | os.PathLike[str],
    *,
    image: np.ndarray,
    mask: Mask,
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
    field_of_view: np.ndarray | None = None,
    window: Window | None = None,
    tissues: Mask | None = None,
) -> None:
    """Write report.html, in full or not at all.

    The page names the case only by provenance["input"]. Its title is provenance["task"], else
    provenance["bundle"]. The banner is green only if there are no warnings and quality["verdict"] is "pass"
    or missing.

    Args:
        path: the file; its folder must exist.
        image: (C, row, column), C 1 or 3, a picture; or (1, i, j, k), a volume.
        mask: (row, column) or (i, j, k), the labels on its grid.
        measurements: name to {"value": number, list, dict or None, "unit": str}; a value of None has a
            "reason" too.
        quality: {"verdict": "pass" or "warn", ...}; empty if no check was made.
        warnings: sentences for the reader; empty if there are none.
        provenance: bundle, weights, versions, input and date; may be nested.
        field_of_view: (row, column) bool, True where the picture was analysed; not for volumes.
        window: the range of a volume's values that is shown; None for all but the extremes.
        tissues: a second mask of a volume on the same grid, which gets pictures of its own; None for none.

    Raises:
        UnsuitableError: the image has a shape that can't be shown, or a volume has no affine.
        MedsegError: the mask or the field of view is on another grid than the image.
    """
    pictures = (
        volume_pictures(image, mask, window, tissues)
        if image.ndim == 4
        else _picture(image, mask, field_of_view)
    )
    html = render(
        "volume.html.j2" if image.ndim == 4 else "page.html.j2",
        **page_texts(measurements, quality, warnings, provenance),
        **_legend(mask, pictures["found"]),
        empty=not mask.array.any(),
        **pictures,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def page_texts(
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The variables of page.html.j2 that are not pictures; arguments as for write_page."""
    origin = dict(_flat(plain(provenance)))
    numbers = plain(measurements)
    return {
        "title": readable(origin.get("task") or origin.get("bundle") or "Segmentation"),
        "case": origin.get("input", ""),
        "concerns": _concerns(quality, warnings),
        "measurements": [
            _row(name, entry)
            for name, entry in numbers.items()
            if entry["value"] is not None and not _is_table(entry["value"])
        ],
        "tables": [
            _table(name, entry["value"]) for name, entry in numbers.items() if _is_table(entry["value"])
        ],
        "unknown": _unknown(numbers),
        "listed_names": LISTED_NAMES,
        "checked": bool(quality),
        "provenance": {name: _provenance_text(value) for name, value in origin.items()},
        "readable": readable,
    }


def render(template: str, **values: Any) -> str:
    """Fill a template that lies beside this file; all values are escaped.

    Args:
        template: the template's file name.
        values: the variables of the template; a missing one is an error.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: files("medseg.reports").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def readable(name: str) -> str:
    """A key as words: vessel_density becomes "Vessel density", lung_ct "Lung CT"."""
    words = _words(name)
    return words[:1].upper() + words[1:]


def _words(name: str) -> str:
    words = str(name).replace("_", " ").replace(".", ": ").split(" ")
    return " ".join(_ACRONYMS.get(word, word) for word in words)


def _concerns(quality: Mapping[str, Any], warnings: Sequence[str]) -> list[str]:
    """The sentences that the banner lists; empty if there are no warnings and the verdict is pass."""
    concerns = plain(list(warnings))
    verdict = quality.get("verdict", "pass")
    if verdict != "pass" and not concerns:
        concerns.append(f"The quality check ended with: {verdict}")
    return concerns


def _picture(image: np.ndarray, mask: Mask, field_of_view: np.ndarray | None) -> dict[str, Any]:
    """The variables that page.html.j2 needs for a picture, and the set of labels that occur in the mask."""
    overlay = draw_picture_overlay(image, mask, field_of_view)
    return {
        "picture": data_url(to_display(image)),
        "overlay": data_url(overlay),
        "size": overlay.shape[1::-1],
        "reduced": max(overlay.shape) > LONG_SIDE,
        "has_field": field_of_view is not None,
        "found": set(np.unique(mask.array).tolist()),
    }


def _legend(mask: Mask, found: set[int]) -> dict[str, Any]:
    """Name, colour and presence of each label except the background: the largest, and how many more."""
    unnamed = {int(value): f"label {value}" for value in sorted(found) if value}
    names, more = shortened(largest_first(mask) or unnamed, MOST_NAMES)
    entries = [
        {"name": readable(name), "colour": colour_of(value), "found": value in found}
        for value, name in names.items()
    ]
    return {"legend": entries, "legend_more": more}


def data_url(picture: np.ndarray, long_side: int = LONG_SIDE) -> str:
    """A (row, column, 3) uint8 picture as a JPEG data URL, reduced to at most `long_side` px."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, long_side)).decode("ascii")


def _row(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table of measurements: a readable name and its text, or its histogram."""
    value, unit = entry["value"], str(entry["unit"])
    histogram = _histogram(value)
    text = "" if histogram else _text(value, _UNITS.get(unit, unit))
    return {
        "name": readable(_without_unit(name, unit)),
        "text": text,
        "unit": _UNITS.get(unit, unit),
        "reason": entry.get("reason", ""),
        "histogram": histogram,
    }


def _is_table(value: Any) -> bool:
    """Whether a value is a list of objects, each with its measurements, such as lesions."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _table(name: str, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A column for each of the first objects, a row for each measurement that any of them has."""
    shown = objects[:MOST_COLUMNS]
    keys = [key for key in shown[0] if any(each.get(key) is not None for each in shown)]
    rows = [(readable(key), [_text(each.get(key), "") for each in shown]) for key in keys]
    return {"name": readable(name), "count": len(shown), "rows": rows, "more": len(objects) - len(shown)}


def _unknown(measurements: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each reason for a missing value, with the readable names of the measurements that lack it."""
    unknown: dict[str, list[str]] = {}
    for name, entry in measurements.items():
        if entry["value"] is None:
            text = f"{_words(_without_unit(name, entry['unit']).lower())} ({entry['unit']})"
            unknown.setdefault(entry.get("reason") or "no reason was given", []).append(text)
    return unknown


def _provenance_text(value: Any) -> str:
    """A leaf of the provenance as text: lists joined, "none" for nothing."""
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _without_unit(name: str, unit: str) -> str:
    """The name without its unit, which is shown beside the value."""
    if _UNITS.get(unit, unit) == "":
        return name
    if unit.startswith("%"):
        return name.removesuffix("_percent")
    return name.removesuffix(f"_{unit.lower().replace('²', '2').replace('³', '3')}")


def _text(value: Any, unit: str) -> str:
    """A value in words; empty for None."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "; ".join(f"{readable(key)}: {_text(item, unit) or 'not known'}" for key, item in _flat(value))
    if isinstance(value, list):
        return (
            ", ".join(_text(item, "") or "not known" for item in value) + f" {unit}" * bool(unit and value)
            or "none"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = value if isinstance(value, str) else _number(value)
    if unit.startswith("probability") and not isinstance(value, str) and 0 < value < 1e-3:
        number = "<0.001"
    return f"{number}{'' if unit in ('%', '°') else ' '}{unit}".strip()


def _number(value: float) -> str:
    """Four significant digits; whole numbers in full; an exponent only below 0.0001 and from a million on."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3e}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _histogram(value: Any) -> dict[str, Any] | None:
    """Bars (heights 0 to 1) and axis of a value {"edges", "counts"}; None for any other value."""
    if not (isinstance(value, dict) and value.get("counts") and value.get("edges")):
        return None
    counts, edges = value["counts"], value["edges"]
    top = max(*counts, 1)
    return {
        "bars": [count / top for count in counts],
        "low": _number(edges[0]),
        "high": _number(edges[-1]),
        "total": f"{_number(sum(counts))} counted",
    }


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested mappings, their keys joined by dots."""
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        leaves += _flat(value, name) if isinstance(value, Mapping) else [(name, value)]
    return leaves
