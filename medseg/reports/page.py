"""report.html: one file for a clinician to review a case, on screen or on paper, without a network."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.reports.overlay import colour_of, draw_overlay, to_display
from medseg.reports.record import plain
from medseg.volume import Mask

LONG_SIDE = 1600  # px of an embedded picture: sharp on A4 and on most screens, a page of about 1 MB
BARS = 24

_UNITS = {
    "percent": "%",
    "1": "",
    "none": "",
    "mm2": "mm²",
    "mm3": "mm³",
    "um": "µm",
    "px2": "px²",
    "deg": "°",
}
_PASSED = ("pass", "passed", "ok", "good")


def write_page(
    path: str | os.PathLike[str],
    *,
    image: np.ndarray,
    mask: Mask,
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
    field: np.ndarray | None = None,
) -> None:
    """Write report.html, in full or not at all.

    It names the case only by provenance["input"] and takes its title from provenance["task"], else from
    provenance["bundle"]. The banner is green only without warnings and with no quality["verdict"] other
    than pass.

    Args:
        path: the file; its folder must exist.
        image: (C, row, column), C 1 or 3, the photograph.
        mask: (row, column), the labels on its grid.
        measurements: name to {"value": number, list, dict or None, "unit": str, "reason": str when None}.
        quality: what the checks found; the same entries, or plain values.
        warnings: sentences for the reader; empty when nothing is odd.
        provenance: bundle, weights, versions, input and date; may be nested.
        field: (row, column) bool, True where the picture was analysed.
    """
    from jinja2 import Environment, StrictUndefined

    made_by = dict(_flat(plain(provenance)))
    overlay = draw_overlay(image, mask, field)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    html = template.render(
        title=readable(made_by.get("task") or made_by.get("bundle") or "Segmentation"),
        case=made_by.get("input", ""),
        concerns=_concerns(quality, warnings),
        photograph=_data_url(to_display(image)),
        overlay=_data_url(overlay),
        size=overlay.shape[1::-1],
        reduced=max(overlay.shape) > LONG_SIDE,
        legend=_legend(mask),
        has_field=field is not None,
        measurements=[_row(name, entry) for name, entry in plain(measurements).items()],
        quality=[_row(name, entry) for name, entry in plain(quality).items()],
        provenance=made_by,
        readable=readable,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def readable(name: str) -> str:
    """A key as a reader would write it: vessel_density becomes Vessel density."""
    words = str(name).replace("_", " ").replace(".", ": ")
    return words[:1].upper() + words[1:]


def _concerns(quality: Mapping[str, Any], warnings: Sequence[str]) -> list[str]:
    """What the banner lists, in words; empty when all is well."""
    concerns = [str(warning) for warning in warnings]
    verdict = quality.get("verdict")
    if isinstance(verdict, Mapping):
        verdict = verdict.get("value")
    if verdict is not None and str(verdict).lower() not in _PASSED and not concerns:
        concerns.append(f"The quality check ended with: {verdict}")
    return concerns


def _legend(mask: Mask) -> list[dict[str, Any]]:
    """Name, colour and presence of each label but the background."""
    found = set(np.unique(mask.array).tolist())
    names = mask.labels or {int(value): f"label {value}" for value in sorted(found)}
    return [
        {"name": readable(name), "colour": colour_of(value), "found": value in found}
        for value, name in names.items()
        if value != 0
    ]


def _data_url(picture: np.ndarray) -> str:
    """A (row, column, 3) uint8 picture as a JPEG data URL, at most LONG_SIDE px long."""
    from PIL import Image

    small = Image.fromarray(picture)
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90, subsampling=0)  # halved colour would smear the thin contours
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _row(name: str, entry: Any) -> dict[str, Any]:
    """One line of a table: a readable name and its text, or its histogram."""
    if not (isinstance(entry, dict) and "value" in entry):
        entry = {"value": entry}
    value, unit = entry["value"], str(entry.get("unit") or "")
    name = name.removesuffix(f"_{unit}") if unit else name
    unit = _UNITS.get(unit, unit)
    reason = entry.get("reason") or ("no reason was given" if value is None else "")
    histogram = _histogram(value)
    text = "" if histogram else _text(value, unit)
    return {"name": readable(name), "text": text, "unit": unit, "reason": reason, "histogram": histogram}


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
    return f"{number}{'' if unit in ('%', '°') else ' '}{unit}".strip()


def _number(value: float) -> str:
    """Four significant digits, a whole number in full, never an exponent for what a reader can take in."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3e}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _histogram(value: Any) -> dict[str, Any] | None:
    """Bars and axis of {"edges", "counts"} or of five numbers or more; None for any other value.

    The bars' heights are 0 to 1; "low" and "high" are the ends of the axis, in the unit of the value.
    """
    if isinstance(value, dict) and {"edges", "counts"} <= value.keys():
        edges, counts = _finite(value["edges"]), _finite(value["counts"])
        said = f"{_number(sum(counts))} counted"
    elif isinstance(value, list) and len(numbers := _finite(value)) >= 5:
        said = f"{len(numbers)} values, median {_number(float(np.median(numbers)))}"
        bins = min(BARS, max(5, round(len(numbers) ** 0.5)))
        counts, edges = (array.tolist() for array in np.histogram(numbers, bins))
    else:
        return None
    if not edges or not counts:
        return None
    top = max([*counts, 1e-9])
    return {
        "bars": [max(count, 0) / top for count in counts],
        "low": _number(edges[0]),
        "high": _number(edges[-1]),
        "said": said,
    }


def _finite(values: Any) -> list[float]:
    """The numbers of a list; what else stands in it is left out."""
    if not isinstance(values, list):
        return []
    return [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested mappings, with dotted keys."""
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        leaves += _flat(value, name) if isinstance(value, Mapping) else [(name, value)]
    return leaves
