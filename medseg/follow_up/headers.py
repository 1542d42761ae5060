"""What the DICOM headers of the images tell: one person or two, when, and how each was taken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from medseg.errors import UnsuitableError, UsageError
from medseg.follow_up.record import Visit
from medseg.volume import Volume, nearest_axes

DATES = ("StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate")
THICKNESS = 1.25  # ratio from which slices differ in thickness
NO_HEADERS = "the files do not tell whose they are: nothing shows that all images are of one patient"
ONE_NAME = "the patient's name is written differently in the images; the number is the same"
NOT_ONE = {
    "PatientID": "the numbers of the patients in their headers differ",
    "PatientName": "the names in their headers differ",
    "PatientBirthDate": "the dates of birth in their headers differ",
}


def study_date(headers: Sequence[Any], case: str) -> date:
    """The date of the study.

    Raises:
        UsageError: the headers have none, or there are no headers.
    """
    for keyword in DATES:
        text = _text(headers, keyword)
        try:
            return datetime.strptime(text[:8], "%Y%m%d").date()
        except ValueError:
            continue
    raise UsageError(
        "the date of each study",
        got=f"none in {case}",
        advice="Give all dates, in the order of the results: --dates 2025-01-31,2025-07-02.",
    )


def require_one_patient(headers: Sequence[Sequence[Any]]) -> list[str]:
    """Refuse images whose headers are of two persons, or of two sides of the body.

    Numbers, dates of birth and sides are compared where images have them, names where a number is missing.

    Args:
        headers: of each image; empty for formats without any.

    Returns:
        Warnings: that the headers do not tell, or that only the name differs.

    Raises:
        UnsuitableError: two persons or two sides. The message names none of them.
    """
    numbers = [_digest(each, "PatientID") for each in headers]
    differing = [keyword for keyword in NOT_ONE if _differ([_digest(each, keyword) for each in headers])]
    all_numbered = all(numbers)
    serious = [keyword for keyword in differing if keyword != "PatientName" or not all_numbered]
    if serious:
        raise UnsuitableError(
            "images of one patient",
            got=f"images of two: {NOT_ONE[serious[0]]}",
            advice="Name the images of one patient. If the headers are wrong, correct them first.",
        )
    sides = [_digest(each, "ImageLaterality") or _digest(each, "Laterality") for each in headers]
    if _differ(sides):
        raise UnsuitableError(
            "images of one side of the body",
            got="images of the left and the right",
            advice="Compare each side by itself.",
        )
    told = [number or _digest(each, "PatientName") for number, each in zip(numbers, headers, strict=True)]
    return [*([] if all(told) else [NO_HEADERS]), *([ONE_NAME] if differing and not serious else [])]


def acquisition_of(image: Volume) -> dict[str, Any]:
    """How an image was taken, as far as it tells: slices, kernel, contrast medium, tube voltage, modality."""
    found: dict[str, Any] = {}
    if image.affine is not None:
        axis = nearest_axes(image.affine)[0][2]
        found["slice_spacing_mm"] = float(np.linalg.norm(image.affine[:3, axis]))
    keys = {"slice_thickness_mm": "SliceThickness", "kv": "KVP"}
    for name, keyword in keys.items():
        try:
            found[name] = float(_text(image.headers, keyword))
        except ValueError:
            continue
    for name, keyword in (("kernel", "ConvolutionKernel"), ("modality", "Modality")):
        if text := _text(image.headers, keyword):
            found[name] = text
    if image.headers:
        found["contrast_medium"] = bool(_text(image.headers, "ContrastBolusAgent"))
    return found


def differences(visits: Sequence[Visit]) -> list[str]:
    """Warnings about visits that were taken in different ways.

    Raises:
        UnsuitableError: they are of two modalities.
    """
    if _differ([str(visit.acquisition.get("modality", "")) for visit in visits]):
        raise UnsuitableError(
            "images of one modality",
            got=_listed(visits, "modality"),
            advice="Compare images of one modality and one part of the body.",
        )
    warnings = []
    for name, words in (("slice_thickness_mm", "slices"), ("slice_spacing_mm", "steps between slices")):
        values = [visit.acquisition[name] for visit in visits if visit.acquisition.get(name)]
        if values and max(values) / min(values) >= THICKNESS:
            texts = ", ".join(f"{value:g}" for value in values)
            warnings.append(
                f"{words} differ ({texts} mm): small regions and densities may differ for that reason"
            )
            break
    if _differ([str(visit.acquisition.get("kernel", "")) for visit in visits]):
        warnings.append(
            f"kernels differ ({_listed(visits, 'kernel')}): densities and small regions may differ for that "
            "reason"
        )
    contrast = {
        visit.acquisition[key] for visit in visits for key in ("contrast_medium",) if key in visit.acquisition
    }
    if len(contrast) > 1:
        warnings.append("contrast medium was given at some times only: vessels and lungs are denser with it")
    return warnings


def _listed(visits: Sequence[Visit], name: str) -> str:
    values = [str(visit.acquisition.get(name) or "unknown") for visit in visits]
    return ", ".join(dict.fromkeys(values))


def _differ(values: Sequence[str]) -> bool:
    return len(set(filter(None, values))) > 1


def _digest(headers: Sequence[Any], keyword: str) -> str:
    """A digest of an identifier, letter case and spaces aside; empty where there is none."""
    text = " ".join(_text(headers, keyword).replace("^", " ").split()).casefold()
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text else ""


def _text(headers: Sequence[Any], keyword: str) -> str:
    if not headers:
        return ""
    try:
        value = headers[0].get(keyword, "")
    except Exception:  # pydicom raises whatever a damaged element leads to
        return ""
    return "" if value is None else str(value).strip()
