"""report.html: one file in which a clinician reviews a case, on screen or on paper, without a network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from importlib.resources import files
from typing import Any

import numpy as np

from medseg.io.atomic import atomic_path
from medseg.io.raster import encode_jpeg
from medseg.reports.legend import MOST_NAMES, largest_first, shortened
from medseg.reports.measurement_rows import (
    LISTED_NAMES,
    drawn_lines,
    flat,
    is_listed,
    is_table,
    readable,
    row_of,
    sided_rows,
    table_of,
    unknown_of,
)
from medseg.reports.picture_overlay import colour_of, draw_picture_overlay, to_display
from medseg.reports.record import VERDICTS, plain, review_of
from medseg.reports.scripts import script
from medseg.reports.volume_page import volume_pictures
from medseg.stamp import Stamp
from medseg.volume import Mask, Window

LONG_SIDE = 1600  # px of an embedded picture: sharp on A4 and on most screens, a page of about 1 MB


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
    not_assessed: Sequence[str] = (),
    stamp: Stamp | None = None,
) -> None:
    """Write report.html, in full or not at all.

    The page names the case only by provenance["input"]. Its title is provenance["task"], else
    provenance["bundle"]. The banner is green only if there are no warnings and quality["verdict"] is "pass"
    or missing; it is red for "reject". The date of the study is shown where DICOM headers tell it.

    Args:
        path: the file; its folder must exist.
        image: (C, row, column), C 1 or 3, a picture; or (1, i, j, k), a volume.
        mask: (row, column) or (i, j, k), the labels on its grid.
        measurements: name to {"value": number, list, dict or None, "unit": str}; a value of None has a
            "reason" too.
        quality: {"verdict": "pass", "warn" or "reject", "reasons", "predicted_dice", "novelty"}, all but the
            verdict optional; empty if no check was made.
        warnings: sentences for the reader; empty if there are none.
        provenance: bundle, weights, versions, input and date; may be nested.
        field_of_view: (row, column) bool, True where the picture was analysed; not for volumes.
        window: the range of a volume's values that is shown; None for all but the extremes.
        tissues: a second mask of a volume on the same grid, which gets pictures of its own; None for none.
        not_assessed: what the task does not look for, as noun phrases.
        stamp: what the file tells of its origin, for programs.

    Raises:
        UnsuitableError: the image has a shape that can't be shown, or a volume has no affine.
        MedsegError: the mask or the field of view is on another grid than the image.
    """
    pictures = (
        volume_pictures(image, mask, window, tissues)
        if image.ndim == 4
        else _picture(image, mask, field_of_view, measurements)
    )
    html = render(
        "volume.html.j2" if image.ndim == 4 else "page.html.j2",
        **page_texts(measurements, quality, warnings, provenance, not_assessed, _study_date(mask)),
        **_legend(mask, pictures["found"]),
        empty=not mask.array.any(),
        stamp=stamp,
        **pictures,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def page_texts(
    measurements: Mapping[str, Any],
    quality: Mapping[str, Any],
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
    not_assessed: Sequence[str] = (),
    study_date: str = "",
) -> dict[str, Any]:
    """The variables of page.html.j2 that are not pictures; arguments as for write_page.

    `measurements` has a row for each one that is known; `single` those that `sided` does not hold.
    """
    origin = dict(flat(plain({key: value for key, value in provenance.items() if key != "review"})))
    numbers = plain(measurements)
    sided, taken = sided_rows(numbers)
    known = {name: entry for name, entry in numbers.items() if entry["value"] is not None}
    rows = {
        name: row_of(name, entry)
        for name, entry in known.items()
        if not is_table(entry["value"]) and is_listed(name, known)
    }
    review = plain(review_of(provenance)).get("review")
    return {
        "title": readable(origin.get("task") or origin.get("bundle") or "Segmentation"),
        "case": origin.get("input", ""),
        "study_date": study_date,
        "concerns": _concerns(quality, warnings, review),
        "rejected": quality.get("verdict") == "reject" and not _is_edited(review),
        "review": review,
        "predicted": _predicted(quality),
        "not_assessed": list(not_assessed),
        "measurements": list(rows.values()),
        "single": [row for name, row in rows.items() if name not in taken],
        "sided": sided,
        "tables": [
            table_of(name, entry["value"]) for name, entry in numbers.items() if is_table(entry["value"])
        ],
        "unknown": unknown_of(numbers),
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


def _is_edited(review: Mapping[str, Any] | None) -> bool:
    return review is not None and review["verdict"] == VERDICTS["edit"]


def _concerns(
    quality: Mapping[str, Any], warnings: Sequence[str], review: Mapping[str, Any] | None
) -> list[str]:
    """The sentences that the banner lists; empty if there are no warnings and the verdict is pass.

    The verdict and its reasons are about the automatic mask, so an edited one has only its warnings.
    """
    concerns = plain(list(warnings))
    if _is_edited(review):
        return concerns
    concerns += [text for text in plain(list(quality.get("reasons", []))) if text not in concerns]
    verdict = quality.get("verdict", "pass")
    if verdict != "pass" and not concerns:
        concerns.append(f"The quality check ended with: {verdict}")
    return concerns


def _predicted(quality: Mapping[str, Any]) -> dict[str, Any]:
    """The predicted Dice of each label, or why there is none, and how unusual the image is, as texts."""
    each = quality.get("predicted_dice") or {}
    novelty = quality.get("novelty") or {}
    return {
        "rows": [
            {
                "name": readable(name),
                "value": rounded(entry["value"], 2),
                "interval": " to ".join(rounded(end, 2) for end in entry["interval"]),
            }
            for name, entry in each.items()
        ],
        "reason": "" if each else str(quality.get("predicted_dice_reason", "")),
        "percentile": rounded(novelty["percentile"], 0) if "percentile" in novelty else "",
    }


def rounded(value: float, digits: int) -> str:
    """A number with some decimals; halves of the number as measurements.json writes it are rounded up.

    So 0.155 reads 0.16, although the binary number is a little smaller.
    """
    return str(Decimal(str(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def _provenance_text(value: Any) -> str:
    """A leaf of the provenance as text: lists joined, "none" for nothing."""
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _study_date(mask: Mask) -> str:
    """The date of the study as DICOM headers tell it, YYYY-MM-DD; empty for any other text than a date."""
    told = str(getattr(mask.headers[0], "StudyDate", "") or "") if mask.headers else ""
    try:
        return datetime.strptime(told, "%Y%m%d").date().isoformat()
    except ValueError:
        return ""


def _picture(
    image: np.ndarray, mask: Mask, field_of_view: np.ndarray | None, measurements: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables that page.html.j2 needs for a picture, and the set of labels that occur in the mask."""
    overlay = draw_picture_overlay(image, mask, field_of_view)
    down, across = mask.pixel_spacing_mm or (1.0, 1.0)
    return {
        "picture": data_url(to_display(image)),
        "overlay": data_url(overlay),
        "size": overlay.shape[1::-1],
        "pixel": {"down": down, "across": across, "unit": "mm" if mask.pixel_spacing_mm else "px"},
        "lines": drawn_lines(plain(measurements), overlay.shape[1]),
        "reduced": max(overlay.shape) > LONG_SIDE,
        "has_field": field_of_view is not None,
        "found": set(np.unique(mask.array).tolist()),
        **script("distance.js"),
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
