"""Measurements as the rows of a page's tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

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
LINES = "_ends_px"  # ending of a measurement that holds the two ends of a line, which is drawn and not listed
# left_lung_volume_ml, right_lung_volume_ml and, of both together, lungs_volume_ml.
_SIDED = re.compile(r"(left|right)_([a-z]+)(_.*)?")


def readable(name: str) -> str:
    """A key as words: vessel_density becomes "Vessel density", lung_ct "Lung CT"."""
    words = _words(name)
    return words[:1].upper() + words[1:]


def _words(name: str) -> str:
    words = str(name).replace("_", " ").replace(".", ": ").split(" ")
    return " ".join(_ACRONYMS.get(word, word) for word in words)


def row_of(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
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


def is_table(value: Any) -> bool:
    """Whether a value is a list of objects, each with its measurements, such as lesions."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def is_listed(name: str, known: Collection[str]) -> bool:
    """Whether a measurement is a row: not the ends of a line, nor px where mm are known, too."""
    stem = name.removesuffix("_px")
    return not name.endswith(LINES) and (stem == name or not {f"{stem}_mm", f"{stem}_mm2"} & set(known))


def table_of(name: str, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A column for each of the first objects, a row for each measurement that any of them has."""
    shown = objects[:MOST_COLUMNS]
    known = {key for key in shown[0] if any(each.get(key) is not None for each in shown)}
    keys = [key for key in shown[0] if key in known and is_listed(key, known)]
    rows = [(readable(key), [_text(each.get(key), "") for each in shown]) for key in keys]
    return {"name": readable(name), "count": len(shown), "rows": rows, "more": len(objects) - len(shown)}


def unknown_of(measurements: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each reason for a missing value, with the readable names of the measurements that lack it."""
    unknown: dict[str, list[str]] = {}
    for name, entry in measurements.items():
        if entry["value"] is None and not name.endswith(LINES):
            text = f"{_words(_without_unit(name, entry['unit']).lower())} ({entry['unit']})"
            unknown.setdefault(entry.get("reason") or "no reason was given", []).append(text)
    return unknown


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
        return "; ".join(f"{readable(key)}: {_text(item, unit) or 'not known'}" for key, item in flat(value))
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
    """As many digits as a reader needs: three at most, hundredths below 10, whole numbers in full.

    An exponent only below 0.0001 and from a million on.
    """
    size = abs(value)
    if isinstance(value, int) or (float(value).is_integer() and size < 1e15):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not 1e-4 <= size < 1e6:
        return f"{value:.1e}"
    if size < 0.01:
        return f"{value:.1g}"
    if size >= 100:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.{1 if size >= 10 else 2}f}"


def drawn_lines(measurements: Mapping[str, Mapping[str, Any]], columns: int) -> list[dict[str, Any]]:
    """The lines that objects of a picture are measured along, such as the longest diameter of each.

    A measurement X_ends_px of an object is a line, ((row, column), (row, column)); its length is X_mm, or
    X_px where that is not known.

    Args:
        measurements: name to {"value", "unit"}; lines are those of the objects in lists.
        columns: of the picture.

    Returns:
        Lines with x1, y1, x2 and y2 in px from the picture's corner, and their text, which stands at x2, y2.
    """
    objects = [each for entry in measurements.values() if is_table(entry["value"]) for each in entry["value"]]
    return [
        _line(each, key.removesuffix(LINES), columns)
        for each in objects
        for key in each
        if key.endswith(LINES) and each[key]
    ]


def _line(each: Mapping[str, Any], name: str, columns: int) -> dict[str, Any]:
    unit = "px" if each.get(f"{name}_mm") is None else "mm"
    text = _text(each.get(f"{name}_{unit}"), unit)
    # The text stands to the right of the line, unless that is where the picture ends.
    (left_y, left_x), (right_y, right_x) = sorted(each[f"{name}{LINES}"], key=lambda end: end[1])
    ends = [(left_x + 0.5, left_y + 0.5), (right_x + 0.5, right_y + 0.5)]
    anchor = "start"
    if right_x > 0.85 * columns:
        ends, anchor = ends[::-1], "end"
    (x1, y1), (x2, y2) = ends
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "name": readable(name), "text": text, "anchor": anchor}


def sided_rows(measurements: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, str]], set[str]]:
    """Measurements of a left and a right part, side by side.

    left_X_Y and right_X_Y make one row X_Y; Xs_Y, where it exists, is that of both together.

    Returns:
        Rows with name, unit, left, right and both, texts that are empty for what is not known; and the names
        of all measurements that they hold or that have no value on either side.
    """
    rows, taken = [], set()
    for name, left in measurements.items():
        found = _SIDED.fullmatch(name)
        if not found or found[1] != "left":
            continue
        part, rest = found[2], found[3] or ""
        other, together = f"right_{part}{rest}", f"{part}s{rest}"
        if other not in measurements or _is_complex(left) or _is_complex(measurements[other]):
            continue
        names = [name, other, *([together] if together in measurements else [])]
        texts = [_text(measurements[key]["value"], "") for key in names]
        taken |= set(names)
        if any(texts):
            unit = str(left["unit"])
            title = readable(_without_unit(f"{part}{rest}", unit))
            titles = "name", "unit", "left", "right", "both"
            rows.append(dict(zip(titles, [title, _UNITS.get(unit, unit), *texts, ""], strict=False)))
    return rows, taken


def _is_complex(entry: Mapping[str, Any]) -> bool:
    """Whether a value is more than a text can tell, or comes with a note of its own."""
    value = entry["value"]
    return isinstance(value, dict) or is_table(value) or (value is not None and bool(entry.get("reason")))


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


def flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested mappings, their keys joined by dots."""
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        leaves += flat(value, name) if isinstance(value, Mapping) else [(name, value)]
    return leaves
